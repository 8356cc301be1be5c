//! template.yaml and the code speak of the same things: each route, queue, schedule and variable is used, and none is missing.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use local::template::{BUILT_IN, LocalValues, Template};
use reqwest::Method;
use shared::catalog::Catalog;
use shared::config::Config;
use shared::messages::QueueName;
use tests::World;

fn template() -> Template {
    let parameters = BTreeMap::from([("SigningSecret".to_owned(), "s".repeat(32))]);
    let values = LocalValues { table_name: "t".to_owned(), bucket_name: "b".to_owned(), parameters, ..LocalValues::default() };
    Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"))
}

/// Variables that the template leaves to whoever tries something, and what the local run adds.
fn is_optional(name: &str) -> bool {
    ["ALLOW_LOOPBACK", "SUBMIT_TIMEOUT_SECONDS"].contains(&name)
        || ["_BASE_URL", "_CONCURRENCY", "_PER_MINUTE", "_PER_DAY"].iter().any(|ending| name.ends_with(ending))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_of_the_template_leads_somewhere() {
    let world = World::start().await;
    for function in template().functions {
        for route in function.routes {
            let path = route.path.split('/').map(|part| if part.starts_with('{') { "x" } else { part });
            let path = path.collect::<Vec<_>>().join("/");
            let method: Method = route.method.parse().expect("a method");
            let reply = world.send(world.request(method, &path).body("{")).await;
            let detail = reply.body["detail"].as_str().unwrap_or_default();
            assert!(!detail.contains("route"), "{} {path}: {:?}", route.method, reply.body);
            assert_ne!(reply.status, 500, "{} {path}: {:?}", route.method, reply.body);
        }
    }
}

#[test]
fn every_queue_is_sent_to_and_read_or_holds_dead_letters() {
    let template = template();
    let environment: BTreeMap<String, String> =
        template.functions.iter().flat_map(|function| function.environment.clone()).collect();
    let config = Config::read(&Catalog::built_in().expect("loads"), |name| environment.get(name).cloned()).expect("reads");
    let readers: BTreeMap<&str, &str> = template
        .functions
        .iter()
        .flat_map(|function| function.queues.iter().map(|source| (source.queue.as_str(), function.binary.as_str())))
        .collect();
    let mut known = BTreeSet::new();
    for name in QueueName::ALL {
        let id = config.queue_url(name).rsplit('/').next().expect("a name").to_owned();
        assert_eq!(readers.get(id.as_str()), Some(&name.word()), "who reads {id}");
        let queue = template.queue(&id).expect("it is declared");
        let (dead_letters, _) = queue.dead_letter.clone().expect("what fails again and again is kept");
        let told = config.dead_letters_url(name).and_then(|url| url.rsplit('/').next());
        assert_eq!(told, Some(dead_letters.as_str()), "where operators look");
        known.extend([id, dead_letters]);
    }
    let declared: BTreeSet<String> = template.queues.iter().map(|queue| queue.logical_id.clone()).collect();
    assert_eq!(declared, known);
}

#[test]
fn every_schedule_is_understood_by_its_function() {
    let schedules: Vec<_> = template()
        .functions
        .into_iter()
        .flat_map(|function| function.schedules.into_iter().map(move |schedule| (function.binary.clone(), schedule)))
        .collect();
    assert_eq!(schedules.len(), 2, "the minute's tick and the daily look");
    for (binary, schedule) in schedules {
        assert_eq!(binary, "poll", "{schedule:?}");
        if let Some(input) = schedule.input {
            serde_json::from_value::<poll::Trigger>(input).unwrap_or_else(|error| panic!("{}: {error}", schedule.name));
        }
    }
}

#[test]
fn every_variable_of_the_template_is_read_and_every_one_that_is_read_is_given() {
    let template = template();
    let catalog = Catalog::built_in().expect("loads");
    let secrets: BTreeSet<String> = catalog
        .providers()
        .filter_map(|provider| provider.http())
        .flat_map(|http| http.secret_names())
        .map(str::to_owned)
        .collect();
    // Read before there is a configuration.
    let read = RefCell::new(BTreeSet::from(["LOG_LEVEL".to_owned()]));
    let given: BTreeMap<String, String> = template.functions.iter().flat_map(|function| function.environment.clone()).collect();
    let lookup = |name: &str| {
        read.borrow_mut().insert(name.to_owned());
        given.get(name).cloned()
    };
    Config::read(&catalog, lookup).expect("reads");
    let read = read.into_inner();
    let unread: Vec<&String> = given.keys().filter(|name| !read.contains(*name)).collect();
    assert!(unread.is_empty(), "given and never read: {unread:?}");
    let missing: Vec<&String> =
        read.iter().filter(|name| !given.contains_key(*name) && !is_optional(name) && !secrets.contains(*name)).collect();
    assert!(missing.is_empty(), "read and never given: {missing:?}");
}

#[test]
fn who_reads_secrets_is_told_where_they_are() {
    for function in template().functions {
        let reads =
            function.grants.iter().any(|grant| grant.actions.iter().any(|action| action == "secretsmanager:GetSecretValue"));
        let told = function.environment.iter().any(|(name, _)| name == "SECRETS_ID");
        assert_eq!(reads, told, "{}", function.logical_id);
    }
}
