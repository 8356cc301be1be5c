//! Every promise of the product, each in a file of its own, tried on the whole local stack over real HTTP.

mod a_job_ends_well;

mod callbacks;
mod cancel;
mod crash;
mod failures;
mod kill9;
mod lost_callback;
mod results;
mod unconfirmed;

/// A model of each provider that is reached over HTTP, and the provider's name.
const PROVIDERS: [(&str, &str); 2] = [("flux-schnell", "replicate"), ("flux-dev", "fal")];
