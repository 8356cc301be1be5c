//! What IAM does: a function's calls go through only if its policy in template.yaml grants them. What would be refused when deployed is
//! refused here.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeSerializationInterceptorContextRef as Context, FinalizerInterceptorContextRef as Answered,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents, SharedInterceptor};
use aws_sdk_dynamodb::error::BoxError;

use crate::template::{Grant, Table, arn};

mod dynamodb;
mod s3;
#[cfg(test)]
mod tests;

/// One thing that a call does to one resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// `dynamodb:PutItem`
    pub action: String,
    /// Its ARN.
    pub resource: String,
    /// The partition key that is touched, for the table.
    pub leading_key: Option<String>,
}

/// What was refused so far, in all functions of a stack. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Refusals(Arc<Mutex<Vec<String>>>);

impl Refusals {
    /// A sentence for each refused call.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The rights of one function.
#[derive(Clone, Debug)]
pub struct Role {
    function: String,
    grants: Arc<Vec<Grant>>,
    refusals: Refusals,
}

impl Role {
    /// A function's role, by its policy.
    pub fn new(function: &str, grants: &[Grant], refusals: &Refusals) -> Self {
        Self { function: function.to_owned(), grants: Arc::new(grants.to_vec()), refusals: refusals.clone() }
    }

    /// Whether its policy grants this.
    pub fn may(&self, wanted: &Use) -> bool {
        self.grants.iter().any(|grant| grants(grant, wanted))
    }

    /// Whether its policy grants this; what it does not is noted, and logged.
    pub fn check(&self, wanted: &Use) -> Result<(), String> {
        if self.may(wanted) {
            return Ok(());
        }
        let Use { action, resource, leading_key } = wanted;
        let key = leading_key.as_ref().map(|key| format!(", key `{key}`")).unwrap_or_default();
        let refusal = format!("the policy of `{}` does not grant `{action}` on `{resource}`{key}", self.function);
        tracing::error!("{refusal}");
        self.refusals.0.lock().unwrap_or_else(PoisonError::into_inner).push(refusal.clone());
        Err(refusal)
    }

    /// Whether it may read this secret.
    pub fn check_secret(&self, id: &str) -> Result<(), String> {
        self.check(&Use { action: "secretsmanager:GetSecretValue".to_owned(), resource: id.to_owned(), leading_key: None })
    }

    /// Whether it may do this to the queue of this name.
    pub fn check_queue(&self, action: &str, queue: &str) -> bool {
        self.check(&Use { action: action.to_owned(), resource: arn("sqs", queue), leading_key: None }).is_ok()
    }

    /// Checks every DynamoDB call before it is sent.
    pub fn dynamodb(&self, table: &Table) -> SharedInterceptor {
        let table = table.clone();
        let uses = move |context: &Context<'_>| dynamodb::uses(context, &table);
        SharedInterceptor::new(Guard { role: self.clone(), uses: Box::new(uses) })
    }

    /// Checks every S3 call before it is sent, and every link before it is signed.
    pub fn s3(&self) -> SharedInterceptor {
        SharedInterceptor::new(Guard { role: self.clone(), uses: Box::new(s3::uses) })
    }
}

fn grants(grant: &Grant, wanted: &Use) -> bool {
    let key_fits = match (&grant.leading_keys, &wanted.leading_key) {
        (None, _) => true,
        (Some(patterns), Some(key)) => patterns.iter().any(|pattern| fits(pattern, key)),
        // `ForAllValues` holds where there is no value; no call of ours is without one.
        (Some(_), None) => false,
    };
    key_fits
        && grant.actions.iter().any(|action| fits(action, &wanted.action))
        && grant.resources.iter().any(|resource| fits(resource, &wanted.resource))
}

/// Whether a text is as the pattern says, in which `*` stands for any number of characters.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        let Some(at) = text.find(part) else { return false };
        text = &text[at + part.len()..];
    }
    true
}

/// What a call takes; none: that is not known.
type Uses = dyn Fn(&Context<'_>) -> Option<Vec<Use>> + Send + Sync;

struct Guard {
    role: Role,
    uses: Box<Uses>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Guard").field("function", &self.role.function).finish_non_exhaustive()
    }
}

impl Intercept for Guard {
    fn name(&self) -> &'static str {
        "Guard"
    }

    /// S3 tells whoever may not list a bucket that it may not read, where others hear that there is no such object: code that asks
    /// what is not there needs that right as well.
    fn read_after_attempt(&self, context: &Answered<'_>, _: &RuntimeComponents, _: &mut ConfigBag) -> Result<(), BoxError> {
        Ok(s3::listing(context).iter().try_for_each(|wanted| self.role.check(wanted))?)
    }

    fn read_before_serialization(&self, context: &Context<'_>, _: &RuntimeComponents, _: &mut ConfigBag) -> Result<(), BoxError> {
        match (self.uses)(context) {
            Some(uses) => Ok(uses.iter().try_for_each(|wanted| self.role.check(wanted))?),
            None => {
                // Whoever adds a call says here what it takes.
                let refusal = format!("an AWS call of `{}` whose action is not known: {:?}", self.role.function, context.input());
                self.role.refusals.0.lock().unwrap_or_else(PoisonError::into_inner).push(refusal.clone());
                Err(refusal.into())
            }
        }
    }
}
