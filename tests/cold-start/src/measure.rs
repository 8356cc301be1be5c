//! One start of one function after the other, and the middle of what was measured.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::aws::StandIn;
use crate::environment::Function;
use crate::runtime_api::{RuntimeApi, Step};

/// Nothing that is measured takes this long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Times in milliseconds.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) median: f64,
    /// What else runs on the machine only ever adds.
    pub(crate) fastest: f64,
}

impl Times {
    pub(crate) fn of(mut all: Vec<f64>) -> Option<Self> {
        all.sort_by(f64::total_cmp);
        Some(Self { median: *all.get(all.len() / 2)?, fastest: *all.first()? })
    }
}

/// What the starts of one function showed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Starts {
    /// From the spawn of the process to its first request for an event.
    pub(crate) init_ms: Times,
    /// From the hand-over of the event to the first whole request at AWS. None: it made no request.
    pub(crate) first_call_ms: Option<Times>,
    /// Resident memory while it waits for its first event, in MiB: the median.
    pub(crate) rss_ready_mib: f64,
    /// The same after the first event.
    pub(crate) rss_after_mib: f64,
}

struct Start {
    init: Duration,
    first_call: Option<Duration>,
    rss_ready_kib: u64,
    rss_after_kib: u64,
}

/// Starts `binary` so many times, each time with `event`.
pub(crate) fn starts(
    function: &Function,
    binary: &Path,
    event: &[u8],
    aws: &StandIn,
    folder: &Path,
    times: usize,
) -> Result<Starts> {
    // The first one reads the binary from the disk and is not counted.
    let all = (0..=times).map(|_| start(function, binary, event, aws, folder)).collect::<Result<Vec<_>>>();
    let all = all.with_context(|| format!("function `{}`; its log is {}", function.name, log(folder).display()))?;
    let all = all.get(1..).unwrap_or_default();
    let calls: Vec<f64> = all.iter().filter_map(|start| start.first_call).map(milliseconds).collect();
    let mib = |pick: fn(&Start) -> u64| Times::of(all.iter().map(|start| pick(start) as f64 / 1024.0).collect());
    let ready = mib(|start| start.rss_ready_kib).context("nothing was measured")?;
    let after = mib(|start| start.rss_after_kib).context("nothing was measured")?;
    Ok(Starts {
        init_ms: Times::of(all.iter().map(|start| milliseconds(start.init)).collect()).context("nothing was measured")?,
        first_call_ms: if calls.len() == all.len() { Times::of(calls) } else { None },
        rss_ready_mib: ready.median,
        rss_after_mib: after.median,
    })
}

/// How long this machine takes to run a program that does nothing: what other times can be compared by.
pub(crate) fn spawn_ms(times: usize) -> Result<Times> {
    let all = (0..times).map(|_| {
        let before = Instant::now();
        Command::new("true").status().context("the command `true` cannot be run")?;
        Ok(milliseconds(before.elapsed()))
    });
    Times::of(all.collect::<Result<_>>()?).context("nothing was measured")
}

pub(crate) fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn log(folder: &Path) -> std::path::PathBuf {
    folder.join("function.log")
}

fn start(function: &Function, binary: &Path, event: &[u8], aws: &StandIn, folder: &Path) -> Result<Start> {
    let api = RuntimeApi::start(event.to_vec())?;
    while aws.arrivals.try_recv().is_ok() {}
    let mut command = command(function, binary, aws, &api.address);
    let log_file = fs::File::create(log(folder))?;
    command.stdin(Stdio::null()).stdout(log_file.try_clone()?).stderr(log_file);
    let spawned = Instant::now();
    let mut process = Process(command.spawn().with_context(|| format!("`{}` cannot be run", binary.display()))?);
    let Step::Ready { at, hand_over } = next(&api.steps, &mut process)? else { bail!("it did not ask for an event first") };
    let rss_ready_kib = process.rss_kib()?;
    hand_over.send(())?;
    let Step::HandedOver { at: handed_over } = next(&api.steps, &mut process)? else { bail!("it did something in between") };
    let Step::Answered { failed } = next(&api.steps, &mut process)? else { bail!("it did not answer its event") };
    if failed {
        bail!("its handler failed");
    }
    let Step::Resting = next(&api.steps, &mut process)? else { bail!("it answered twice") };
    let rss_after_kib = process.rss_kib()?;
    let arrived = aws.arrivals.try_recv().ok();
    Ok(Start {
        init: at.duration_since(spawned),
        first_call: arrived.map(|at| at.saturating_duration_since(handed_over)),
        rss_ready_kib,
        rss_after_kib,
    })
}

/// As Lambda starts it, with a short environment of its own.
fn command(function: &Function, binary: &Path, aws: &StandIn, runtime_api: &str) -> Command {
    let mut command = Command::new(binary);
    command.env_clear().envs(&function.environment);
    command.envs([
        ("AWS_LAMBDA_RUNTIME_API", runtime_api),
        ("AWS_LAMBDA_FUNCTION_NAME", &function.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "measured"),
        ("AWS_SESSION_TOKEN", "measured"),
        ("AWS_ENDPOINT_URL", &aws.url),
        ("LANG", "en_US.UTF-8"),
        ("TZ", ":UTC"),
        ("PATH", "/usr/local/bin:/usr/bin:/bin"),
    ]);
    command.env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory.to_string()).env("SSL_CERT_FILE", &aws.trusted);
    command
}

fn next(steps: &Receiver<Step>, process: &mut Process) -> Result<Step> {
    let until = Instant::now() + PATIENCE;
    loop {
        match steps.recv_timeout(Duration::from_millis(50)) {
            Ok(Step::InitError) => bail!("it reported that it cannot start"),
            Ok(step) => return Ok(step),
            Err(_) => {}
        }
        if let Some(status) = process.0.try_wait()? {
            bail!("it ended: {status}");
        }
        if Instant::now() > until {
            bail!("it did nothing for {} s", PATIENCE.as_secs());
        }
    }
}

/// Ends with us.
struct Process(Child);

impl Process {
    fn rss_kib(&self) -> Result<u64> {
        let path = format!("/proc/{}/status", self.0.id());
        let text = fs::read_to_string(&path).with_context(|| format!("`{path}` cannot be read; memory is measured on Linux"))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells no VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It waits for an event that never comes.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
