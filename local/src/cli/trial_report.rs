//! How a trial went: the results, who made them, and what to do when it failed.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::Value;
use shared::api::{AccountView, AttemptView, GenerationView, ResultView, Status};
use shared::catalog::Catalog;
use shared::catalog::manifest::MediaKind;
use shared::failure::FailureClass;

use super::client::Client;
use super::models::{KeysAtHand, kind_word};

/// One result, as it was had.
pub(super) struct Saved {
    content_type: String,
    bytes: u64,
    /// Where it was written.
    path: Option<PathBuf>,
    /// A text or a JSON document itself.
    text: Option<String>,
}

/// Fetches the results. Media are written to `out`, further ones with a number behind the name; texts only when `out` is given.
pub(super) async fn save(client: &Client, generation: &GenerationView, out: Option<&Path>) -> Result<Vec<Saved>> {
    let mut all = Vec::with_capacity(generation.results.len());
    for (number, result) in generation.results.iter().enumerate() {
        let ResultView { url: Some(url), content_type: Some(content_type), bytes: Some(bytes), text, .. } = result else {
            bail!("the result `{}` was erased before it could be saved", result.asset_id);
        };
        let is_text = content_type.starts_with("text/") || content_type.starts_with("application/json");
        let file = match text {
            Some(text) => text.clone().into_bytes(),
            None => client.download(url).await.context("the result cannot be downloaded")?.to_vec(),
        };
        let path = match (out, is_text) {
            (None, true) => None,
            (None, false) => Some(target(Path::new("out/"), generation, number, content_type)),
            (Some(out), _) => Some(target(out, generation, number, content_type)),
        };
        if let Some(path) = &path {
            write(path, &file)?;
        }
        let text = is_text.then(|| String::from_utf8_lossy(&file).into_owned());
        all.push(Saved { content_type: content_type.clone(), bytes: *bytes, path, text });
    }
    Ok(all)
}

/// `out` itself, or a file in it when it is a folder; the second result has `-2` behind the name.
fn target(out: &Path, generation: &GenerationView, number: usize, content_type: &str) -> PathBuf {
    let is_folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with('/');
    let path = if is_folder { out.join(format!("{}.{}", generation.id, extension(content_type))) } else { out.to_owned() };
    if number == 0 {
        return path;
    }
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let ending = path.extension().map(|ending| format!(".{}", ending.to_string_lossy())).unwrap_or_default();
    path.with_file_name(format!("{stem}-{}{ending}", number + 1))
}

fn extension(content_type: &str) -> &str {
    match content_type.split(';').next().unwrap_or_default().trim().rsplit('/').next().unwrap_or("bin") {
        "jpeg" => "jpg",
        "quicktime" => "mov",
        "plain" => "txt",
        other => other,
    }
}

fn write(path: &Path, file: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).with_context(|| format!("the folder `{}` cannot be made", folder.display()))?;
    }
    std::fs::write(path, file).with_context(|| format!("`{}` cannot be written", path.display()))
}

/// Who made a generation: a provider, or its simulator.
pub(super) struct Makers {
    /// What the simulators of a local darkroom saw: providers, and when.
    submits: Option<Vec<(String, Timestamp)>>,
    /// The last attempt's provider is simulated although its key is there: the darkroom was started before.
    restart: bool,
}

impl Makers {
    pub(super) async fn look(client: &Client, generation: &GenerationView, data: &Path) -> Result<Self> {
        let journal = client.simulators_journal().await;
        let mut makers = Self { submits: journal.as_ref().map(submits), restart: false };
        if let Some(attempt) = generation.attempts.last()
            && makers.is_simulated(attempt) == Some(true)
        {
            let catalog = Catalog::built_in()?;
            let keys = KeysAtHand::look(&catalog, data)?;
            makers.restart = catalog.provider(&attempt.provider).and_then(|provider| keys.is_real(provider)) == Some(true);
        }
        Ok(makers)
    }

    /// None: nobody can tell, since this is no local darkroom.
    fn is_simulated(&self, attempt: &AttemptView) -> Option<bool> {
        let submits = self.submits.as_ref()?;
        Some(submits.iter().any(|(provider, at)| *provider == attempt.provider && *at >= attempt.started_at))
    }
}

fn submits(journal: &Value) -> Vec<(String, Timestamp)> {
    let submits = journal.get("submits").and_then(Value::as_array).into_iter().flatten();
    submits
        .filter_map(|submit| Some((submit.get("provider")?.as_str()?.to_owned(), submit.get("at")?.as_str()?.parse().ok()?)))
        .collect()
}

pub(super) fn print(generation: &GenerationView, saved: &[Saved], balance: &AccountView, makers: &Makers) {
    let took = generation.finished_at.map(|end| end.duration_since(generation.created_at).as_millis());
    let took = took.map(|ms| format!(" after {}.{} s", ms / 1_000, ms % 1_000 / 100)).unwrap_or_default();
    println!("generation  {}  {} {}{took}", generation.id, generation.model, generation.phase);
    println!("charged     {} credits of {} held; {} available", generation.charged, generation.cost, balance.available);
    for attempt in &generation.attempts {
        println!("attempt {:<3} {}", attempt.number, describe(attempt, makers));
    }
    for result in saved {
        let place = result.path.as_ref().map_or_else(|| "below".to_owned(), |path| path.display().to_string());
        println!("result      {place}  ({}, {} bytes)", result.content_type, result.bytes);
    }
    for text in saved.iter().filter_map(|result| result.text.as_deref()) {
        println!("\n{}", text.trim_end());
    }
    let last = generation.attempts.last();
    if let Some(AttemptView { provider, .. }) = last.filter(|attempt| makers.is_simulated(attempt) == Some(true)) {
        if makers.restart {
            println!(
                "\nThis was the simulator of {provider}, although its key is there: the running darkroom was started before. Restart it."
            );
        } else {
            println!(
                "\nThis was the simulator of {provider}, which costs nothing. `darkroom provider setup {provider}` makes it real."
            );
        }
    }
}

/// `replicate  replicate/black-forest-labs/flux-schnell  succeeded (simulated)`.
fn describe(attempt: &AttemptView, makers: &Makers) -> String {
    let maker = if makers.is_simulated(attempt) == Some(true) { " (simulated)" } else { "" };
    let error =
        attempt.error.as_ref().map(|error| format!(": {}: {}", class_word(error.class), error.message)).unwrap_or_default();
    format!("{}  {}  {}{maker}{error}", attempt.provider, attempt.model, attempt.status)
}

/// The word for a class, as in the API.
fn class_word(class: FailureClass) -> String {
    serde_json::to_value(class).ok().and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default()
}

/// Success, or the reason and what to do next.
pub(super) fn verdict(generation: &GenerationView, kind: MediaKind) -> Result<()> {
    if generation.status == Status::Succeeded {
        return Ok(());
    }
    let Some(error) = &generation.error else {
        return Err(anyhow!("the generation ended as {}", generation.phase));
    };
    let next = next_step(error.class, &generation.provider, kind);
    Err(anyhow!("the generation failed: {}: {}\n  next: {next}", class_word(error.class), error.message))
}

/// What the operator of this darkroom can do about a failure.
fn next_step(class: FailureClass, provider: &str, kind: MediaKind) -> String {
    let prefix = provider.to_ascii_uppercase();
    let others = format!("`darkroom models --kind {}` lists others", kind_word(kind));
    match class {
        FailureClass::RejectedInput => {
            format!(
                "change the prompt, the files or `--params`; `darkroom models --json --provider {provider}` shows what they may be"
            )
        }
        FailureClass::Moderated => {
            format!("the content policy of {provider} refused it: word the prompt otherwise, or use another model")
        }
        FailureClass::Throttled => {
            format!(
                "try again later, or let fewer jobs go there: `darkroom --env {prefix}_CONCURRENCY=1 --env {prefix}_PER_MINUTE=6`"
            )
        }
        FailureClass::Unavailable => {
            format!("{provider} is out of order or not reached: check the network, try again later; {others}")
        }
        FailureClass::ProviderAuth => {
            format!(
                "{provider} refuses the key, or there is none: `darkroom provider setup {provider}`, then restart a running darkroom"
            )
        }
        FailureClass::ProviderFunds => format!("add funds to your account with {provider}, then try again; {others}"),
        FailureClass::ProviderFailed => format!("try again, or use another model; {others}"),
        FailureClass::ResultLost => {
            format!(
                "{provider} finished, but its result could not be had: the log of darkroom tells why (`--log info`); then try again"
            )
        }
        FailureClass::Expired => {
            format!("{provider} gave no answer in time: look for the job there before trying again; {others}")
        }
        FailureClass::Canceled => "it was canceled; run the command again".to_owned(),
        FailureClass::Internal => "a fault of darkroom's own: run it with `--log debug` and report what is logged".to_owned(),
        FailureClass::Resolved => "an operator ended it: ask whoever runs this darkroom why".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_failure_says_what_to_do_next() {
        for class in FailureClass::ALL {
            let next = next_step(class, "fal", MediaKind::Video);
            assert!(next.len() > 20 && !next.ends_with('.'), "{class:?}: {next}");
        }
        assert!(next_step(FailureClass::ProviderAuth, "fal", MediaKind::Image).contains("`darkroom provider setup fal`"));
        assert_eq!(class_word(FailureClass::ProviderAuth), "provider_auth");
    }

    #[test]
    fn only_submits_since_the_attempt_are_the_simulators() {
        let journal = serde_json::json!({"submits": [{"provider": "fal", "at": "2026-01-01T00:00:10Z"}]});
        let makers = |journal: Option<&Value>| Makers { submits: journal.map(submits), restart: false };
        let attempt = |provider: &str, started_at: &str| AttemptView {
            number: 1,
            provider: provider.to_owned(),
            model: "m".to_owned(),
            status: "succeeded".to_owned(),
            provider_job: None,
            error: None,
            preparations: Vec::new(),
            started_at: started_at.parse().unwrap(),
            answered_at: None,
        };
        let before = attempt("fal", "2026-01-01T00:00:09Z");
        assert_eq!(makers(Some(&journal)).is_simulated(&before), Some(true));
        assert_eq!(makers(Some(&journal)).is_simulated(&attempt("fal", "2026-01-01T00:00:11Z")), Some(false));
        assert_eq!(makers(Some(&journal)).is_simulated(&attempt("kie", "2026-01-01T00:00:09Z")), Some(false));
        assert_eq!(makers(None).is_simulated(&before), None);
    }
}
