//! Darkroom in one process: the template's functions behind a gateway, queues and schedules of their own, on embedded engines.

pub mod cli;
pub mod engines;
pub mod event_source;
pub mod functions;
pub mod gateway;
pub mod invoker;
pub mod openapi;
pub mod permissions;
pub mod schedule;
pub mod simulators;
pub mod stack;
pub mod template;
