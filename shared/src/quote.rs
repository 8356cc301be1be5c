//! Quotes: the price of one order, which holds until a stated time. Nothing is stored: a quote is its own proof.
//!
//! `q1.<payload>.<signature>`: the quote as JSON and an HMAC-SHA256, both in URL-safe base64 without padding (RFC 4648).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::ids::AccountId;
use crate::price::Cost;
use crate::signature::{SignatureError, fits, hmac_sha256};

/// The version of the token, in the token and under its signature.
const VERSION: &str = "q1";

/// What is quoted: who may order what, at which price, and until when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quote {
    /// Whose order it is for.
    pub account: AccountId,
    /// The catalog name of the model or chain.
    pub model: String,
    /// The fingerprint of the checked parameters, defaults filled in.
    pub params: String,
    /// What is held when it is redeemed, and what fewer results cost.
    pub cost: Cost,
    /// From then on it is worth nothing.
    pub expires_at: Timestamp,
}

/// An order for which a quote is shown.
#[derive(Debug, Clone, Copy)]
pub struct Redemption<'a> {
    /// Who orders.
    pub account: AccountId,
    /// The catalog name of the model or chain.
    pub model: &'a str,
    /// The fingerprint of the checked parameters.
    pub params: &'a str,
}

/// Why a quote does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// Not a quote, or not one of ours.
    #[error("this is no quote of `POST /v1/quotes`: send it whole and unchanged, or ask for a new one")]
    Invalid,
    /// Of another account.
    #[error("this quote was given to another account: ask for one of your own")]
    OtherAccount,
    /// For another model or chain.
    #[error("this quote is for another model: ask for one for this order")]
    OtherModel,
    /// For other parameters.
    #[error("this quote is for other parameters: order what was quoted, or ask for a quote for this order")]
    OtherParams,
    /// Too late.
    #[error("this quote was good until {0}: ask for a new one")]
    Expired(Timestamp),
}

impl Quote {
    /// The token. Refused only without a secret: then anybody could sign.
    pub fn sign(&self, secret: &str) -> Result<String, SignatureError> {
        let json = serde_json::to_vec(self).map_err(|_| SignatureError::Malformed("quote"))?;
        let payload = URL_SAFE_NO_PAD.encode(json);
        let signature = URL_SAFE_NO_PAD.encode(tag(secret, &payload)?);
        Ok(format!("{VERSION}.{payload}.{signature}"))
    }

    /// The quote that a token carries, if we signed it.
    pub fn read(secret: &str, token: &str) -> Result<Self, QuoteError> {
        let (version, rest) = token.split_once('.').ok_or(QuoteError::Invalid)?;
        let (payload, signature) = rest.split_once('.').filter(|_| version == VERSION).ok_or(QuoteError::Invalid)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| QuoteError::Invalid)?;
        tag(secret, payload).and_then(|expected| fits(&expected, &signature)).map_err(|_| QuoteError::Invalid)?;
        let json = URL_SAFE_NO_PAD.decode(payload).map_err(|_| QuoteError::Invalid)?;
        serde_json::from_slice(&json).map_err(|_| QuoteError::Invalid)
    }

    /// The quoted price, if it is for this order and still holds.
    pub fn redeem(self, order: Redemption<'_>, now: Timestamp) -> Result<Cost, QuoteError> {
        if self.account != order.account {
            return Err(QuoteError::OtherAccount);
        }
        if self.model != order.model {
            return Err(QuoteError::OtherModel);
        }
        if self.params != order.params {
            return Err(QuoteError::OtherParams);
        }
        if now >= self.expires_at { Err(QuoteError::Expired(self.expires_at)) } else { Ok(self.cost) }
    }
}

/// The prefix keeps a quote from passing for anything else that is signed with the same secret.
fn tag(secret: &str, payload: &str) -> Result<aws_lc_rs::hmac::Tag, SignatureError> {
    hmac_sha256(secret.as_bytes(), &[b"quote/", VERSION.as_bytes(), b"/", payload.as_bytes()])
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::credits::Credits;

    const SECRET: &str = "a secret of at least 32 characters";

    fn credits(amount: u64) -> Credits {
        Credits::new(amount).expect("small")
    }

    fn quote() -> Quote {
        Quote {
            account: AccountId::from_parts(1, [1; 10]),
            model: "flux".to_owned(),
            params: "f00d".to_owned(),
            cost: Cost { credits: credits(4), by_results: vec![credits(2), credits(4)] },
            expires_at: Timestamp::UNIX_EPOCH + SignedDuration::from_mins(10),
        }
    }

    fn order() -> Redemption<'static> {
        Redemption { account: quote().account, model: "flux", params: "f00d" }
    }

    #[test]
    fn a_quote_comes_back_as_it_was_given() {
        let token = quote().sign(SECRET).expect("signed");
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
        assert_eq!(Quote::read(SECRET, &token), Ok(quote()));
    }

    #[test]
    fn nobody_else_can_make_a_quote() {
        let token = quote().sign(SECRET).expect("signed");
        let parts: Vec<&str> = token.split('.').collect();
        let cheaper = Quote { cost: Cost { credits: credits(1), by_results: Vec::new() }, ..quote() };
        let other = cheaper.sign("another secret, which is not ours").expect("signed");
        let others: Vec<&str> = other.split('.').collect();
        let same_text_for_callbacks =
            URL_SAFE_NO_PAD.encode(hmac_sha256(SECRET.as_bytes(), &[parts[1].as_bytes()]).expect("a tag"));
        for forged in [
            String::new(),
            "q1".to_owned(),
            "q1..".to_owned(),
            "quote".to_owned(),
            other.clone(),
            format!("q1.{}.{}", others[1], parts[2]),
            format!("q2.{}.{}", parts[1], parts[2]),
            format!("q1.{}.{same_text_for_callbacks}", parts[1]),
            format!("q1.{}.", parts[1]),
            format!("q1.{}.{}", parts[1], &parts[2][..20]),
            format!("q1.{}=.{}", parts[1], parts[2]),
            format!("{token}."),
            format!(" {token}"),
            token[..token.len() - 1].to_owned(),
        ] {
            assert_eq!(Quote::read(SECRET, &forged), Err(QuoteError::Invalid), "{forged}");
        }
        assert_eq!(Quote::read("", &token), Err(QuoteError::Invalid));
        assert_eq!(quote().sign(""), Err(SignatureError::BadSecret));
    }

    #[test]
    fn a_quote_is_for_one_order_and_for_a_while() {
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        assert_eq!(quote().redeem(order(), at(599)), Ok(quote().cost));
        assert_eq!(quote().redeem(order(), at(600)), Err(QuoteError::Expired(at(600))));
        let stranger = Redemption { account: AccountId::from_parts(2, [1; 10]), ..order() };
        assert_eq!(quote().redeem(stranger, at(0)), Err(QuoteError::OtherAccount));
        assert_eq!(quote().redeem(Redemption { model: "flux-2", ..order() }, at(0)), Err(QuoteError::OtherModel));
        assert_eq!(quote().redeem(Redemption { params: "beef", ..order() }, at(0)), Err(QuoteError::OtherParams));
    }
}
