//! placeholder

#[cfg(feature = "draw")]
pub mod draw;
