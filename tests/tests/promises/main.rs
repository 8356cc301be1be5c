//! Every promise of the product, each in a file of its own, tried on the whole local stack over real HTTP.

mod a_job_ends_well;
mod a_leaked_table_holds_no_usable_key;
mod accounts_are_apart;
mod admin_accounts;
mod admin_credits;
mod admin_keys;
mod admin_limits;
mod bad_input;
mod by_hand;
mod call_budget;
mod callbacks;
mod cancel;
mod chains;
mod collisions;
mod command_line;
mod command_line_accounts;
mod crash;
mod credits_cannot_be_overspent;
mod erasure;
mod erasure_of_accounts;
mod failures;
mod histories;
mod idempotency;
mod inline_results;
mod keys;
mod kill9;
mod ledger;
mod limits;
mod lost_callback;
mod money_under_pressure;
mod openapi;
mod pool;
mod providers;
mod quotes;
mod rate_limits;
mod reconcile;
mod results;
mod run_time_catalog;
mod unconfirmed;
mod uploads;

/// A model of each provider that is reached over HTTP, and the provider's name.
const PROVIDERS: [(&str, &str); 2] = [("flux-schnell", "replicate"), ("flux-dev", "fal")];
