//! Every promise of the product, each in a file of its own, tried on the whole local stack over real HTTP.

mod a_job_ends_well;

mod accounts_are_apart;
mod bad_input;
mod call_budget;
mod collisions;
mod credits_cannot_be_overspent;
mod idempotency;
mod openapi;
mod uploads;
