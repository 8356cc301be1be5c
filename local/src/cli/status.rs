//! `darkroom status`: what is due, stuck and queued in a running darkroom, and what to do about dead letters.

use anyhow::Result;
use shared::api::{RedriveView, StatusView};

use super::catalog_remote::Running;

/// Arguments of `darkroom status`.
#[derive(clap::Args)]
pub(super) struct Status {
    /// Print what `GET /v1/admin/status` answers.
    #[arg(long)]
    json: bool,
    /// Let the dead letters of this queue be tried once more: dispatch, collect or poll.
    #[arg(long, value_name = "QUEUE", conflicts_with = "json")]
    redrive: Option<String>,
    #[command(flatten)]
    running: Running,
}

pub(super) async fn run(arguments: &Status) -> Result<()> {
    let client = arguments.running.client()?;
    if let Some(queue) = &arguments.redrive {
        let path = format!("/v1/admin/dead-letters/{queue}/redrive");
        let answer: Result<RedriveView> = client.post(&path, &serde_json::json!({}), &[]).await;
        let RedriveView { queue, messages } = answer.map_err(|error| arguments.running.explain(error))?;
        println!("{messages} messages go back to the queue {queue}");
        return Ok(());
    }
    let status: Result<StatusView> = client.get("/v1/admin/status").await;
    let status = status.map_err(|error| arguments.running.explain(error))?;
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&status)?);
        return Ok(());
    }
    show(&status);
    Ok(())
}

fn show(status: &StatusView) {
    println!("{:<10} {:>8} {:>9} {:>8} {:>12}", "QUEUE", "WAITING", "IN FLIGHT", "DELAYED", "DEAD LETTERS");
    for queue in &status.queues {
        println!(
            "{:<10} {:>8} {:>9} {:>8} {:>12}",
            queue.name, queue.waiting, queue.in_flight, queue.delayed, queue.dead_letters
        );
    }
    let due = &status.due;
    let more = if due.more { " at least" } else { "" };
    println!("\nDue before the next tick:{more} {}; stuck: {}; longest overdue: {} s", due.soon, due.stuck, due.oldest_s);
    for own in &due.stuck_records {
        let phase = own.phase.as_deref().unwrap_or("-");
        println!("  {:<10} {:<40} {:<12} due {} of {}", own.kind, own.id, phase, own.due_at, own.account);
    }
    if status.queues.iter().any(|queue| queue.dead_letters > 0) {
        println!("\nDead letters have failed five times. When the reason is mended: `darkroom status --redrive <queue>`.");
    }
}
