use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;

const TOLERANCE: SignedDuration = SignedDuration::from_secs(300);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

#[derive(Clone)]
struct Given(Vec<(&'static str, String)>);

impl Headers for Given {
    fn header(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }
}

impl Given {
    fn without(&self, name: &str) -> Self {
        Self(self.0.iter().filter(|(own, _)| *own != name).cloned().collect())
    }

    fn with(&self, name: &'static str, value: &str) -> Self {
        let mut other = self.without(name);
        other.0.push((name, value.to_owned()));
        other
    }
}

#[derive(Debug, Clone, Copy)]
enum Scheme {
    Standard,
    Fal,
    Kie,
    OpenRouter,
    WaveSpeed,
}

#[derive(Clone, Copy)]
enum Encoding {
    Base64,
    Hex,
}

/// A signature known to be right, and how to make wrong ones of it.
#[derive(Clone, Copy)]
struct Vector {
    name: &'static str,
    scheme: Scheme,
    /// For fal, the `x` of the public key's JWK.
    secret: &'static str,
    wrong_secret: &'static str,
    headers: &'static [(&'static str, &'static str)],
    /// The body; for Kie, the task's id.
    content: &'static str,
    sent: i64,
    /// The header that gives the time.
    time: &'static str,
    /// The header that ends with the signature, what stands before it there, how it is written.
    signature: (&'static str, &'static str, Encoding),
}

const STANDARD_SIGNATURE: (&str, &str, Encoding) = ("webhook-signature", "v1,", Encoding::Base64);

// The vector that Replicate's JavaScript client tests itself with.
const REPLICATE: Vector = Vector {
    name: "replicate",
    scheme: Scheme::Standard,
    secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    wrong_secret: "whsec_AfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    headers: &[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="),
    ],
    content: r#"{"test": 2432232314}"#,
    sent: 1_614_265_330,
    time: "webhook-timestamp",
    signature: STANDARD_SIGNATURE,
};

// The other vectors are made from the documented rules with another implementation.
const OPENAI: Vector = Vector {
    name: "openai and gemini",
    secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3",
    wrong_secret: "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY4",
    headers: &[
        ("webhook-id", "wh_1"),
        ("webhook-timestamp", "1750287078"),
        ("webhook-signature", "v1,+bPzHeeoQfE6R1WGhYmCSCYnXIHZqhUwx5j4pSP0+/8="),
    ],
    content: r#"{"a":1}"#,
    sent: 1_750_287_078,
    ..REPLICATE
};

// The bytes that OPENAI's secret stands for.
const OPENAI_RAW: Vector =
    Vector { name: "openai, raw secret", secret: "0123456789abcdef01234567", wrong_secret: "0123456789abcdef01234568", ..OPENAI };

// The private key is 00 01 02 … 1f.
const FAL: Vector = Vector {
    name: "fal",
    scheme: Scheme::Fal,
    secret: "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg",
    wrong_secret: "CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQk",
    headers: &[
        ("x-fal-webhook-request-id", "req-1"),
        ("x-fal-webhook-user-id", "user-1"),
        ("x-fal-webhook-timestamp", "1800000000"),
        (
            "x-fal-webhook-signature",
            "af5f2a363fd1e28d7c8aed4f0efafd858e5c4c2432669b49becee54a8950604a830f292c71e37f2d5b9347f24d24889480443792b2592eda691edd32361e0003",
        ),
    ],
    content: r#"{"request_id":"req-1","status":"OK"}"#,
    sent: 1_800_000_000,
    time: "x-fal-webhook-timestamp",
    signature: ("x-fal-webhook-signature", "", Encoding::Hex),
};

const KIE: Vector = Vector {
    name: "kie",
    scheme: Scheme::Kie,
    secret: "key",
    wrong_secret: "kex",
    headers: &[("x-webhook-timestamp", "1755599644"), ("x-webhook-signature", "ah+0/LfIkAkLknpLmIO+lxyIOCXQwQBKFbPRbVYqDXA=")],
    content: "task_1",
    sent: 1_755_599_644,
    time: "x-webhook-timestamp",
    signature: ("x-webhook-signature", "", Encoding::Base64),
};

const OPENROUTER: Vector = Vector {
    name: "openrouter",
    scheme: Scheme::OpenRouter,
    secret: "secret",
    wrong_secret: "secres",
    headers: &[("x-openrouter-signature", "t=1755599644,v1=a910d8d3572e3165ef02e742ca4addb769844640813b88ab65468216177fcac0")],
    content: r#"{"a":1}"#,
    sent: 1_755_599_644,
    time: "x-openrouter-signature",
    signature: ("x-openrouter-signature", "t=1755599644,v1=", Encoding::Hex),
};

const WAVESPEED: Vector = Vector {
    name: "wavespeed",
    scheme: Scheme::WaveSpeed,
    headers: &[
        ("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek"),
        ("webhook-timestamp", "1614265330"),
        ("webhook-signature", "v3,10b86a1b42aed60c0e7357f88f229da774851852c039d27d6efa562dc8826a42"),
    ],
    signature: ("webhook-signature", "v3,", Encoding::Hex),
    ..REPLICATE
};

const VECTORS: [Vector; 7] = [REPLICATE, OPENAI, OPENAI_RAW, FAL, KIE, OPENROUTER, WAVESPEED];

impl Vector {
    fn given(&self) -> Given {
        Given(self.headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
    }

    fn verify(&self, secret: &str, headers: &Given, content: &[u8], now: i64) -> Result<(), SignatureError> {
        let now = at(now);
        match self.scheme {
            Scheme::Standard => verify_standard_webhook(secret, headers, content, now, TOLERANCE),
            Scheme::Fal => {
                let set = format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{secret}"}}]}}"#);
                let keys = read_jwks(set.as_bytes()).expect("a key set");
                verify_fal_webhook(&keys, headers, content, now, TOLERANCE)
            }
            Scheme::Kie => verify_kie_webhook(secret, headers, std::str::from_utf8(content).expect("UTF-8"), now, TOLERANCE),
            Scheme::OpenRouter => verify_openrouter_webhook(secret, headers, content, now, TOLERANCE),
            Scheme::WaveSpeed => verify_wavespeed_webhook(secret, headers, content, now, TOLERANCE),
        }
    }

    /// With these headers, all else being right.
    fn verify_headers(&self, headers: &Given) -> Result<(), SignatureError> {
        self.verify(self.secret, headers, self.content.as_bytes(), self.sent)
    }

    fn signature(&self) -> Vec<u8> {
        let (name, before, encoding) = self.signature;
        let given = self.given();
        let written = given.header(name).and_then(|value| value.strip_prefix(before)).expect("the table is right");
        match encoding {
            Encoding::Base64 => STANDARD.decode(written).expect("base64"),
            Encoding::Hex => hex::decode(written).expect("hex"),
        }
    }

    /// With another signature, all else being right.
    fn verify_signature(&self, signature: &[u8]) -> Result<(), SignatureError> {
        let (name, before, encoding) = self.signature;
        let written = match encoding {
            Encoding::Base64 => STANDARD.encode(signature),
            Encoding::Hex => hex::encode(signature),
        };
        self.verify_headers(&self.given().with(name, &format!("{before}{written}")))
    }

    /// With another text where the time is, all else being right.
    fn verify_time(&self, text: &str) -> Result<(), SignatureError> {
        let headers = self.given().0.into_iter().map(|(name, value)| (name, value.replace(&self.sent.to_string(), text)));
        self.verify_headers(&Given(headers.collect()))
    }
}

#[test]
fn every_known_signature_is_believed_within_the_tolerance() {
    for vector in VECTORS {
        for late in [-300, 0, 300] {
            let verified = vector.verify(vector.secret, &vector.given(), vector.content.as_bytes(), vector.sent + late);
            assert_eq!(verified, Ok(()), "{}, {late} s late", vector.name);
        }
    }
}

#[test]
fn no_flipped_bit_of_a_signature_is_believed() {
    for vector in VECTORS {
        let right = vector.signature();
        assert_eq!(vector.verify_signature(&right), Ok(()), "{}", vector.name);
        for bit in 0..right.len() * 8 {
            let mut flipped = right.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(vector.verify_signature(&flipped), Err(SignatureError::Wrong), "{}, bit {bit}", vector.name);
        }
    }
}

#[test]
fn a_part_of_a_signature_is_not_believed() {
    for vector in VECTORS {
        let right = vector.signature();
        for length in 0..right.len() {
            assert_eq!(vector.verify_signature(&right[..length]), Err(SignatureError::Wrong), "{}, {length} bytes", vector.name);
        }
        assert_eq!(vector.verify_signature(&[&right[..], &[0]].concat()), Err(SignatureError::Wrong), "{}", vector.name);
    }
}

#[test]
fn no_flipped_byte_of_the_content_is_believed() {
    for vector in VECTORS {
        for place in 0..vector.content.len() {
            let mut content = vector.content.as_bytes().to_vec();
            content[place] ^= 1;
            let verified = vector.verify(vector.secret, &vector.given(), &content, vector.sent);
            assert_eq!(verified, Err(SignatureError::Wrong), "{}, byte {place}", vector.name);
        }
        let longer = format!("{} ", vector.content);
        let verified = vector.verify(vector.secret, &vector.given(), longer.as_bytes(), vector.sent);
        assert_eq!(verified, Err(SignatureError::Wrong), "{}", vector.name);
    }
}

#[test]
fn old_and_future_times_are_stale() {
    for vector in VECTORS {
        for late in [-86_400, -301, 301, 86_400] {
            let verified = vector.verify(vector.secret, &vector.given(), vector.content.as_bytes(), vector.sent + late);
            assert_eq!(verified, Err(SignatureError::Stale), "{}, {late} s late", vector.name);
        }
    }
}

#[test]
fn the_time_is_signed_and_has_to_be_a_number_in_range() {
    for vector in VECTORS {
        assert_eq!(vector.verify_time(&(vector.sent + 1).to_string()), Err(SignatureError::Wrong), "{}", vector.name);
        for text in ["soon", "", "1.5", "99999999999999", "-99999999999999999999"] {
            let malformed = Err(SignatureError::Malformed(vector.time));
            assert_eq!(vector.verify_time(text), malformed, "{}, `{text}`", vector.name);
        }
    }
}

#[test]
fn another_key_is_not_believed() {
    for vector in VECTORS {
        let verified = vector.verify(vector.wrong_secret, &vector.given(), vector.content.as_bytes(), vector.sent);
        assert_eq!(verified, Err(SignatureError::Wrong), "{}", vector.name);
    }
}

#[test]
fn every_header_is_needed_and_the_missing_one_is_named() {
    for vector in VECTORS {
        for (name, _) in vector.headers {
            assert_eq!(
                vector.verify_headers(&vector.given().without(name)),
                Err(SignatureError::Missing(name)),
                "{}",
                vector.name
            );
        }
    }
}

#[test]
fn ids_in_headers_are_signed() {
    for vector in [REPLICATE, OPENAI, WAVESPEED] {
        assert_eq!(vector.verify_headers(&vector.given().with("webhook-id", "msg_other")), Err(SignatureError::Wrong));
    }
    for name in ["x-fal-webhook-request-id", "x-fal-webhook-user-id"] {
        assert_eq!(FAL.verify_headers(&FAL.given().with(name, "other")), Err(SignatureError::Wrong));
    }
}

#[test]
fn signatures_that_cannot_be_read_are_malformed() {
    for vector in [FAL, KIE, OPENROUTER, WAVESPEED] {
        let (name, before, _) = vector.signature;
        let headers = vector.given().with(name, &format!("{before}z!"));
        assert_eq!(vector.verify_headers(&headers), Err(SignatureError::Malformed(name)), "{}", vector.name);
    }
    let (name, ..) = WAVESPEED.signature;
    let standard = WAVESPEED.given().with(name, "v1,10b86a1b42aed60c0e7357f88f229da774851852c039d27d6efa562dc8826a42");
    assert_eq!(WAVESPEED.verify_headers(&standard), Err(SignatureError::Malformed(name)));
    let right = OPENROUTER.headers[0].1;
    for header in ["", "t=1755599644", "v1=a9", "t=1755599644;v1=a9", &format!("{right},t=1755599645"), &format!("{right},v1=a9")]
    {
        let (name, ..) = OPENROUTER.signature;
        let headers = OPENROUTER.given().with(name, header);
        assert_eq!(OPENROUTER.verify_headers(&headers), Err(SignatureError::Malformed(name)), "`{header}`");
    }
}

#[test]
fn any_entry_of_a_standard_webhook_may_fit() {
    let [.., (name, right)] = REPLICATE.headers else { panic!("has headers") };
    for many in [format!("v1,AAAA v2,x {right}"), format!("{right} v1,!"), format!("v1 {right}")] {
        assert_eq!(REPLICATE.verify_headers(&REPLICATE.given().with(name, &many)), Ok(()), "`{many}`");
    }
    for none in ["", "v1,", "v1,!", &right.replacen("v1", "v2", 1)] {
        assert_eq!(REPLICATE.verify_headers(&REPLICATE.given().with(name, none)), Err(SignatureError::Wrong), "`{none}`");
    }
}

#[test]
fn a_secret_that_nobody_issues_is_refused_even_when_the_signature_fits_it() {
    let empty_key = |content: &str| STANDARD.encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b""), content.as_bytes()));
    let signed = empty_key(&format!("wh_1.1750287078.{}", OPENAI.content));
    let forged = OPENAI.given().with("webhook-signature", &format!("v1,{signed}"));
    for secret in ["", "whsec_", "whsec_!"] {
        let verified = OPENAI.verify(secret, &forged, OPENAI.content.as_bytes(), OPENAI.sent);
        assert_eq!(verified, Err(SignatureError::BadSecret), "`{secret}`");
    }
    for (vector, secret) in [(KIE, ""), (OPENROUTER, ""), (WAVESPEED, ""), (WAVESPEED, "whsec_"), (WAVESPEED, "MfKQ9r8GKYqr")] {
        let verified = vector.verify(secret, &vector.given(), vector.content.as_bytes(), vector.sent);
        assert_eq!(verified, Err(SignatureError::BadSecret), "{}, `{secret}`", vector.name);
    }
}

#[test]
fn any_of_fals_keys_may_fit_and_other_kinds_of_keys_are_passed_over() {
    let set = format!(r#"{{"keys":[{{"kty":"RSA","n":"x"}},{{"kty":"OKP","crv":"Ed25519","x":"{}"}}]}}"#, FAL.secret);
    let keys = read_jwks(set.as_bytes()).expect("a key set");
    let [key] = keys.as_slice() else { panic!("one key") };
    let verify = |keys: &[Ed25519Key]| verify_fal_webhook(keys, &FAL.given(), FAL.content.as_bytes(), at(FAL.sent), TOLERANCE);
    assert_eq!(verify(&[[9; 32], *key]), Ok(()));
    assert_eq!(verify(&[]), Err(SignatureError::Wrong));
}

proptest! {
    #[test]
    fn no_header_brings_a_verifier_down(text in any::<String>(), late in -300..300_i64) {
        for vector in VECTORS {
            for (name, own) in vector.headers {
                prop_assume!(text != *own);
                let headers = vector.given().with(name, &text);
                let verified = vector.verify(vector.secret, &headers, vector.content.as_bytes(), vector.sent + late);
                prop_assert!(verified.is_err(), "{}", vector.name);
            }
        }
    }
}

#[test]
fn a_callback_token_is_good_for_one_attempt_only() {
    let generation = GenerationId::from_parts(1, [1; 10]);
    let token = callback_token("secret", "fal", generation, 2);
    assert_eq!(read_callback_token("secret", "fal", generation, &token), Some(2));
    assert_eq!(read_callback_token("secret", "replicate", generation, &token), None);
    assert_eq!(read_callback_token("other", "fal", generation, &token), None);
    assert_eq!(read_callback_token("secret", "fal", GenerationId::from_parts(2, [1; 10]), &token), None);
    assert_eq!(read_callback_token("secret", "fal", generation, &token.replacen('2', "3", 1)), None);
    assert_eq!(read_callback_token("secret", "fal", generation, "2"), None);
}
