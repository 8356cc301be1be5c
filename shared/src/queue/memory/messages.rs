//! The messages of one queue and where each of them is. No clock here: `now` comes in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{Depth, QueueError, QueueSpec, Received};

#[derive(Debug)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: String,
    pub(super) group: String,
    pub(super) sent_at: Timestamp,
    pub(super) first_received_at: Option<Timestamp>,
    pub(super) receive_count: u32,
    pub(super) place: Place,
}

impl Message {
    /// Whom fairness counts this message for: without a group it is on its own (as in SQS fair queues).
    fn tenant(&self) -> &str {
        if self.group.is_empty() { &self.id } else { &self.group }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Visible,
    Delayed { until: Timestamp },
    InFlight { until: Timestamp },
}

/// One queue. Messages are numbered in the order they came; `hidden`, `visible` and `in_flight` are indexes over
/// `messages`, kept in step by `move_to`.
#[derive(Debug)]
pub(super) struct QueueState {
    pub(super) spec: QueueSpec,
    pub(super) messages: BTreeMap<u64, Message>,
    /// Delayed messages and those in flight, by the time they become visible.
    pub(super) hidden: BTreeSet<(Timestamp, u64)>,
    /// Visible messages by tenant; no empty sets.
    visible: HashMap<String, BTreeSet<u64>>,
    /// How many messages each tenant has in flight; no zeros.
    in_flight: HashMap<String, usize>,
}

impl QueueState {
    pub(super) fn new(spec: QueueSpec) -> Self {
        Self { spec, messages: BTreeMap::new(), hidden: BTreeSet::new(), visible: HashMap::new(), in_flight: HashMap::new() }
    }

    /// Adds a visible message.
    pub(super) fn insert(&mut self, number: u64, message: Message) {
        self.visible.entry(message.tenant().to_owned()).or_default().insert(number);
        self.messages.insert(number, message);
    }

    pub(super) fn remove(&mut self, number: u64) -> Option<Message> {
        self.move_to(number, Place::Visible);
        let message = self.messages.remove(&number)?;
        self.unlist_visible(&message, number);
        Some(message)
    }

    /// Takes every visible message out, oldest first.
    pub(super) fn drain_visible(&mut self) -> Vec<Message> {
        let numbers: BTreeSet<u64> = self.visible.values().flatten().copied().collect();
        numbers.into_iter().filter_map(|number| self.remove(number)).collect()
    }

    pub(super) fn move_to(&mut self, number: u64, place: Place) {
        let Some(mut message) = self.messages.remove(&number) else {
            return;
        };
        match message.place {
            Place::Visible => self.unlist_visible(&message, number),
            Place::Delayed { until } => {
                self.hidden.remove(&(until, number));
            }
            Place::InFlight { until } => {
                self.hidden.remove(&(until, number));
                if let Some(count) = self.in_flight.get_mut(message.tenant()) {
                    *count -= 1;
                    if *count == 0 {
                        self.in_flight.remove(message.tenant());
                    }
                }
            }
        }
        message.place = place;
        match place {
            Place::Visible => {
                self.visible.entry(message.tenant().to_owned()).or_default().insert(number);
            }
            Place::Delayed { until } => {
                self.hidden.insert((until, number));
            }
            Place::InFlight { until } => {
                self.hidden.insert((until, number));
                *self.in_flight.entry(message.tenant().to_owned()).or_default() += 1;
            }
        }
        self.messages.insert(number, message);
    }

    fn unlist_visible(&mut self, message: &Message, number: u64) {
        if let Some(numbers) = self.visible.get_mut(message.tenant()) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.visible.remove(message.tenant());
            }
        }
    }

    /// Takes every hidden message whose time is over back into view. Returns those that were received too often, with
    /// the queue they go to.
    pub(super) fn settle(&mut self, now: Timestamp) -> Vec<(String, Message)> {
        let mut dead = Vec::new();
        while let Some((until, number)) = self.hidden.first().copied()
            && until <= now
        {
            self.move_to(number, Place::Visible);
            let receive_count = self.messages.get(&number).map_or(0, |message| message.receive_count);
            if let Some((dead_letter_queue, max_receive_count)) = &self.spec.dead_letter
                && receive_count >= (*max_receive_count).max(1)
            {
                let name = dead_letter_queue.clone();
                dead.extend(self.remove(number).map(|message| (name, message)));
            }
        }
        dead
    }

    pub(super) fn take(&mut self, now: Timestamp) -> Option<Received> {
        let quietest_then_oldest = |(tenant, numbers): (&String, &BTreeSet<u64>)| {
            let oldest = *numbers.first()?;
            Some((self.in_flight.get(tenant).copied().unwrap_or(0), oldest))
        };
        let (_, number) = self.visible.iter().filter_map(quietest_then_oldest).min()?;
        self.move_to(number, Place::InFlight { until: after(now, self.spec.visibility) });
        let message = self.messages.get_mut(&number)?;
        message.receive_count += 1;
        Some(Received {
            message_id: message.id.clone(),
            receipt: format!("{number}.{}", message.receive_count),
            body: message.body.clone(),
            group: message.group.clone(),
            receive_count: message.receive_count,
            sent_at: message.sent_at,
            first_received_at: *message.first_received_at.get_or_insert(now),
        })
    }

    /// The message of `receipt`, or none if it is gone. A receipt is the message's number and its delivery's.
    pub(super) fn find(&self, receipt: &str) -> Result<Option<u64>, QueueError> {
        let parsed = receipt.split_once('.').and_then(|(number, count)| Some((number.parse().ok()?, count.parse().ok()?)));
        let (number, delivery): (u64, u32) = parsed.ok_or_else(|| QueueError::ReceiptInvalid { receipt: receipt.to_owned() })?;
        match self.messages.get(&number) {
            None => Ok(None),
            Some(message) if message.receive_count == delivery => Ok(Some(number)),
            Some(_) => Err(QueueError::ReceiptStale { receipt: receipt.to_owned() }),
        }
    }

    pub(super) fn is_in_flight(&self, number: u64) -> bool {
        self.messages.get(&number).is_some_and(|message| matches!(message.place, Place::InFlight { .. }))
    }

    pub(super) fn depth(&self) -> Depth {
        let in_flight = self.in_flight.values().sum();
        let visible = self.visible.values().map(BTreeSet::len).sum();
        Depth { visible, in_flight, delayed: self.hidden.len() - in_flight }
    }
}

/// `now` and `duration` later, held at the end of time.
pub(super) fn after(now: Timestamp, duration: Duration) -> Timestamp {
    SignedDuration::try_from(duration).ok().and_then(|duration| now.checked_add(duration).ok()).unwrap_or(Timestamp::MAX)
}
