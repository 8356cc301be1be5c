//! Failure rules: each can be reached, and the errors that matter have one.

use super::Checked;
use super::place::Place;
use super::words::http_status;
use crate::catalog::manifest::{Api, HttpProvider};
use crate::catalog::rules::FailureRule;
use crate::failure::FailureClass;

/// One list of rules, of which the first match wins.
pub(super) fn list(place: &Place<'_>, rules: &[FailureRule]) -> Checked {
    for (index, rule) in rules.iter().enumerate() {
        let at = place.index(index);
        if rule.class == FailureClass::Resolved {
            return at.key("class").refuse("`resolved` is what operators do by hand: no error of a provider means it");
        }
        for (number, status) in rule.status.iter().enumerate() {
            http_status(&at.key("status").index(number), *status)?;
        }
        if rule.picks.is_empty() {
            let unseen =
                [("equals", &rule.equals), ("contains", &rule.contains)].into_iter().find(|(_, texts)| !texts.is_empty());
            if let Some((name, _)) = unseen {
                return at.key(name).refuse("is never looked at: say in `picks` where the text is");
            }
        }
        if let Some((name, number)) = empty_text(rule) {
            return at.key(name).index(number).refuse("an empty text says nothing: leave it out");
        }
        if let Some(earlier) = rules[..index].iter().position(|earlier| covers(earlier, rule)) {
            let why = if is_catch_all(&rules[earlier]) {
                "has no conditions and takes everything"
            } else {
                "takes all that this one would"
            };
            return at.refuse(format!(
                "can never be reached: the rule [{earlier}] before it {why}; move this one up, or leave one out"
            ));
        }
    }
    Ok(())
}

fn empty_text(rule: &FailureRule) -> Option<(&'static str, usize)> {
    let lists = [("equals", &rule.equals), ("contains", &rule.contains)];
    lists.into_iter().find_map(|(name, texts)| Some((name, texts.iter().position(String::is_empty)?)))
}

fn is_catch_all(rule: &FailureRule) -> bool {
    rule.status.is_empty() && rule.picks.is_empty()
}

/// Whether whatever fits `later` fits `earlier` too.
fn covers(earlier: &FailureRule, later: &FailureRule) -> bool {
    let statuses = earlier.status.is_empty()
        || (!later.status.is_empty() && later.status.iter().all(|status| earlier.status.contains(status)));
    let has_pick = |pick: &str| earlier.picks.iter().any(|own| own.as_str() == pick);
    let picks = earlier.picks.is_empty() || (!later.picks.is_empty() && later.picks.iter().all(|pick| has_pick(pick.as_str())));
    statuses && picks && (earlier.picks.is_empty() || covers_texts(earlier, later))
}

fn covers_texts(earlier: &FailureRule, later: &FailureRule) -> bool {
    if earlier.equals.is_empty() && earlier.contains.is_empty() {
        return true;
    }
    if later.equals.is_empty() && later.contains.is_empty() {
        return false;
    }
    let holds_part = |text: &str| {
        let text = text.to_lowercase();
        earlier.contains.iter().any(|part| text.contains(&part.to_lowercase()))
    };
    let equal = |text: &String| earlier.equals.contains(text) || holds_part(text);
    later.equals.iter().all(equal) && later.contains.iter().all(|text| holds_part(text))
}

/// The classes of errors that an API must be able to tell.
pub(super) fn needed(place: &Place<'_>, http: &HttpProvider, api: &Api) -> Checked {
    use FailureClass as C;
    let place = place.key("failures");
    let both = api.failures.iter().chain(&http.failures);
    let mut reached = Vec::new();
    for rule in both {
        reached.push(rule);
        if is_catch_all(rule) {
            break;
        }
    }
    if !reached.iter().any(|rule| rule.class == C::Moderated) {
        let reason = "no rule has the class `moderated`: say how this provider tells that its content policy refused, here or in the \
                      provider's `failures`";
        return place.refuse(reason);
    }
    if api.envelope.is_none() {
        return Ok(());
    }
    let words = [
        (C::Moderated, "moderated"),
        (C::Throttled, "throttled"),
        (C::ProviderAuth, "provider_auth"),
        (C::ProviderFunds, "provider_funds"),
        (C::RejectedInput, "rejected_input"),
    ];
    let in_success =
        |rule: &&FailureRule| rule.status.is_empty() || rule.status.iter().any(|status| (200..=299).contains(status));
    for (class, word) in words {
        if !reached.iter().copied().filter(in_success).any(|rule| rule.class == class) {
            return place.refuse(format!(
                "no rule without an HTTP status has the class `{word}`: with an `envelope` errors come in answers of success, name their codes"
            ));
        }
    }
    Ok(())
}
