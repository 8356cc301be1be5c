//! What expressions mean, and that nothing can come of them that was not foreseen.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn params() -> Map<String, Value> {
    let params = json!({
        "count": 3, "width": 1024, "height": 1536, "duration": 10, "steps": 0, "resolution": "1080p", "sound": true, "quiet": false,
        "whole": 2.0,
    });
    params.as_object().expect("an object").clone()
}

#[test]
fn expressions_mean_what_they_say() {
    for (text, value) in [
        ("4", "4"),
        ("4 * count", "12"),
        ("2.5 * count", "15/2"),
        ("0.1 + 0.2 - 0.3", "0"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("8 - 4 - 2", "2"),
        ("8 / 4 / 2", "1"),
        ("7 / 2", "7/2"),
        ("1 / 3 * 3", "1"),
        ("-count + 5", "2"),
        ("2 - -1", "3"),
        ("whole / 4", "1/2"),
        ("ceil(width * height / 1000000) * 3", "6"),
        ("floor(width * height / 1000000) * 3", "3"),
        ("min(count, 2)", "2"),
        ("max(1, count, 2)", "3"),
        ("max(7)", "7"),
        ("resolution == '1080p' ? 8 : 4", "8"),
        ("resolution != '1080p' ? 8 : 4", "4"),
        ("resolution == '480p' ? 1 : resolution == '720p' ? 2 : 3", "3"),
        ("sound ? 2 : 1", "2"),
        ("!sound ? 2 : 1", "1"),
        ("sound && quiet ? 2 : 1", "1"),
        ("quiet || sound && count > 2 ? 2 : 1", "2"),
        ("count >= 3 && count <= 3 && !(count < 3) && !(count > 3) ? 2 : 1", "2"),
        ("0.5 == 1 / 2 ? 2 : 1", "2"),
        ("steps == 0 ? 1 : 10 / steps", "1"),
        ("steps > 0 && 10 / steps > 1 ? 2 : 1", "1"),
        ("\n2\t*  3 ", "6"),
    ] {
        let expression = Expression::new(text).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(expression.evaluate(&params()).map(|value| value.to_string()).as_deref(), Some(value), "{text}");
    }
}

#[test]
fn what_cannot_be_read_says_where() {
    for (text, reason) in [
        ("", "ends too early: a value"),
        ("2 +", "ends too early: a value"),
        ("(2", "ends too early: `)`"),
        ("2 3", "character 3: `3` is not expected here"),
        ("2 ) ", "character 3: `)` is not expected here"),
        ("* 2", "character 1: a value is expected here, not `*`"),
        ("1 < 2 < 3", "character 7: one comparison follows another"),
        ("a ? 1", "ends too early: `:`"),
        ("a = 1", "character 3: `=` means nothing here"),
        ("a & b", "character 3: `&` means nothing here"),
        ("a == 'x", "character 6: this text has no second `'`"),
        ("a == \"x\"", "character 6: `\"` means nothing here"),
        ("1.2.3", "`1.2.3` is not a number"),
        ("1e3", "`1e3` is not a number"),
        ("2 ** 3", "character 4: a value is expected here, not `*`"),
        ("round(2)", "character 1: there is no function `round`"),
        ("1 + ceil(2, 3)", "character 5: `ceil` takes one value"),
        ("min()", "character 5: a value is expected here"),
        ("цена", "character 1: `ц` means nothing here"),
    ] {
        let error = Expression::new(text).expect_err(text);
        assert!(error.contains(reason), "`{text}`: {error}");
    }
}

#[test]
fn an_expression_is_neither_long_nor_deep() {
    let nested = |depth: usize| Expression::new(&format!("{}1{}", "(".repeat(depth), ")".repeat(depth)));
    assert!(nested(MAX_DEPTH).is_ok());
    assert!(nested(MAX_DEPTH + 1).expect_err("too deep").contains("nested more than 32 deep"));
    assert!(Expression::new(&"!".repeat(MAX_CHARS)).expect_err("too deep").contains("nested"));
    assert!(Expression::new(&format!("1{}", " ".repeat(MAX_CHARS))).expect_err("too long").contains("at most 500"));
}

#[test]
fn a_value_that_was_not_foreseen_is_no_price() {
    for text in ["missing", "10 / steps", "resolution * 2", "sound", "count ? 1 : 2", "resolution == 1 ? 1 : 2"] {
        assert_eq!(Expression::new(text).expect("read").evaluate(&params()), None, "{text}");
    }
}

fn price(text: &str, minimum: Option<u64>, per_result: Option<&str>) -> Price {
    let minimum = minimum.map(|minimum| Credits::new(minimum).expect("small"));
    Price { credits: Expression::new(text).expect("read"), minimum, per_result: per_result.map(str::to_owned) }
}

fn numbers(cost: &Cost) -> (u64, Vec<u64>) {
    (cost.credits.get(), cost.by_results.iter().map(|credits| credits.get()).collect())
}

#[test]
fn a_price_is_rounded_up_and_has_a_least() {
    let of = |price: Price| price.of(&params()).as_ref().map(numbers);
    assert_eq!(of(price("0.01", None, None)), Some((1, vec![])));
    assert_eq!(of(price("2.5 * count", None, None)), Some((8, vec![])));
    assert_eq!(of(price("0.5 * count", Some(5), None)), Some((5, vec![])));
    assert_eq!(of(price("2.5 * count", None, Some("count"))), Some((8, vec![3, 5, 8])));
    assert_eq!(of(price("2.5 * count", Some(4), Some("count"))), Some((8, vec![4, 5, 8])));
    assert_eq!(of(price("10 - 2 * count", None, Some("count"))), Some((4, vec![4, 4, 4])));
    assert_eq!(of(price("count - 5", None, None)), None);
    assert_eq!(of(price("1000000000000 * count", None, None)), None);
    assert_eq!(micro_usd(Ratio::decimal("0.0000001").expect("decimal")), Some(1));
    assert_eq!(micro_usd(Ratio::decimal("0.025").expect("decimal")), Some(25_000));
    assert_eq!(micro_usd(Ratio::decimal("-0.025").expect("decimal")), None);
}

#[test]
fn a_price_is_shown_as_it_was_written() {
    let price: Price = serde_json::from_value(json!({"credits": 4})).expect("a price");
    assert_eq!(serde_json::to_value(&price).expect("JSON"), json!({"credits": "4"}));
    let written = json!({"credits": "2 * count", "minimum": 3, "per_result": "count"});
    let price: Price = serde_json::from_value(written.clone()).expect("a price");
    assert_eq!(serde_json::to_value(&price).expect("JSON"), written);
}

const LEAST: i64 = -3;
const MOST: i64 = 12;

fn domain(name: &str) -> Result<Domain, String> {
    match name {
        "a" | "b" => Ok(Domain::Whole { least: LEAST, most: MOST }),
        "v" => Ok(Domain::Whole { least: 100_000_000_000_000_000, most: 200_000_000_000_000_000 }),
        "t" => Ok(Domain::Truth),
        "s" => Ok(Domain::Text(["x", "y"].map(str::to_owned).into())),
        other => Err(format!("`{other}` is not a parameter")),
    }
}

/// Texts of expressions that are numbers.
fn expressions() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        (0_u32..40).prop_map(|number| number.to_string()),
        // Products of a few of these do not fit into 128 bits.
        prop_oneof![Just("999999999999999989"), Just("0.00000000000000007")].prop_map(str::to_owned),
        (0_u32..10, 0_u32..100).prop_map(|(whole, part)| format!("{whole}.{part:02}")),
    ];
    leaf.prop_recursive(5, 24, 3, |inner| {
        let two = (inner.clone(), inner.clone());
        let condition = prop_oneof![
            Just("t".to_owned()),
            Just("s == 'x'".to_owned()),
            (inner.clone(), prop_oneof![Just("<"), Just("=="), Just(">=")], inner.clone())
                .prop_map(|(left, operator, right)| format!("{left} {operator} {right}")),
            inner.clone().prop_map(|value| format!("!t && ({value}) > 1 || s != 'y'")),
        ];
        prop_oneof![
            (two.clone(), prop_oneof![Just("+"), Just("-"), Just("*"), Just("/")])
                .prop_map(|((left, right), operator)| format!("({left}) {operator} ({right})")),
            (two.clone(), prop_oneof![Just("min"), Just("max")])
                .prop_map(|((left, right), name)| format!("{name}({left}, {right})")),
            (inner.clone(), prop_oneof![Just("ceil"), Just("floor"), Just("-")])
                .prop_map(|(value, name)| format!("{name}({value})")),
            (condition, two).prop_map(|(condition, (first, second))| format!("(({condition}) ? ({first}) : ({second}))")),
        ]
    })
}

#[test]
fn numbers_that_need_more_than_128_bits_are_foreseen() {
    let (vast, tiny) = ("999999999999999989", "0.00000000000000007");
    let params = json!({"a": 1, "b": 2, "v": 100_000_000_000_000_001_u64});
    // 1 and 2 at its ends; in between it needs every digit.
    let long = "(v / 100000000000000000)";
    for (text, fits) in [
        (format!("{vast} * {vast}"), true),
        (format!("{vast} * {vast} * {vast}"), false),
        (format!("{long} * {long}"), true),
        (format!("{long} * {long} * {long}"), false),
        (format!("{tiny} * {tiny}"), true),
        (format!("{tiny} * {tiny} * {tiny}"), false),
        (format!("ceil({tiny} * {tiny}) * {tiny}"), true),
        (format!("a / {vast} / {vast}"), true),
        (format!("a / {vast} / {vast} / {vast}"), false),
        (format!("a / {vast} + {tiny}"), true),
        (format!("a / {vast} + {tiny} + b / 999999999999999967"), false),
        (format!("{vast} * {vast} > {tiny} ? 1 : 2"), true),
        (format!("min({vast} * {vast}, {tiny}) + 1"), true),
    ] {
        let expression = Expression::new(&text).expect("read");
        assert_eq!(expression.bounds(&domain).is_ok(), fits, "{text}");
        assert_eq!(expression.evaluate(params.as_object().expect("an object")).is_some(), fits, "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_value_lies_where_it_was_foreseen(text in expressions(), a in LEAST..=MOST, b in LEAST..=MOST, t: bool, s in prop_oneof![Just("x"), Just("y")]) {
        let Ok(expression) = Expression::new(&text) else { return Ok(()) };
        let Ok(range) = expression.bounds(&domain) else { return Ok(()) };
        let params = json!({"a": a, "b": b, "t": t, "s": s});
        let value = expression.evaluate(params.as_object().expect("an object"));
        prop_assert!(value.is_some(), "{text} has no value for {params}");
        let value = value.expect("a value");
        prop_assert!(range.low <= value && value <= range.high, "{text} is {value}, not between {} and {}", range.low, range.high);
    }

    #[test]
    fn a_price_is_rounded_up_to_the_next_whole_number(credits in 0_i64..1_000_000_000, parts in 1_i64..1_000_000) {
        let price = price(&format!("{credits} / {parts}"), None, None);
        let rounded = i64::try_from(price.of(&Map::new()).expect("a price").credits.get()).expect("small");
        prop_assert!(rounded * parts >= credits && (rounded - 1) * parts < credits, "{credits} / {parts} is not {rounded}");
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in "[ab0-9.+*/()<>=!&|?:', -]{0,60}|(min|max|ceil|[(),0-9a]){0,20}") {
        if let Ok(expression) = Expression::new(&text) {
            let _ = (expression.bounds(&domain), expression.evaluate(&params()));
        }
    }
}
