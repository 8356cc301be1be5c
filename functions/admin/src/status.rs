//! How the deployment stands, for operators: what is due, stuck, queued, and what has failed again and again.

use jiff::{SignedDuration, Timestamp};
use lambda_http::{Body, Response};
use shared::api::{DueView, Problem, QueueView, RedriveView, StatusView, StuckView};
use shared::backend::Backend;
use shared::endpoint::{self, Caller};
use shared::lifecycle::TICK;
use shared::messages::QueueName;
use shared::queue::QueueError;
use shared::store::{Due, DueRecord};

/// What has not been looked at for this long after it fell due is stuck: the tick and its messages take less.
const STUCK_AFTER: SignedDuration = SignedDuration::from_mins(2);
/// Pages of the due index that are read of a shard.
const MAX_PAGES: usize = 5;
/// Stuck records that are told.
const MAX_STUCK: usize = 20;

/// What is due, stuck and queued now.
#[utoipa::path(get, path = "/v1/admin/status", responses(
    (status = 200, body = StatusView), (status = 401, body = Problem), (status = 403, body = Problem), (status = 503, body = Problem),
))]
pub async fn status(backend: &Backend) -> Result<Response<Body>, Problem> {
    let at = backend.now();
    let due = due(backend, at).await?;
    let mut queues = Vec::new();
    for name in QueueName::ALL {
        queues.push(queue(backend, name).await.map_err(unavailable)?);
    }
    Ok(endpoint::json(200, &StatusView { at, due, queues }))
}

/// Let the messages that failed again and again be tried once more. What they are about may have been done meanwhile: then they change nothing.
/// Who asked is written down among the actions of the caller's own account.
#[utoipa::path(post, path = "/v1/admin/dead-letters/{queue}/redrive",
    params(("queue" = String, Path, description = "dispatch, collect or poll")),
    responses(
        (status = 202, body = RedriveView), (status = 401, body = Problem), (status = 403, body = Problem),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "They are being moved already"), (status = 503, body = Problem),
    ))]
pub async fn redrive(backend: &Backend, caller: Caller, queue: &str) -> Result<Response<Body>, Problem> {
    let not_found = || Problem::not_found("queue", queue);
    let name = QueueName::ALL.into_iter().find(|name| name.word() == queue).ok_or_else(not_found)?;
    let url = backend.config.dead_letters_url(name).ok_or_else(Problem::unavailable)?;
    // First: nothing begins to move that nobody is known to have moved.
    let action = backend.action(caller.account, Some(caller.key), "redrive", queue, None);
    backend.store.file_action(&action).await?;
    let messages = backend.queue.redrive(url).await.map_err(|error| match matches!(error, QueueError::MovedAlready { .. }) {
        true => moved_already(queue),
        false => unavailable(error),
    })?;
    tracing::info!(account = %caller.account, key = %caller.key, queue, messages, "dead letters go back");
    Ok(endpoint::json(202, &RedriveView { queue: queue.to_owned(), messages }))
}

async fn queue(backend: &Backend, name: QueueName) -> Result<QueueView, QueueError> {
    let standing = backend.queue.standing(backend.config.queue_url(name)).await?;
    let dead_letters = match backend.config.dead_letters_url(name) {
        Some(url) => backend.queue.standing(url).await?.waiting,
        None => 0,
    };
    let (waiting, in_flight, delayed) = (standing.waiting, standing.in_flight, standing.delayed);
    Ok(QueueView { name: name.word().to_owned(), waiting, in_flight, delayed, dead_letters })
}

async fn due(backend: &Backend, now: Timestamp) -> Result<DueView, Problem> {
    let mut view = DueView::default();
    let mut stuck = Vec::new();
    for shard in backend.store.due_shards() {
        let mut cursor = None;
        for page in 1..=MAX_PAGES {
            let (found, next) = backend.store.due(shard, now + TICK, cursor).await?;
            for due in found {
                let overdue = now.duration_since(due.due_at);
                view.soon += 1;
                view.oldest_s = view.oldest_s.max(u64::try_from(overdue.as_secs()).unwrap_or(0));
                if overdue > STUCK_AFTER {
                    view.stuck += 1;
                    stuck.push(stuck_view(&due));
                }
            }
            cursor = next;
            if cursor.is_none() {
                break;
            }
            view.more |= page == MAX_PAGES;
        }
    }
    stuck.sort_by_key(|own| own.due_at);
    stuck.truncate(MAX_STUCK);
    view.stuck_records = stuck;
    Ok(view)
}

fn stuck_view(due: &Due) -> StuckView {
    let account = due.account.to_string();
    let (kind, id) = match due.record {
        DueRecord::Generation(id) => ("generation", id.to_string()),
        DueRecord::Account => ("account", account.clone()),
        DueRecord::Asset(id) => ("asset", id.to_string()),
        DueRecord::Box(id) => ("box", id.to_string()),
        DueRecord::Erasure => ("erasure", account.clone()),
    };
    let phase = due.job.map(|job| job.phase.to_owned());
    StuckView { kind: kind.to_owned(), id, account, phase, due_at: due.due_at }
}

fn moved_already(queue: &str) -> Problem {
    let detail = format!(
        "the dead letters of `{queue}` are being moved already, and SQS does that once at a time: see with `darkroom status` when none are left, \
         and ask again if some are"
    );
    Problem::new(409, "moved_already", "Moved already", detail).retry_after(60)
}

fn unavailable(error: QueueError) -> Problem {
    tracing::error!(error = &error as &dyn std::error::Error, "a queue cannot be looked at");
    Problem::unavailable()
}
