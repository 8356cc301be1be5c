//! `darkroom dev`: everything in this process until Ctrl-C.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::json;
use tracing_subscriber::filter::LevelFilter;

use super::Common;
use super::log_file::LogFile;
use crate::stack::{Options, Stack};

/// Arguments of `darkroom dev`.
#[derive(clap::Args)]
pub(super) struct Dev {
    /// The port on 127.0.0.1; 0 takes any free one.
    #[arg(long, default_value_t = 8420)]
    port: u16,
    /// Where everything is kept.
    #[arg(long, value_name = "DIR", default_value = ".darkroom")]
    data: PathBuf,
    /// Print one JSON line when ready, and nothing else.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    common: Common,
}

pub(super) async fn run(arguments: Dev) -> Result<()> {
    let unwritable = || format!("the data folder `{}` cannot be written", arguments.data.display());
    let log = LogFile::open(&arguments.data).with_context(unwritable)?;
    arguments.common.start_logging(if arguments.json { LevelFilter::WARN } else { LevelFilter::INFO }, Some(log));
    let options = Options { data: Some(arguments.data.clone()), port: arguments.port, ..arguments.common.options()? };
    let stack = Stack::start(options).await?;
    if arguments.json {
        let ready = json!({
            "api": stack.api,
            "api_key": stack.api_key,
            "account": stack.account,
            "s3": stack.s3.endpoint_url,
            "dynamodb": stack.dynamodb.endpoint_url,
            "simulators": stack.simulated.iter().map(|name| format!("{}/_sim/{name}", stack.api)).collect::<Vec<_>>(),
            "data": arguments.data,
            "pid": std::process::id(),
        });
        println!("{ready}");
    } else {
        welcome(&stack, &arguments);
    }
    stopped().await
}

/// Ctrl-C, or the signal by which a supervisor ends a program.
async fn stopped() -> Result<()> {
    #[cfg(unix)]
    {
        let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
        tokio::select! {
            interrupted = tokio::signal::ctrl_c() => interrupted?,
            _ = terminate.recv() => {}
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await?;
    Ok(())
}

fn welcome(stack: &Stack, arguments: &Dev) {
    let Stack { api, api_key, .. } = stack;
    let simulated = if stack.simulated.is_empty() { "none".to_owned() } else { stack.simulated.join(", ") };
    println!(
        r#"
Darkroom is ready.

  API         {api}
  API key     {api_key}   (development account, starts with 1,000 credits)
  DynamoDB    {dynamodb}
  S3          {s3}
  Simulated   {simulated}   (`darkroom provider setup <name>` makes one real)
  Data        {data}   (remove it to start anew)

A first session, to be pasted line by line:

  export API={api} KEY={api_key}; mkdir -p out
  curl -s $API/v1/account -H "Authorization: Bearer $KEY"; echo
  curl -s $API/v1/generations -H "Authorization: Bearer $KEY" -H "Idempotency-Key: hello-$RANDOM" -H "Prefer: wait=20" -d '{{"model": "placeholder", "params": {{"prompt": "A lighthouse in the fog"}}}}' -o out/answer.json; cat out/answer.json; echo
  curl -s "$(sed -E 's/.*"results":\[\{{"url":"([^"]+)".*/\1/' out/answer.json)" -o out/lighthouse.png; ls -l out/lighthouse.png
  curl -s $API/v1/account/ledger -H "Authorization: Bearer $KEY"; echo

README.md goes on with an upload. Stop with Ctrl-C; nothing is lost.
"#,
        dynamodb = stack.dynamodb.endpoint_url,
        s3 = stack.s3.endpoint_url,
        data = arguments.data.display(),
    );
}
