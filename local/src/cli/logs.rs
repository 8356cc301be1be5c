//! `darkroom logs`: what a local run has logged. Deployed functions log to CloudWatch; docs/deploying.md says how to read that.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value};
use tracing::Level;

use super::log_file;

/// Between looks at a log that is followed.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Arguments of `darkroom logs`.
#[derive(clap::Args)]
pub(super) struct Logs {
    /// Only lines about this generation.
    #[arg(long, value_name = "ID")]
    generation: Option<String>,
    /// Only lines about this account.
    #[arg(long, value_name = "ID")]
    account: Option<String>,
    /// Only lines of this request: the `request_id` of a problem.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
    /// Only lines of this level or a worse one: error, warn, info.
    #[arg(long, default_value = "info")]
    level: Level,
    /// At most so many lines, the newest.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    limit: u32,
    /// Go on with what is logged from now on, until Ctrl-C.
    #[arg(long, short)]
    follow: bool,
    /// Print the lines as they are, JSON.
    #[arg(long)]
    json: bool,
    /// The data folder of the local run.
    #[arg(long, value_name = "DIR", default_value = ".darkroom")]
    data: PathBuf,
}

pub(super) async fn run(arguments: &Logs) -> Result<()> {
    let path = log_file::path(&arguments.data);
    if !path.exists() {
        bail!("there is no log at `{}`: start `darkroom` with this data folder, or say `--data`", path.display());
    }
    let mut lines = Vec::new();
    for path in [log_file::older(&path), path.clone()] {
        let Ok(file) = File::open(&path) else { continue };
        lines.extend(BufReader::new(file).lines().map_while(Result::ok).filter_map(|line| arguments.told(&line)));
    }
    let limit = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    lines.iter().skip(lines.len().saturating_sub(limit)).for_each(|line| println!("{line}"));
    if arguments.follow { follow(arguments, &path).await } else { Ok(()) }
}

/// From the end of the file on; a file that was begun anew is read from its beginning.
async fn follow(arguments: &Logs, path: &PathBuf) -> Result<()> {
    let unreadable = || format!("`{}` cannot be read", path.display());
    let mut at = std::fs::metadata(path).with_context(unreadable)?.len();
    let mut part = String::new();
    loop {
        let length = std::fs::metadata(path).map(|file| file.len()).unwrap_or(at);
        if length < at {
            (at, part) = (0, String::new());
        }
        if length > at {
            let mut file = File::open(path).with_context(unreadable)?;
            file.seek(SeekFrom::Start(at)).with_context(unreadable)?;
            let mut reader = BufReader::new(file);
            loop {
                let read = reader.read_line(&mut part).with_context(unreadable)?;
                at += u64::try_from(read).unwrap_or(0);
                if !part.ends_with('\n') {
                    break;
                }
                if let Some(line) = arguments.told(part.trim_end()) {
                    println!("{line}");
                }
                part.clear();
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            stopped = tokio::signal::ctrl_c() => return Ok(stopped?),
        }
    }
}

impl Logs {
    /// The line as it is to be printed, if it is wanted.
    fn told(&self, line: &str) -> Option<String> {
        let fields: Map<String, Value> = serde_json::from_str(line).ok()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let level: Level = text("level")?.parse().ok()?;
        let wanted = [("generation", &self.generation), ("account", &self.account), ("request_id", &self.request)];
        let fits = wanted.into_iter().all(|(name, wanted)| wanted.as_deref().is_none_or(|wanted| text(name) == Some(wanted)));
        (fits && level <= self.level).then(|| if self.json { line.to_owned() } else { plain(&fields) })
    }
}

/// `2026-01-02T03:04:05.678Z INFO generation moved generation=gen_… attempt=1`
fn plain(fields: &Map<String, Value>) -> String {
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut line = format!("{} {:<5} {}", text("timestamp"), text("level"), text("message"));
    for (name, value) in fields.iter().filter(|(name, _)| !["timestamp", "level", "message", "target"].contains(&name.as_str())) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        line.push_str(&format!(" {name}={text}"));
    }
    line
}
