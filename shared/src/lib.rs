//! What every step of Darkroom shares.
//!
//! The pure half (no AWS, no HTTP, no clock, no environment) says what is right: ids, credits, the ledger, the lifecycle of a generation,
//! the catalog of providers and how their answers are read. The io half, behind the feature `io`, talks to the world.

pub mod account_erasure;
pub mod api;
pub mod assets;
pub mod audit;
pub mod boxes;
pub mod catalog;
pub mod credits;
pub mod extended_prompt;
pub mod failure;
pub mod finished;
pub mod generation;
pub mod ids;
pub mod keys;
pub mod language;
pub mod ledger;
pub mod lifecycle;
pub mod media;
pub mod messages;
pub mod outcome;
pub mod pick;
pub mod pool;
pub mod price;
pub mod quote;
pub mod rate_limit;
pub mod reconcile;
pub mod signature;
pub mod stand_ins;
pub mod template;
pub mod text_style;

#[cfg(feature = "draw")]
pub mod draw;

#[cfg(feature = "io")]
pub mod admission;
#[cfg(feature = "io")]
pub mod backend;
#[cfg(feature = "io")]
pub mod batch;
#[cfg(feature = "io")]
pub mod bookkeeping;
#[cfg(feature = "io")]
pub mod clock;
#[cfg(feature = "io")]
pub mod config;
#[cfg(feature = "io")]
pub mod endpoint;
#[cfg(feature = "io")]
pub mod erasure;
#[cfg(feature = "io")]
pub mod http_guard;
#[cfg(feature = "io")]
pub mod idempotency;
#[cfg(feature = "io")]
pub mod live_catalog;
#[cfg(feature = "io")]
pub mod logs;
#[cfg(feature = "io")]
pub mod metrics;
#[cfg(feature = "io")]
pub mod provider;
#[cfg(feature = "io")]
pub mod queue;
#[cfg(feature = "io")]
pub mod results;
#[cfg(feature = "io")]
pub mod sdk;
#[cfg(feature = "io")]
pub mod secrets;
#[cfg(feature = "io")]
pub mod store;
