//! Providers in our own process. Their work is done when the result is collected, from the order alone, so that a crash at any point costs
//! nothing but time. The prompt may ask for trouble: `[[delay=2s]]` and `[[fail]]`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::failure::{Failure, FailureClass};
use crate::generation::{Generation, Job, Outcome, Source};
use crate::outcome::{Report, SubmitAnswer};

const READY_AT: &str = "ready_at";

pub(super) fn submit(generation: &Generation, now: Timestamp) -> SubmitAnswer {
    let delay = match delay(prompt(generation)) {
        Ok(delay) => delay,
        Err(failure) => return SubmitAnswer::Refused { failure, retry_after: None },
    };
    let facts = BTreeMap::from([(READY_AT.to_owned(), (now + delay).to_string())]);
    let job = Job { id: format!("local-{}", generation.attempt()), facts };
    let report = ask(generation, &job, now);
    SubmitAnswer::Accepted { job, report }
}

pub(super) fn ask(generation: &Generation, job: &Job, now: Timestamp) -> Report {
    let ready_at = job.facts.get(READY_AT).and_then(|text| text.parse::<Timestamp>().ok());
    if ready_at.is_some_and(|ready_at| now < ready_at) {
        Report::Running { progress: None, queue_position: None }
    } else if asked(prompt(generation), "fail").is_some() {
        Report::Failed(Failure::new(FailureClass::ProviderFailed, "the prompt asked the placeholder to fail"))
    } else {
        Report::Succeeded(Outcome { sources: vec![Source::Local] })
    }
}

fn params(generation: &Generation) -> &Map<String, Value> {
    generation.params_for(generation.candidate())
}

fn prompt(generation: &Generation) -> &str {
    params(generation).get("prompt").and_then(Value::as_str).unwrap_or_default()
}

/// The value of `[[name=value]]` in the prompt; empty for `[[name]]`.
fn asked<'a>(prompt: &'a str, name: &str) -> Option<&'a str> {
    prompt.split("[[").skip(1).filter_map(|rest| rest.split_once("]]")).find_map(|(inside, _)| {
        let (key, value) = inside.split_once('=').unwrap_or((inside, ""));
        (key.trim() == name).then_some(value.trim())
    })
}

/// How long the prompt wants it to take. One that is not understood is refused: nobody would see why it took no time.
fn delay(prompt: &str) -> Result<SignedDuration, Failure> {
    let Some(asked) = asked(prompt, "delay") else { return Ok(SignedDuration::ZERO) };
    duration(asked).ok_or_else(|| {
        let asked: String = asked.chars().take(40).collect();
        let message = format!("`[[delay={asked}]]` is not understood: write `500ms`, `2s` or `1m`, at most ten minutes");
        Failure::new(FailureClass::RejectedInput, message)
    })
}

/// `500ms`, `2s`, `1m`; at most ten minutes.
fn duration(text: &str) -> Option<SignedDuration> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let ms_per_unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => return None,
    };
    let ms = number.parse::<i64>().ok()?.checked_mul(ms_per_unit)?;
    Some(SignedDuration::from_millis(ms.min(600_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_read_from_the_prompt() {
        assert_eq!(asked("a cat [[delay=2s]] [[ fail ]]", "delay"), Some("2s"));
        assert_eq!(asked("a cat [[delay=2s]] [[ fail ]]", "fail"), Some(""));
        assert_eq!(asked("a cat [[delay", "delay"), None);
        assert_eq!(duration("500ms"), Some(SignedDuration::from_millis(500)));
        assert_eq!(duration("2m"), Some(SignedDuration::from_mins(2)));
        assert_eq!(duration("2h"), None);
        assert_eq!(delay("a cat"), Ok(SignedDuration::ZERO));
        assert_eq!(delay("a cat [[delay=2s]]"), Ok(SignedDuration::from_secs(2)));
        let refused = delay("a cat [[delay=1h]]").expect_err("hours are not known");
        assert!(refused.class == FailureClass::RejectedInput && refused.message.contains("[[delay=1h]]"), "{refused:?}");
        assert_eq!(duration("s"), None);
        assert_eq!(duration("99999999999999999999s"), None);
    }
}
