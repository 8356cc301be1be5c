//! An in-process queue with the semantics of SQS standard queues, for the one-process run and for tests.
//!
//! The same: at-least-once delivery, per-message delay, visibility time-out, stale receipts, receive count, dead letter
//! queue, limits, fair order between message groups. Not the same: nothing survives the process, nothing expires
//! (SQS: 4 days), delivery is never spontaneously doubled or reordered, and fairness acts from the first message in flight
//! (SQS: once a group has 30 of them and a tenth of the queue's).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::Notify;

use messages::{Message, Place, QueueState, after};

use super::{MAX_BATCH, MAX_VISIBILITY, QueueError, Standing, check_message};
use crate::clock::{Clock, random_bytes};

mod messages;
#[cfg(test)]
mod tests;

/// One queue, as the template declares it.
#[derive(Clone, Debug)]
pub struct QueueSpec {
    pub name: String,
    /// How long a received message stays hidden (SQS `VisibilityTimeout`).
    pub visibility: Duration,
    /// The delay of messages sent without one (SQS `DelaySeconds`).
    pub delay: Duration,
    /// Where a message goes that was received this often without being deleted: queue name, `maxReceiveCount`.
    pub dead_letter: Option<(String, u32)>,
}

/// One delivery of a message.
#[derive(Clone, Debug)]
pub struct Received {
    pub message_id: String,
    /// What deletes this delivery; stale once the message is received again.
    pub receipt: String,
    pub body: String,
    /// Empty when it was sent without a group.
    pub group: String,
    /// 1 on the first delivery. Starts anew in a dead letter queue.
    pub receive_count: u32,
    pub sent_at: Timestamp,
    pub first_received_at: Timestamp,
}

/// How many messages a queue holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    pub visible: usize,
    pub in_flight: usize,
    pub delayed: usize,
}

/// A set of queues in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct MemoryQueues {
    clock: Clock,
    shared: Arc<Shared>,
    role: Option<Role>,
}

/// Whether an action is granted on the queue of a name.
type Granted = dyn Fn(&str, &str) -> bool + Send + Sync;

/// What its holder may do with which queue.
#[derive(Clone)]
struct Role(Arc<Granted>);

impl std::fmt::Debug for Role {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Role")
    }
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told when something of the queue became visible, or will sooner than was known.
    arrivals: BTreeMap<String, Notify>,
}

impl MemoryQueues {
    /// A dead letter queue that `specs` does not declare is made with SQS's defaults (visibility 30 s, no delay).
    pub fn new(specs: Vec<QueueSpec>, clock: Clock) -> Self {
        let mut queues: BTreeMap<String, QueueState> = BTreeMap::new();
        for name in specs.iter().filter_map(|spec| spec.dead_letter.as_ref()).map(|(name, _)| name.clone()) {
            let spec =
                QueueSpec { name: name.clone(), visibility: Duration::from_secs(30), delay: Duration::ZERO, dead_letter: None };
            queues.insert(name, QueueState::new(spec));
        }
        queues.extend(specs.into_iter().map(|spec| (spec.name.clone(), QueueState::new(spec))));
        let arrivals = queues.keys().map(|name| (name.clone(), Notify::new())).collect();
        let state = Mutex::new(State { queues, last_number: 0 });
        Self { clock, shared: Arc::new(Shared { state, arrivals }), role: None }
    }

    /// Sends one message and returns its id. Limits and meaning of the arguments as in [`super::Queue::send`].
    pub fn send(&self, queue: &str, body: String, delay: Duration, group: &str) -> Result<String, QueueError> {
        let delay_seconds = check_message(&body, delay, group)?;
        self.check("sqs:SendMessage", queue)?;
        let now = self.clock.now();
        let mut state = self.settled(now);
        let number = state.next_number();
        let queue_state = state.queue(queue)?;
        let delay = match delay_seconds {
            0 => queue_state.spec.delay,
            seconds => Duration::from_secs(u64::from(seconds)),
        };
        let message_id = uuid::Builder::from_random_bytes(random_bytes()).into_uuid().to_string();
        let message = Message {
            id: message_id.clone(),
            body,
            group: group.to_owned(),
            sent_at: now,
            first_received_at: None,
            receive_count: 0,
            place: Place::Visible,
        };
        queue_state.insert(number, message);
        if !delay.is_zero() {
            queue_state.move_to(number, Place::Delayed { until: after(now, delay) });
        }
        drop(state);
        self.announce(queue);
        Ok(message_id)
    }

    /// Waits until at least one message is visible and takes up to `max` (1 to 10) of them. Of the visible messages those
    /// come first whose group has the fewest in flight, the oldest of these first. Safe to drop: a message is taken only
    /// in the moment it is returned.
    pub async fn receive(&self, queue: &str, max: usize) -> Result<Vec<Received>, QueueError> {
        self.receive_with(queue, max, || ()).await.map(|(taken, ())| taken)
    }

    /// As [`MemoryQueues::receive`], with what `begin` returns, which is called in the moment in which messages are taken: whoever sees in
    /// [`MemoryQueues::depth`] that they are no longer visible sees what it did as well.
    pub async fn receive_with<T>(
        &self,
        queue: &str,
        max: usize,
        begin: impl FnOnce() -> T + Send,
    ) -> Result<(Vec<Received>, T), QueueError> {
        if !(1..=MAX_BATCH).contains(&max) {
            return Err(QueueError::BatchOutOfRange { max });
        }
        let arrivals = self.shared.arrivals.get(queue).ok_or_else(|| unknown(queue))?;
        loop {
            // Taken before the look at the queue: a message that comes in between is then still seen.
            let arrival = arrivals.notified();
            let next_visible = {
                let now = self.clock.now();
                let mut state = self.settled(now);
                let queue_state = state.queue(queue)?;
                let taken: Vec<Received> = std::iter::from_fn(|| queue_state.take(now)).take(max).collect();
                if !taken.is_empty() {
                    // The lock is still held.
                    return Ok((taken, begin()));
                }
                queue_state.hidden.first().map(|(until, _)| *until)
            };
            match next_visible {
                Some(until) => tokio::select! {
                    () = arrival => {}
                    () = self.clock.sleep_until(until) => {}
                },
                None => arrival.await,
            }
        }
    }

    /// Deletes a received message. Deleting it twice is a success, as is deleting it after its visibility time-out as long
    /// as nobody received it again; with a stale receipt nothing is deleted.
    pub fn delete(&self, queue: &str, receipt: &str) -> Result<(), QueueError> {
        let mut state = self.settled(self.clock.now());
        let queue_state = state.queue(queue)?;
        let Some(number) = queue_state.find(receipt)? else {
            return Ok(());
        };
        queue_state.remove(number);
        Ok(())
    }

    /// Hides a message that is in flight for `timeout` from now on (at most 12 hours); zero makes it visible at once.
    pub fn change_visibility(&self, queue: &str, receipt: &str, timeout: Duration) -> Result<(), QueueError> {
        if timeout > MAX_VISIBILITY {
            return Err(QueueError::VisibilityTooLong { timeout });
        }
        let now = self.clock.now();
        let mut state = self.settled(now);
        let queue_state = state.queue(queue)?;
        let number = queue_state.find(receipt)?.filter(|number| queue_state.is_in_flight(*number));
        let Some(number) = number else {
            return Err(QueueError::NotInFlight { receipt: receipt.to_owned() });
        };
        queue_state.move_to(number, Place::InFlight { until: after(now, timeout) });
        drop(state);
        self.announce(queue);
        Ok(())
    }

    /// How many messages `queue` holds; all zero for an unknown queue.
    pub fn depth(&self, queue: &str) -> Depth {
        self.settled(self.clock.now()).queues.get(queue).map(QueueState::depth).unwrap_or_default()
    }

    pub(super) fn standing(&self, queue: &str) -> Result<Standing, QueueError> {
        self.check("sqs:GetQueueAttributes", queue)?;
        let depth = self.settled(self.clock.now()).queue(queue)?.depth();
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Ok(Standing { waiting: count(depth.visible), in_flight: count(depth.in_flight), delayed: count(depth.delayed) })
    }

    /// Moves the messages that wait in a dead-letter queue to the first queue whose dead letters it holds.
    pub(super) fn redrive(&self, dead_letters: &str) -> Result<u64, QueueError> {
        self.check("sqs:StartMessageMoveTask", dead_letters)?;
        let mut state = self.settled(self.clock.now());
        state.queue(dead_letters)?;
        let leads_here = |queue: &&QueueState| queue.spec.dead_letter.as_ref().is_some_and(|(name, _)| name == dead_letters);
        let Some(target) = state.queues.values().find(leads_here).map(|queue| queue.spec.name.clone()) else { return Ok(0) };
        let messages = state.queue(dead_letters)?.drain_visible();
        let count = messages.len();
        for message in messages {
            let number = state.next_number();
            state.queue(&target)?.insert(number, Message { receive_count: 0, first_received_at: None, ..message });
        }
        drop(state);
        self.announce(&target);
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }

    /// The same queues for a caller who may do only what `granted` says of an action and a queue's name.
    pub fn for_role(&self, granted: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Self {
        Self { role: Some(Role(Arc::new(granted))), ..self.clone() }
    }

    fn check(&self, action: &'static str, queue: &str) -> Result<(), QueueError> {
        match &self.role {
            Some(role) if !(role.0)(action, queue) => Err(QueueError::NotGranted { action, queue: queue.to_owned() }),
            Some(_) | None => Ok(()),
        }
    }

    /// The names of all queues, dead letter queues included, in alphabetical order.
    pub fn queues(&self) -> Vec<String> {
        self.shared.arrivals.keys().cloned().collect()
    }

    /// The bodies of all messages of `queue`, hidden ones included, oldest first. Takes nothing; for operators and tests.
    pub fn peek(&self, queue: &str) -> Vec<String> {
        let state = self.settled(self.clock.now());
        let messages = state.queues.get(queue).into_iter().flat_map(|queue| queue.messages.values());
        messages.map(|message| message.body.clone()).collect()
    }

    /// The state after every time-out up to `now`: delays and visibility time-outs that are over, dead letters moved.
    fn settled(&self, now: Timestamp) -> MutexGuard<'_, State> {
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        for dead_letter_queue in state.settle(now) {
            self.announce(&dead_letter_queue);
        }
        state
    }

    fn announce(&self, queue: &str) {
        if let Some(arrivals) = self.shared.arrivals.get(queue) {
            arrivals.notify_waiters();
        }
    }
}

#[derive(Debug)]
struct State {
    queues: BTreeMap<String, QueueState>,
    last_number: u64,
}

impl State {
    fn queue(&mut self, name: &str) -> Result<&mut QueueState, QueueError> {
        self.queues.get_mut(name).ok_or_else(|| unknown(name))
    }

    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Returns the dead letter queues that got a message.
    fn settle(&mut self, now: Timestamp) -> BTreeSet<String> {
        let dead: Vec<(String, Message)> = self.queues.values_mut().flat_map(|queue| queue.settle(now)).collect();
        let mut receivers = BTreeSet::new();
        for (name, message) in dead {
            let number = self.next_number();
            let queue = self.queues.get_mut(&name).expect("`MemoryQueues::new` makes every dead letter queue");
            queue.insert(number, Message { receive_count: 0, first_received_at: None, place: Place::Visible, ..message });
            receivers.insert(name);
        }
        receivers
    }
}

fn unknown(queue: &str) -> QueueError {
    QueueError::UnknownQueue { queue: queue.to_owned() }
}
