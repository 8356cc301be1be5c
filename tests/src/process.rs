//! The product as a process of its own, which can be killed and whose memory can be measured.

use std::ops::Deref;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{Customer, PATIENCE};

/// A running `darkroom dev`. Dropping it kills it.
pub struct Process {
    child: Child,
    customer: Customer,
}

impl Deref for Process {
    type Target = Customer;

    fn deref(&self) -> &Customer {
        &self.customer
    }
}

impl Process {
    /// Starts `program` on a data folder and a port, with environment variables for its functions, and waits until it is ready.
    pub async fn start(program: &str, data: &Path, port: u16, environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.args(["dev", "--json", "--port", &port.to_string(), "--data"]).arg(data);
        for (name, value) in environment {
            command.args(["--env", &format!("{name}={value}")]);
        }
        let mut child =
            command.args(["--log", "error"]).stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the program starts");
        let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let line = tokio::time::timeout(PATIENCE, lines.next_line()).await.expect("it is ready in time");
        let ready: Value = serde_json::from_str(&line.expect("it can be read").expect("it says that it is ready")).expect("JSON");
        let text = |name: &str| ready[name].as_str().expect("text").to_owned();
        Self { child, customer: Customer::new(text("api"), text("account").parse().expect("an id"), text("api_key")) }
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("it was running");
    }

    /// Lets the measurement of [`Process::peak_kib`] begin anew.
    pub fn reset_peak(&self) {
        std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5").expect("Linux takes it from the owner");
    }

    /// The most memory that was resident since the last reset, in KiB.
    pub fn peak_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    /// The memory that is resident, in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    fn memory(&self, name: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("Linux tells it");
        let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the line is there");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }
}
