pub mod simulators;
//! Darkroom in one process: the template's functions behind a gateway, queues and schedules of their own, on embedded engines.

pub mod engines;
pub mod event_source;
pub mod gateway;
pub mod invoker;
pub mod schedule;
pub mod template;
