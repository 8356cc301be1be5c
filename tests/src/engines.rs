//! Which engines the worlds run on: our own, unless environment variables name others. `tests/engines.sh` starts such and sets them.
#![allow(clippy::disallowed_methods, reason = "tests read from the environment where the engines are")]

use std::time::Duration;

use local::engines::{Endpoints, Queues};
use shared::queue::MemoryQueues;

use crate::World;

/// `DARKROOM_TEST_DYNAMODB`, `DARKROOM_TEST_S3` and `DARKROOM_TEST_SQS`: the URLs of engines that run elsewhere.
pub fn endpoints() -> Endpoints {
    let url = |name| std::env::var(name).ok().filter(|url| !url.is_empty());
    Endpoints { dynamodb: url("DARKROOM_TEST_DYNAMODB"), s3: url("DARKROOM_TEST_S3"), sqs: url("DARKROOM_TEST_SQS") }
}

impl World {
    /// The queues in memory, of which more can be told than of SQS.
    pub fn queues(&self) -> &MemoryQueues {
        match &self.stack.queues {
            Queues::Memory(queues) => queues,
            Queues::Sqs(_) => panic!("this promise looks into the queues in memory; start it without `DARKROOM_TEST_SQS`"),
        }
    }

    /// Lets the clock jump where everything follows it. An SQS does not: there the time has to pass by itself, while the test waits for
    /// what comes of it.
    pub fn soon(&self, by: Duration) {
        if let Queues::Memory(_) = self.stack.queues {
            self.later(by);
        }
    }
}
