//! The wire between the product and its table: counted, cut, or made to collide.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use aws_sdk_dynamodb::config::interceptors::{BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextMut};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents, SharedInterceptor};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_types::config_bag::{Storable, StoreReplace};

/// What a request that reads the due index says.
const DUE_INDEX: &[u8] = br#""IndexName":"due""#;
/// What only a read of a line says.
const LINE: &[u8] = b"wait#~";

/// What happens to one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It does not reach the table.
    CutBefore,
    /// It is done, and the caller never hears of it.
    CutAfter,
}

/// Sees every DynamoDB call.
#[derive(Debug, Clone, Default)]
pub struct Wire(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    counts: BTreeMap<String, u32>,
    /// Reads of the due index and of lines among them.
    looks: u32,
    seen: u32,
    plan: Option<(u32, Fault)>,
    /// Transactions that did not get through since the wire was severed.
    severed: Option<u32>,
    collisions: u32,
    /// Set anew after each transaction that got through.
    collisions_each: u32,
    collide_at: Option<String>,
}

impl Wire {
    pub(crate) fn interceptor(&self) -> SharedInterceptor {
        SharedInterceptor::new(Tap(self.clone()))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().expect("no panic while it is held")
    }

    /// Calls so far, by operation.
    pub fn counts(&self) -> BTreeMap<String, u32> {
        self.state().counts.clone()
    }

    /// Reads of the due index and of providers' lines so far.
    pub fn looks(&self) -> u32 {
        self.state().looks
    }

    /// Counts anew from here.
    pub fn reset(&self) {
        let mut state = self.state();
        state.counts.clear();
        state.looks = 0;
        state.seen = 0;
    }

    /// Calls so far in all.
    pub fn seen(&self) -> u32 {
        self.state().seen
    }

    /// Cuts the `nth` call from now (1 is the next one).
    pub fn cut(&self, nth: u32, fault: Fault) {
        let mut state = self.state();
        let at = state.seen + nth;
        state.plan = Some((at, fault));
    }

    /// Whether the call that is to be cut has not come yet.
    pub fn is_waiting(&self) -> bool {
        self.state().plan.is_some()
    }

    /// From now on no transaction reaches the table; reads do.
    pub fn sever(&self) {
        self.state().severed = Some(0);
    }

    /// How many transactions did not get through since then.
    pub fn severed(&self) -> u32 {
        self.state().severed.unwrap_or(0)
    }

    /// The wire is whole again.
    pub fn mend(&self) {
        let mut state = self.state();
        (state.severed, state.plan) = (None, None);
    }

    /// The next `count` transactions are answered by `stub`, which says that they collided with another one.
    pub fn collide(&self, count: u32, stub: &str) {
        let mut state = self.state();
        state.collisions = count;
        state.collisions_each = 0;
        state.collide_at = Some(stub.to_owned());
    }

    /// From now on each transaction collides `count` times before it gets through.
    pub fn collide_each(&self, count: u32, stub: &str) {
        self.collide(count, stub);
        self.state().collisions_each = count;
    }
}

/// Marks the one call whose answer does not arrive.
#[derive(Debug)]
struct DeafToTheAnswer;

impl Storable for DeafToTheAnswer {
    type Storer = StoreReplace<Self>;
}

#[derive(Debug)]
struct Tap(Wire);

impl Intercept for Tap {
    fn name(&self) -> &'static str {
        "Tap"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut state = self.0.state();
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        if let Some(count) = state.severed.as_mut().filter(|_| operation == "TransactWriteItems") {
            *count += 1;
            return Err("the wire is severed".into());
        }
        if operation == "TransactWriteItems" && state.collisions > 0 {
            state.collisions -= 1;
            let stub = state.collide_at.clone().unwrap_or_default();
            context.request_mut().set_uri(stub)?;
        } else if operation == "TransactWriteItems" {
            state.collisions = state.collisions_each;
        }
        let body = context.request().body().bytes().unwrap_or_default();
        let has = |text: &[u8]| body.windows(text.len()).any(|part| part == text);
        state.looks += u32::from(has(DUE_INDEX) || (operation == "Query" && has(LINE)));
        *state.counts.entry(operation).or_default() += 1;
        state.seen += 1;
        match state.plan {
            Some((at, Fault::CutBefore)) if at == state.seen => {
                state.plan = None;
                Err("the wire was cut before the call".into())
            }
            Some((at, Fault::CutAfter)) if at == state.seen => {
                state.plan = None;
                bag.interceptor_state().store_put(DeafToTheAnswer);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn read_before_deserialization(
        &self,
        _: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        bag: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        match bag.load::<DeafToTheAnswer>() {
            Some(_) => Err("the wire was cut after the call".into()),
            None => Ok(()),
        }
    }
}

/// Runs again and again, with the first of so many calls cut, then the second, and so on, before it is made and after it; `run` says whether
/// the cut came. The order of calls can differ a little from run to run, so that the last ones may not come: so many of them.
pub async fn with_each_call_cut(calls: u32, missing: u32, run: impl AsyncFn(u32, Fault) -> bool) {
    let mut cuts = 0;
    for nth in 1..=calls {
        for fault in [Fault::CutBefore, Fault::CutAfter] {
            cuts += u32::from(run(nth, fault).await);
        }
    }
    assert!(cuts + missing >= 2 * calls, "{cuts} cuts in {calls} calls");
}
