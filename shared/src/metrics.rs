//! Metrics in CloudWatch's embedded metric format: a JSON line on standard output, of which Lambda's log makes metrics. No call, no wait.
//!
//! Format: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

mod steps;

pub use steps::of_step;

/// A metric's name and CloudWatch's name of its unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Metric {
    pub name: &'static str,
    pub unit: &'static str,
}

/// Generations accepted; by model.
pub const ACCEPTED: Metric = Metric { name: "Accepted", unit: "Count" };
/// Generations that ended well; by provider and model.
pub const SUCCEEDED: Metric = Metric { name: "Succeeded", unit: "Count" };
/// Generations that failed; by provider and class.
pub const FAILED: Metric = Metric { name: "Failed", unit: "Count" };
/// Generations that ended canceled; by provider.
pub const CANCELED: Metric = Metric { name: "Canceled", unit: "Count" };
/// From the order to its first claim.
pub const QUEUED_SECONDS: Metric = Metric { name: "QueuedSeconds", unit: "Seconds" };
/// How long a provider worked on it, from the claim where its answer carried the results; by provider.
pub const RUNNING_SECONDS: Metric = Metric { name: "RunningSeconds", unit: "Seconds" };
/// From the provider's end to ours: copying and settling; by provider.
pub const COLLECTING_SECONDS: Metric = Metric { name: "CollectingSeconds", unit: "Seconds" };
/// From the order to its end; by provider.
pub const TOTAL_SECONDS: Metric = Metric { name: "TotalSeconds", unit: "Seconds" };
/// Callbacks that were taken as evidence or as a reason to ask; by provider.
pub const CALLBACKS: Metric = Metric { name: "Callbacks", unit: "Count" };
/// Ends that the poll found although the provider was to call back; by provider.
pub const LOST_CALLBACKS: Metric = Metric { name: "LostCallbacks", unit: "Count" };
/// Submits whose answer was lost; by provider.
pub const UNCONFIRMED: Metric = Metric { name: "Unconfirmed", unit: "Count" };
/// How long a submit's answer has been, or was, missing.
pub const UNCONFIRMED_SECONDS: Metric = Metric { name: "UnconfirmedSeconds", unit: "Seconds" };
/// Age of the oldest hold: of what is due, and once a day of all.
pub const OLDEST_HOLD_SECONDS: Metric = Metric { name: "OldestHoldSeconds", unit: "Seconds" };
/// How long ago the oldest of what is due should have been looked at.
pub const OVERDUE_SECONDS: Metric = Metric { name: "OverdueSeconds", unit: "Seconds" };
/// Open holds, as the daily look at the books finds them.
pub const HOLDS_OPEN: Metric = Metric { name: "HoldsOpen", unit: "Count" };
/// What is wrong in the books, and what of them could not be looked at.
pub const RECONCILE_FINDINGS: Metric = Metric { name: "ReconcileFindings", unit: "Count" };
/// Attempts that a provider refused or failed for reasons of its own; by provider and class.
pub const PROVIDER_ERRORS: Metric = Metric { name: "ProviderErrors", unit: "Count" };
/// Daily looks at the books that were handed out for all accounts.
pub const DAILY_LOOKS: Metric = Metric { name: "DailyLooks", unit: "Count" };
/// The minute's ticks that were done.
pub const TICKS: Metric = Metric { name: "Ticks", unit: "Count" };
/// Attempts that failed for what an operator has to look at, as the class's policy says: a refused key, an empty account, no answer in time, a lost
/// result, a fault of ours; by provider and class.
pub const PROVIDER_ALARMS: Metric = Metric { name: "ProviderAlarms", unit: "Count" };
/// Requests refused for coming too fast.
pub const RATE_LIMITED: Metric = Metric { name: "RateLimited", unit: "Count" };

/// All of them.
pub const ALL: [Metric; 21] = [
    ACCEPTED,
    SUCCEEDED,
    FAILED,
    CANCELED,
    QUEUED_SECONDS,
    RUNNING_SECONDS,
    COLLECTING_SECONDS,
    TOTAL_SECONDS,
    CALLBACKS,
    LOST_CALLBACKS,
    UNCONFIRMED,
    UNCONFIRMED_SECONDS,
    OLDEST_HOLD_SECONDS,
    OVERDUE_SECONDS,
    HOLDS_OPEN,
    RECONCILE_FINDINGS,
    DAILY_LOOKS,
    TICKS,
    PROVIDER_ERRORS,
    PROVIDER_ALARMS,
    RATE_LIMITED,
];

/// Values of one moment with the same dimensions.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Each value also counts without the last dimension, without the last two, and so on: with `[("Provider", "fal")]` there are a total
    /// and one for the provider.
    pub dimensions: Vec<(&'static str, String)>,
    pub values: Vec<(Metric, f64)>,
}

impl Sample {
    /// One more of something.
    pub fn count(metric: Metric, dimensions: &[(&'static str, &str)]) -> Self {
        Self::of(dimensions, vec![(metric, 1.0)])
    }

    /// Values with these dimensions.
    pub fn of(dimensions: &[(&'static str, &str)], values: Vec<(Metric, f64)>) -> Self {
        Self { dimensions: dimensions.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), values }
    }

    /// The line that CloudWatch reads.
    fn line(&self, namespace: &str, at: Timestamp) -> Value {
        let names: Vec<&str> = self.dimensions.iter().map(|(name, _)| *name).collect();
        let sets: Vec<&[&str]> = (0..=names.len()).map(|length| &names[..length]).collect();
        let metrics: Vec<Value> =
            self.values.iter().map(|(metric, _)| json!({ "Name": metric.name, "Unit": metric.unit })).collect();
        let directive = json!({ "Namespace": namespace, "Dimensions": sets, "Metrics": metrics });
        let mut line = Map::new();
        line.insert("_aws".to_owned(), json!({ "Timestamp": at.as_millisecond(), "CloudWatchMetrics": [directive] }));
        line.extend(self.dimensions.iter().map(|(name, value)| ((*name).to_owned(), Value::from(value.as_str()))));
        line.extend(self.values.iter().map(|(metric, value)| (metric.name.to_owned(), Value::from(*value))));
        Value::Object(line)
    }
}

/// Seconds, as the metrics count them; a clock that was set back is no time at all.
pub fn seconds(duration: SignedDuration) -> f64 {
    duration.as_secs_f64().max(0.0)
}

/// Where metrics go. Clones share it.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Sink>);

#[derive(Debug)]
enum Sink {
    /// Lines on standard output, in this namespace.
    Lines(String),
    /// Sums, for the one-process run.
    Memory(Mutex<BTreeMap<Series, Total>>),
}

/// A metric's name and its dimensions: `Failed`, `Provider=fal,Class=moderated`.
pub type Series = (String, String);

/// What came together in one series.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Total {
    pub count: u64,
    pub sum: f64,
    pub max: f64,
}

impl Metrics {
    /// Lines on standard output; in a namespace of at most 255 characters.
    pub fn lines(namespace: &str) -> Self {
        Self(Arc::new(Sink::Lines(namespace.to_owned())))
    }

    /// Sums that can be asked for.
    pub fn memory() -> Self {
        Self(Arc::new(Sink::Memory(Mutex::default())))
    }

    /// Puts samples where they go. What cannot be written is lost: a metric never stops what it measures.
    pub fn put(&self, samples: &[Sample], at: Timestamp) {
        match &*self.0 {
            Sink::Lines(namespace) => {
                let mut output = std::io::stdout().lock();
                for sample in samples {
                    let _ = writeln!(output, "{}", sample.line(namespace, at));
                }
            }
            Sink::Memory(totals) => {
                let mut totals = totals.lock().unwrap_or_else(PoisonError::into_inner);
                for sample in samples {
                    sample.add_to(&mut totals);
                }
            }
        }
    }

    /// The sums so far; none when they went elsewhere.
    pub fn totals(&self) -> BTreeMap<Series, Total> {
        match &*self.0 {
            Sink::Lines(_) => BTreeMap::new(),
            Sink::Memory(totals) => totals.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

impl Sample {
    #[allow(clippy::float_arithmetic, reason = "sums of metrics")]
    fn add_to(&self, totals: &mut BTreeMap<Series, Total>) {
        for length in 0..=self.dimensions.len() {
            let dimensions: Vec<String> =
                self.dimensions.iter().take(length).map(|(name, value)| format!("{name}={value}")).collect();
            for (metric, value) in &self.values {
                let total = totals.entry((metric.name.to_owned(), dimensions.join(","))).or_default();
                total.count += 1;
                total.sum += value;
                total.max = total.max.max(*value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_as_cloudwatch_reads_it() {
        let sample = Sample::of(&[("Provider", "fal"), ("Model", "flux-dev")], vec![(SUCCEEDED, 1.0), (TOTAL_SECONDS, 2.5)]);
        let line = sample.line("Darkroom/prod", Timestamp::from_millisecond(1_764_000_000_123).expect("a time"));
        assert_eq!(
            line,
            json!({
                "_aws": {
                    "Timestamp": 1_764_000_000_123_i64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Darkroom/prod",
                        "Dimensions": [[], ["Provider"], ["Provider", "Model"]],
                        "Metrics": [{ "Name": "Succeeded", "Unit": "Count" }, { "Name": "TotalSeconds", "Unit": "Seconds" }],
                    }],
                },
                "Provider": "fal",
                "Model": "flux-dev",
                "Succeeded": 1.0,
                "TotalSeconds": 2.5,
            })
        );
    }

    #[test]
    fn sums_are_kept_for_each_set_of_dimensions() {
        let metrics = Metrics::memory();
        for class in ["moderated", "moderated", "expired"] {
            metrics.put(&[Sample::count(FAILED, &[("Provider", "fal"), ("Class", class)])], Timestamp::UNIX_EPOCH);
        }
        let totals = metrics.totals();
        let count = |dimensions: &str| totals[&("Failed".to_owned(), dimensions.to_owned())].count;
        assert_eq!((count(""), count("Provider=fal"), count("Provider=fal,Class=moderated")), (3, 3, 2));
    }

    #[test]
    fn every_metric_has_a_name_of_its_own() {
        let mut names: Vec<&str> = ALL.iter().map(|metric| metric.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
