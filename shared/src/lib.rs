//! placeholder

#[cfg(feature = "io")]
pub mod clock;
#[cfg(feature = "io")]
pub mod queue;
