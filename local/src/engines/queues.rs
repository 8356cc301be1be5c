//! The queues that the functions' messages go through: ours in memory, or those of an SQS.

use std::collections::BTreeMap;

use shared::clock::Clock;
use shared::ids::AccountId;
use shared::queue::{Depth, MemoryQueues, Queue, QueueSpec, Received};

use super::{Endpoints, EngineError, SqsQueues};

/// Where messages are sent to and taken from. Clones share it.
#[derive(Clone, Debug)]
pub enum Queues {
    Memory(MemoryQueues),
    Sqs(SqsQueues),
}

impl Queues {
    /// In memory, or at the SQS of `endpoints`, where they are named by the development account.
    pub async fn start(
        endpoints: &Endpoints,
        specs: Vec<QueueSpec>,
        developer: AccountId,
        clock: &Clock,
    ) -> Result<Self, EngineError> {
        Ok(match &endpoints.sqs {
            Some(url) => Self::Sqs(SqsQueues::make(url, &super::name(Some(url), developer), specs).await?),
            None => Self::Memory(MemoryQueues::new(specs, clock.clone())),
        })
    }

    /// What functions send with.
    pub fn sender(&self) -> Queue {
        match self {
            Self::Memory(queues) => Queue::Memory(queues.clone()),
            Self::Sqs(queues) => Queue::Sqs(queues.sender().into()),
        }
    }

    /// What a function sends with that may do only what `granted` says of an action and a queue. At an SQS it is not asked.
    pub fn sender_for(&self, granted: impl Fn(&str, &str) -> bool + Send + Sync + 'static) -> Queue {
        match self {
            Self::Memory(queues) => Queue::Memory(queues.for_role(granted)),
            Self::Sqs(queues) => Queue::Sqs(queues.sender().into()),
        }
    }

    /// Puts the queues' true URLs in place of the names that a function's environment has for them.
    pub fn address(&self, environment: &mut BTreeMap<String, String>) {
        let Self::Sqs(queues) = self else { return };
        let is_url = |name: &str| name.ends_with("_QUEUE_URL") || name.ends_with("_DEAD_LETTERS_URL");
        for value in environment.iter_mut().filter(|(name, _)| is_url(name)).map(|(_, value)| value) {
            if let Some(url) = value.rsplit('/').next().and_then(|name| queues.url(name)) {
                *value = url.to_owned();
            }
        }
    }

    /// Waits until there is at least one message and takes up to `max` (1 to 10) of them.
    pub async fn receive(&self, queue: &str, max: usize) -> Result<Vec<Received>, EngineError> {
        match self {
            Self::Memory(queues) => Ok(queues.receive(queue, max).await?),
            Self::Sqs(queues) => queues.receive(queue, max).await,
        }
    }

    /// As [`Queues::receive`], with what `begin` returns: for queues in memory it is called in the moment in which the messages are taken, for
    /// an SQS when they have come.
    pub async fn receive_with<T>(
        &self,
        queue: &str,
        max: usize,
        begin: impl FnOnce() -> T + Send,
    ) -> Result<(Vec<Received>, T), EngineError> {
        match self {
            Self::Memory(queues) => Ok(queues.receive_with(queue, max, begin).await?),
            Self::Sqs(queues) => Ok((queues.receive(queue, max).await?, begin())),
        }
    }

    /// Deletes a received message.
    pub async fn delete(&self, queue: &str, receipt: &str) -> Result<(), EngineError> {
        match self {
            Self::Memory(queues) => Ok(queues.delete(queue, receipt)?),
            Self::Sqs(queues) => queues.delete(queue, receipt).await,
        }
    }

    /// How many messages a queue holds; SQS itself promises no more than an approximation.
    pub async fn depth(&self, queue: &str) -> Result<Depth, EngineError> {
        match self {
            Self::Memory(queues) => Ok(queues.depth(queue)),
            Self::Sqs(queues) => queues.depth(queue).await,
        }
    }
}
