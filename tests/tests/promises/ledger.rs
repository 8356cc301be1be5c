//! The ledger as its owner reads it: by time, by kind, in their own time zone, as a file.

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tests::{Customer, Reply, Setting, World};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn ledger(customer: &Customer, query: &str) -> Reply {
    customer.get(&format!("/v1/account/ledger?{query}")).await
}

fn kinds(reply: &Reply) -> Vec<&str> {
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body["entries"].as_array().expect("entries").iter().map(|entry| entry["kind"].as_str().expect("a kind")).collect()
}

/// Three days: a hold on each, the second one given back.
async fn three_days() -> World {
    let world = World::with(Setting::idle()).await;
    world.create("placeholder", "first").await;
    world.later(DAY);
    let id = world.create("placeholder", "second").await;
    assert_eq!(world.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await.status, 200);
    world.later(DAY);
    world.create("placeholder", "third").await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_found_by_time_and_kind() {
    let world = three_days().await;
    let now = world.stack.clock.now();
    let days_ago = |days: u32, hours: u32| now - DAY * days - Duration::from_secs(3_600) * hours;
    assert_eq!(kinds(&ledger(&world, "").await), ["hold", "release", "hold", "hold", "grant"]);
    let since = format!("since={}", days_ago(1, 1));
    assert_eq!(kinds(&ledger(&world, &since).await), ["hold", "release", "hold"]);
    let between = format!("since={}&until={}", days_ago(1, 1), days_ago(0, 1));
    assert_eq!(kinds(&ledger(&world, &between).await), ["release", "hold"]);
    assert_eq!(kinds(&ledger(&world, &format!("{between}&kind=release,charge")).await), ["release"]);
    assert_eq!(kinds(&ledger(&world, "kind=grant").await), ["grant"]);
    assert_eq!(kinds(&ledger(&world, &format!("since={now}&until={now}")).await), Vec::<&str>::new());
    // The moment itself belongs to what begins with it.
    let all = ledger(&world, "").await;
    let third = all.body["entries"][0]["created_at"].as_str().expect("a time");
    assert_eq!(kinds(&ledger(&world, &format!("since={third}")).await), ["hold"]);
    assert_eq!(kinds(&ledger(&world, &format!("until={third}")).await).len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_rare_kinds_are_whole() {
    let world = World::with(Setting::idle()).await;
    let customer = world.customer(1_000).await;
    for _ in 0..3 {
        join_all((0..10).map(|number| customer.create("placeholder", if number == 0 { "a" } else { "b" }))).await;
    }
    let id = customer.create("placeholder", "stopped").await;
    customer.post(&format!("/v1/generations/{id}/cancel"), &json!({})).await;
    let (mut query, mut seen) = ("kind=hold,release&limit=7".to_owned(), Vec::new());
    loop {
        let page = ledger(&customer, &query).await;
        let entries = page.body["entries"].as_array().expect("entries").clone();
        let Some(next) = page.body["next_cursor"].as_str() else {
            seen.extend(entries);
            break;
        };
        assert_eq!(entries.len(), 7);
        seen.extend(entries);
        query = format!("kind=hold,release&limit=7&cursor={next}");
    }
    assert_eq!((seen.len(), &seen[0]["kind"]), (32, &json!("release")));
    let mut ids: Vec<&Value> = seen.iter().map(|entry| &entry["id"]).collect();
    ids.sort_by_key(|id| id.to_string());
    ids.dedup();
    assert_eq!(ids.len(), 32, "none twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn times_are_told_in_the_readers_time_zone_and_days_begin_there() {
    let world = three_days().await;
    let kyiv = ledger(&world, "time_zone=Europe/Kyiv").await;
    let local = kyiv.body["entries"][0]["created_at"].as_str().expect("a time");
    assert!(local.ends_with("+02:00") || local.ends_with("+03:00"), "{local}");
    let utc = ledger(&world, "").await;
    let moment = |text: &Value| text.as_str().expect("a time").parse::<jiff::Timestamp>().expect("RFC 3339");
    assert_eq!(moment(&json!(local)), moment(&utc.body["entries"][0]["created_at"]));
    // A day that begins nearly a day apart at the two ends of the world.
    for zone in ["Pacific/Kiritimati", "Pacific/Pago_Pago"] {
        let zone_of = jiff::tz::TimeZone::get(zone).expect("a zone");
        let today = world.stack.clock.now().to_zoned(zone_of.clone()).date();
        let starts = today.to_zoned(zone_of).expect("a day").timestamp();
        let found = ledger(&world, &format!("since={today}&time_zone={zone}")).await;
        let times: Vec<_> =
            found.body["entries"].as_array().expect("entries").iter().map(|one| moment(&one["created_at"])).collect();
        assert!(!times.is_empty() && times.iter().all(|at| *at >= starts), "{zone}: {times:?} since {starts}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_ledger_comes_as_a_file() {
    let world = three_days().await;
    let (mut path, mut lines, mut pages) =
        ("/v1/account/ledger?format=csv&limit=2&time_zone=Europe/Kyiv".to_owned(), Vec::new(), 0);
    loop {
        let page = world.send(world.request(Method::GET, &path)).await;
        assert_eq!((page.status, page.header("content-type")), (200, "text/csv; charset=utf-8"));
        assert!(page.header("content-disposition").contains("ledger.csv"));
        let text = page.body.as_str().expect("text");
        assert!(text.starts_with("created_at,kind,amount,"), "{text}");
        lines.extend(text.split("\r\n").skip(1).filter(|line| !line.is_empty()).map(str::to_owned));
        pages += 1;
        let Some(next) = page.header("link").strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\"")) else { break };
        next.0.clone_into(&mut path);
    }
    assert_eq!((lines.len(), pages), (5, 3));
    let json = world.ledger().await;
    for (line, entry) in lines.iter().rev().zip(&json) {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!((fields[1], fields[10]), (entry["kind"].as_str().expect("a kind"), entry["id"].as_str().expect("an id")));
        assert_eq!(fields[5], entry["balance_after"].to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_understood_is_named() {
    let world = World::with(Setting::idle()).await;
    for (query, param) in [
        ("since=yesterday", "since"),
        ("until=2026-13-01", "until"),
        ("kind=gift", "kind"),
        ("time_zone=Mars/Base", "time_zone"),
        ("format=xml", "format"),
        ("limit=101", "limit"),
        ("format=csv&limit=5001", "limit"),
        ("cursor=abc", "cursor"),
    ] {
        let reply = ledger(&world, query).await;
        assert_eq!((reply.status, &reply.body["param"]), (422, &json!(param)), "{query}: {:?}", reply.body);
    }
}
