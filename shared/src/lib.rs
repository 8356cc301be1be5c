//! placeholder

#[cfg(feature = "io")]
pub mod clock;
#[cfg(feature = "io")]
pub mod http_guard;
#[cfg(feature = "io")]
pub mod queue;
#[cfg(feature = "io")]
pub mod results;
