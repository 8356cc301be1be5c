//! What a request asks to suffer, read from its prompt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How late `[[callback_late]]` is when it names no duration.
const DEFAULT_LATE: Duration = Duration::from_secs(5);
/// Longer durations are cut to this.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

/// Faults asked for in a prompt as `[[name]]` or `[[name=value]]`; several may be combined.
///
/// | in the prompt | effect |
/// |---|---|
/// | `[[delay=2s]]` | the job, or the answer of a synchronous provider, takes that long (`ms`, `s`, `m`) in place of 300 ms |
/// | `[[fail]]` | the provider fails |
/// | `[[moderate]]` | the content is refused |
/// | `[[filtered]]` | the content passes, what is made of it is held back (Stability, OpenAI, OpenRouter's chat, Gemini) |
/// | `[[throttle]]`, `[[throttle=3]]` | the first n submits of this prompt are answered 429 or its like, with a wait of 1 s where the provider names one |
/// | `[[retry_after=20s]]` | that wait |
/// | `[[error_before]]` | every submit is answered 503 or its like and nothing is accepted |
/// | `[[error_after]]` | the job is accepted and runs, the submit is answered by a gateway's 502 page |
/// | `[[auth]]` | every submit is answered with the error of a wrong key |
/// | `[[funds]]` | every submit is answered with the error of an account without money |
/// | `[[reject]]` | every submit is answered with the error of an invalid input |
/// | `[[malformed]]` | the job is accepted and runs, the body of the answer is cut in the middle; a picture's connection breaks there |
/// | `[[hang]]` | the job is accepted and runs, the answer never comes |
/// | `[[no_callback]]` | no callback is sent |
/// | `[[callback_twice]]` | the callback is delivered twice, same message id |
/// | `[[callback_late]]`, `[[callback_late=9s]]` | the callback is sent that long after the end (5 s) |
/// | `[[callback_first]]` | the job ends at once and its callback is delivered before the submit is answered |
/// | `[[bad_signature]]` | callbacks carry a wrong signature |
/// | `[[expired_link]]` | the links of callbacks and of the first GET answer 403; those of later GETs work |
/// | `[[huge=300MB]]` | the file is a PNG or MP4 followed by zero bytes up to that size (`KB`, `MB`, `GB`, `KiB`, `MiB`, `GiB`) |
/// | `[[private_link]]` | the link is `http://10.0.0.1/secret.png` |
/// | `[[fenced]]`, `[[chatty]]` | a JSON document of Gemini is in a Markdown fence, with words around it |
/// | `[[incomplete]]` | it lacks its last member |
/// | `[[unwilling]]` | there are words in place of it |
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Faults {
    pub delay: Option<Duration>,
    pub fail: bool,
    pub moderate: bool,
    pub filtered: bool,
    /// Number of first submits to refuse.
    pub throttle: u32,
    /// The wait that a throttle names, in whole seconds; 1 s without it.
    pub retry_after: Option<Duration>,
    pub error_before: bool,
    pub error_after: bool,
    pub auth: bool,
    pub funds: bool,
    pub reject: bool,
    pub malformed: bool,
    pub hang: bool,
    pub no_callback: bool,
    pub callback_twice: bool,
    pub callback_late: Option<Duration>,
    pub callback_first: bool,
    pub bad_signature: bool,
    pub expired_link: bool,
    pub huge_bytes: Option<u64>,
    pub private_link: bool,
}

impl Faults {
    /// Reads the faults a prompt asks for. An unknown name or an unreadable value is ignored: it is just text.
    pub fn from_prompt(prompt: &str) -> Self {
        let mut faults = Self::default();
        let closed = prompt.rsplit_once("]]").map_or("", |(before, _)| before);
        for piece in closed.split("]]") {
            let Some((_, order)) = piece.rsplit_once("[[") else {
                continue;
            };
            let (name, value) = match order.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (order.trim(), None),
            };
            faults.take(name, value);
        }
        faults
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        match (name, value) {
            ("delay", Some(value)) => self.delay = duration(value).or(self.delay),
            ("fail", None) => self.fail = true,
            ("moderate", None) => self.moderate = true,
            ("filtered", None) => self.filtered = true,
            ("throttle", None) => self.throttle = 1,
            ("throttle", Some(value)) => self.throttle = value.parse().unwrap_or(self.throttle),
            ("retry_after", Some(value)) => self.retry_after = duration(value).or(self.retry_after),
            ("error_before", None) => self.error_before = true,
            ("error_after", None) => self.error_after = true,
            ("auth", None) => self.auth = true,
            ("funds", None) => self.funds = true,
            ("reject", None) => self.reject = true,
            ("malformed", None) => self.malformed = true,
            ("hang", None) => self.hang = true,
            ("no_callback", None) => self.no_callback = true,
            ("callback_twice", None) => self.callback_twice = true,
            ("callback_late", None) => self.callback_late = Some(DEFAULT_LATE),
            ("callback_late", Some(value)) => self.callback_late = duration(value).or(self.callback_late),
            ("callback_first", None) => self.callback_first = true,
            ("bad_signature", None) => self.bad_signature = true,
            ("expired_link", None) => self.expired_link = true,
            ("huge", Some(value)) => self.huge_bytes = bytes(value).or(self.huge_bytes),
            ("private_link", None) => self.private_link = true,
            _ => {}
        }
    }
}

fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let milliseconds = match unit {
        "ms" => number,
        "s" => number.checked_mul(1_000)?,
        "m" => number.checked_mul(60_000)?,
        _ => return None,
    };
    Some(Duration::from_millis(milliseconds).min(MAX_DURATION))
}

fn bytes(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let factor = match unit {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(factor)
}

fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(end);
    Some((number.parse().ok()?, unit.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(prompt: &str, expected: Faults) {
        assert_eq!(Faults::from_prompt(prompt), expected, "{prompt}");
    }

    #[test]
    fn prompt_without_orders_asks_for_nothing() {
        for prompt in ["", "a fox", "[[", "]]", "[[]]", "[fail]", "[[fail", "fail]]", "]] [[fail"] {
            check(prompt, Faults::default());
        }
    }

    #[test]
    fn every_order_is_read() {
        let none = Faults::default;
        check("[[delay=2s]]", Faults { delay: Some(Duration::from_secs(2)), ..none() });
        check("[[delay=500ms]]", Faults { delay: Some(Duration::from_millis(500)), ..none() });
        check("[[delay=1m]]", Faults { delay: Some(Duration::from_secs(60)), ..none() });
        check("a [[fail]] b", Faults { fail: true, ..none() });
        check("[[moderate]]", Faults { moderate: true, ..none() });
        check("[[filtered]]", Faults { filtered: true, ..none() });
        check("[[throttle]]", Faults { throttle: 1, ..none() });
        check("[[throttle=3]]", Faults { throttle: 3, ..none() });
        check("[[retry_after=20s]]", Faults { retry_after: Some(Duration::from_secs(20)), ..none() });
        check("[[error_before]]", Faults { error_before: true, ..none() });
        check("[[error_after]]", Faults { error_after: true, ..none() });
        check("[[auth]]", Faults { auth: true, ..none() });
        check("[[funds]]", Faults { funds: true, ..none() });
        check("[[reject]]", Faults { reject: true, ..none() });
        check("[[malformed]]", Faults { malformed: true, ..none() });
        check("[[hang]]", Faults { hang: true, ..none() });
        check("[[no_callback]]", Faults { no_callback: true, ..none() });
        check("[[callback_twice]]", Faults { callback_twice: true, ..none() });
        check("[[callback_late]]", Faults { callback_late: Some(DEFAULT_LATE), ..none() });
        check("[[callback_late=9s]]", Faults { callback_late: Some(Duration::from_secs(9)), ..none() });
        check("[[callback_first]]", Faults { callback_first: true, ..none() });
        check("[[bad_signature]]", Faults { bad_signature: true, ..none() });
        check("[[expired_link]]", Faults { expired_link: true, ..none() });
        check("[[huge=300MB]]", Faults { huge_bytes: Some(300_000_000), ..none() });
        check("[[huge=2MiB]]", Faults { huge_bytes: Some(2 * 1024 * 1024), ..none() });
        check("[[private_link]]", Faults { private_link: true, ..none() });
    }

    #[test]
    fn orders_combine_and_unknown_ones_are_text() {
        check(
            "a fox [[delay = 1s]] in [[snow]] [[ callback_twice ]][[fail]]",
            Faults { delay: Some(Duration::from_secs(1)), callback_twice: true, fail: true, ..Faults::default() },
        );
        check("[[ [[fail]] ]]", Faults { fail: true, ..Faults::default() });
    }

    #[test]
    fn unreadable_values_are_ignored_and_long_ones_are_cut() {
        for prompt in ["[[delay]]", "[[delay=]]", "[[delay=soon]]", "[[delay=2]]", "[[delay=1.5s]]", "[[delay=-1s]]"] {
            check(prompt, Faults::default());
        }
        for prompt in ["[[huge]]", "[[huge=9]]", "[[huge=99999999999GB]]", "[[throttle=x]]", "[[fail=1]]"] {
            check(prompt, Faults::default());
        }
        check("[[delay=999999m]]", Faults { delay: Some(MAX_DURATION), ..Faults::default() });
    }
}
