//! Every promise of the product, each in a file of its own, tried on the whole local stack over real HTTP.

mod a_job_ends_well;
