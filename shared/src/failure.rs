//! Why a generation failed, and what follows from it: one table.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The kinds of failure. Each provider's manifest maps its own errors onto them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The provider does not take these parameters or this input.
    RejectedInput,
    /// Refused by the provider's content policy.
    Moderated,
    /// The provider asks to slow down; certainly not accepted.
    Throttled,
    /// The provider could not be reached or is out of order; certainly not accepted.
    Unavailable,
    /// The provider refuses our key.
    ProviderAuth,
    /// Our account with the provider is out of funds.
    ProviderFunds,
    /// The provider took the job and failed it.
    ProviderFailed,
    /// The provider finished, but its result cannot be had or stored.
    ResultLost,
    /// No answer within the time allowed.
    Expired,
    /// Canceled by the customer.
    Canceled,
    /// A fault of ours.
    Internal,
    /// Ended by an operator, by hand. No manifest may name it.
    #[cfg_attr(feature = "schema", schemars(skip))]
    Resolved,
}

impl FailureClass {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::RejectedInput,
        Self::Moderated,
        Self::Throttled,
        Self::Unavailable,
        Self::ProviderAuth,
        Self::ProviderFunds,
        Self::ProviderFailed,
        Self::ResultLost,
        Self::Expired,
        Self::Canceled,
        Self::Internal,
        Self::Resolved,
    ];

    /// The word of the class, as in JSON and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            Self::RejectedInput => "rejected_input",
            Self::Moderated => "moderated",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::ProviderAuth => "provider_auth",
            Self::ProviderFunds => "provider_funds",
            Self::ProviderFailed => "provider_failed",
            Self::ResultLost => "result_lost",
            Self::Expired => "expired",
            Self::Canceled => "canceled",
            Self::Internal => "internal",
            Self::Resolved => "resolved",
        }
    }
}

/// What a failed generation costs its customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Charge {
    /// The hold is released.
    None,
    /// The whole hold is charged.
    Full,
}

/// Whether the job is worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Retry {
    /// Once more with the same provider, after a pause; when that was tried often enough, with the next one of the chain.
    Same,
    /// With the next provider of the chain, if there is one.
    Next,
    /// No.
    No,
}

/// Whether somebody has to look at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Alarm {
    /// The customer's own affair.
    Nobody,
    /// Logged as an error, for the operator's alarms.
    Operator,
}

/// What follows from one class of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What the customer pays.
    pub charge: Charge,
    /// Whether to try again.
    pub retry: Retry,
    /// Who is told.
    pub alarm: Alarm,
}

/// A provider's exceptions to the [defaults](default_policy).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(transparent)]
pub struct Policies(BTreeMap<FailureClass, Policy>);

impl Policies {
    /// The provider's own policy for `class`, else the default.
    pub fn of(&self, class: FailureClass) -> Policy {
        self.0.get(&class).copied().unwrap_or_else(|| default_policy(class))
    }

    /// Whether the provider has a policy of its own for `class`.
    pub fn is_own(&self, class: FailureClass) -> bool {
        self.0.contains_key(&class)
    }
}

/// The table. Nobody pays for a failure unless a provider's manifest says that this provider's price includes it.
pub fn default_policy(class: FailureClass) -> Policy {
    use FailureClass as C;
    let (retry, alarm) = match class {
        C::Throttled | C::Unavailable => (Retry::Same, Alarm::Nobody),
        C::ProviderFailed => (Retry::Next, Alarm::Nobody),
        C::ProviderAuth | C::ProviderFunds | C::Expired | C::Internal => (Retry::Next, Alarm::Operator),
        C::RejectedInput | C::Moderated | C::Canceled | C::Resolved => (Retry::No, Alarm::Nobody),
        // The provider was paid for it: another one would have to be paid too.
        C::ResultLost => (Retry::No, Alarm::Operator),
    };
    Policy { charge: Charge::None, retry, alarm }
}

/// One failure: its class and a sentence for the customer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What kind.
    pub class: FailureClass,
    /// What went wrong, fit for the customer's eyes: no keys, no addresses; at most [`Failure::MESSAGE_CHARS`] characters.
    pub message: String,
}

impl Failure {
    /// Longer messages are cut.
    pub const MESSAGE_CHARS: usize = 500;

    /// Trims and cuts the message.
    pub fn new(class: FailureClass, message: impl AsRef<str>) -> Self {
        let message = message.as_ref().trim();
        Self { class, message: message.chars().take(Self::MESSAGE_CHARS).collect() }
    }

    /// The class alone, which says nothing of what was ordered.
    pub fn without_message(&self) -> Self {
        Self { class: self.class, message: "erased".to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_can_charge_for_what_its_provider_bills() {
        let text = r#"{"moderated": {"charge": "full", "retry": "no", "alarm": "nobody"}}"#;
        let policies: Policies = serde_json::from_str(text).expect("parses");
        assert_eq!(policies.of(FailureClass::Moderated).charge, Charge::Full);
        assert_eq!(policies.of(FailureClass::ProviderFailed).charge, Charge::None);
    }

    #[test]
    fn by_default_no_failure_is_charged() {
        for class in FailureClass::ALL {
            assert_eq!(default_policy(class).charge, Charge::None, "{class:?}");
        }
    }
}
