//! The whole product on the engines that it is given: our own unless `DARKROOM_TEST_DYNAMODB`, `DARKROOM_TEST_S3` and
//! `DARKROOM_TEST_SQS` name others, as `tests/engines.sh` does. What engines do otherwise is in docs/engines.md.
//!
//! No clock jumps here but by [`tests::World::soon`], since an SQS of its own follows none.

mod bucket;
mod erasure;
mod jobs;
mod mapping;
mod money;
mod queues;
mod table;
mod trouble;
mod uploads;

/// A model of each provider that calls back, and the provider's name.
const PROVIDERS: [(&str, &str); 2] = [("flux-schnell", "replicate"), ("flux-dev", "fal")];
