//! Are the books right? What is wrong is found and named, what is right is never called wrong, not even while everything is in motion.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Customer, PATIENCE, Wire, World, free_port};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

const PROGRAM: &str = env!("CARGO_BIN_EXE_darkroom-under-test");

type Item = HashMap<String, AttributeValue>;

/// The table in the hands of somebody who should not have it.
struct Forger {
    client: aws_sdk_dynamodb::Client,
    table: String,
}

impl Forger {
    fn of(world: &World) -> Self {
        let client = world.another_client(&Wire::default());
        Self { client, table: world.stack.backend.config.table.clone() }
    }

    fn key(pk: &str, sk: &str) -> Item {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
    }

    async fn item(&self, pk: &str, sk: &str) -> Item {
        let answer = self.client.get_item().table_name(&self.table).set_key(Some(Self::key(pk, sk))).send().await;
        answer.expect("the table answers").item.expect("it is there")
    }

    async fn put(&self, item: Item) {
        self.client.put_item().table_name(&self.table).set_item(Some(item)).send().await.expect("it is put");
    }

    async fn delete(&self, pk: &str, sk: &str) {
        self.client.delete_item().table_name(&self.table).set_key(Some(Self::key(pk, sk))).send().await.expect("it is gone");
    }

    /// Changes the record in an item.
    async fn edit(&self, pk: &str, sk: &str, change: impl FnOnce(&mut Item)) {
        let mut item = self.item(pk, sk).await;
        let Some(AttributeValue::M(doc)) = item.get_mut("doc") else { panic!("a record") };
        change(doc);
        self.put(item).await;
    }
}

fn number(number: i64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

fn text(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

fn inside<'a>(doc: &'a mut Item, member: &str) -> &'a mut Item {
    match doc.get_mut(member) {
        Some(AttributeValue::M(inside)) => inside,
        other => panic!("`{member}` is {other:?}"),
    }
}

async fn look(world: &World, customer: &Customer) -> Value {
    let reply = world.get(&format!("/v1/admin/accounts/{}/reconciliation", customer.account)).await;
    assert_eq!(reply.status, 200, "{:?}", reply.body);
    reply.body
}

fn kinds(report: &Value) -> Vec<&str> {
    report["findings"].as_array().expect("a list").iter().map(|finding| finding["kind"].as_str().expect("a word")).collect()
}

/// An account with one picture that was paid for; its id.
async fn paid(world: &World) -> (Customer, String) {
    let customer = world.customer(50).await;
    let id = customer.create_with("placeholder", json!({"prompt": "a fox", "width": 64, "height": 64})).await;
    assert_eq!(customer.ended(&id).await["status"], "succeeded");
    (customer, id)
}

const WAYS: [(&str, &[&str]); 9] = [
    ("counter", &["counters_differ"]),
    ("entry gone", &["sequence_gap"]),
    ("balance", &["wrong_balance"]),
    ("generation gone", &["hold_without_generation"]),
    ("generation added", &["generation_without_hold"]),
    ("entry added", &["sequence_twice"]),
    ("usage", &["usage_differs"]),
    ("charge", &["charge_differs"]),
    ("state", &["hold_closed_early"]),
];

async fn forge(forger: &Forger, way: &str, customer: &Customer, id: &str) {
    let (account, generation) = (format!("A#{}", customer.account), format!("G#{id}"));
    let (hold, charge) = (format!("L#hold#{id}"), format!("L#charge#{id}"));
    let edit = async |pk: &str, sk: &str, change: &dyn Fn(&mut Item)| forger.edit(pk, sk, change).await;
    match way {
        "counter" => edit(&account, "account", &|doc| drop(doc.insert("available".into(), number(77)))).await,
        "entry gone" => {
            let first =
                forger.client.query().table_name(&forger.table).key_condition_expression("pk = :pk AND begins_with(sk, :sk)");
            let first =
                first.expression_attribute_values(":pk", text(&account)).expression_attribute_values(":sk", text("L#grant#"));
            let grants = first.send().await.expect("the table answers").items.expect("a grant");
            forger.delete(&account, grants[0]["sk"].as_s().expect("text")).await;
        }
        "balance" => edit(&account, &hold, &|doc| drop(doc.insert("balance_after".into(), number(1)))).await,
        "generation gone" => forger.delete(&generation, "generation").await,
        "generation added" => {
            let mut item = forger.item(&generation, "generation").await;
            let other = format!("{}{}", &id[..id.len() - 4], if id.ends_with("0000") { "0001" } else { "0000" });
            item.insert("pk".into(), text(&format!("G#{other}")));
            item.insert("gsi_sk".into(), text(&other));
            inside(&mut item, "doc").insert("id".into(), text(&other));
            forger.put(item).await;
        }
        "entry added" => {
            let mut item = forger.item(&account, &charge).await;
            item.insert("sk".into(), text("L#adjust#by-night"));
            item.insert("gsi_sk".into(), text("00000000000000000009"));
            inside(&mut item, "doc").insert("sequence".into(), number(9));
            forger.put(item).await;
        }
        "usage" => edit(&account, "account", &|doc| drop(inside(doc, "usage").insert("in_flight".into(), number(2)))).await,
        "charge" => {
            edit(&generation, "generation", &|doc| drop(inside(doc, "state").insert("charged".into(), number(1)))).await;
        }
        "state" => {
            edit(&generation, "generation", &|doc| {
                let now = doc["created_at"].clone();
                let queued = [("phase", text("queued")), ("not_before", now.clone()), ("waiting", AttributeValue::Null(true))];
                let queued = queued.map(|(name, value)| (name.to_owned(), value));
                doc.insert("state".into(), AttributeValue::M(queued.into()));
                doc.insert("due_at".into(), now);
            })
            .await;
        }
        other => panic!("`{other}` is not one of {WAYS:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_forgery_is_found_once_and_named() {
    let world = World::start().await;
    let forger = Forger::of(&world);
    for (way, expected) in WAYS {
        let (customer, id) = paid(&world).await;
        assert_eq!(kinds(&look(&world, &customer).await), [""; 0], "{way}");
        forge(&forger, way, &customer, &id).await;
        let report = look(&world, &customer).await;
        assert_eq!(kinds(&report), expected, "{way}: {report:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mixed_day_leaves_clean_books() {
    let world = World::start().await;
    let mut open = Vec::new();
    for (model, prompt) in [
        ("placeholder", "a fox"),
        ("placeholder", "a fox [[fail]]"),
        ("flux-schnell", "a fox [[moderate]]"),
        ("flux-dev", "a fox [[callback_twice]]"),
    ] {
        let id = world.create(model, prompt).await;
        world.ended(&id).await;
    }
    for (model, prompt, phase) in
        [("flux-schnell", "a fox [[delay=5m]]", "running"), ("flux-dev", "a fox [[error_after]] [[no_callback]]", "unconfirmed")]
    {
        let id = world.create(model, prompt).await;
        world.phase(&id, phase).await;
        open.push((id, phase));
    }
    let report = look(&world, &world).await;
    assert_eq!((&report["findings_total"], &report["open_holds_total"]), (&json!(0), &json!(2)), "{report:#}");
    for ((id, phase), hold) in open.iter().zip(report["open_holds"].as_array().expect("a list")) {
        assert_eq!((&hold["generation"], &hold["phase"]), (&json!(id), &json!(phase)));
    }
    let fal = report["providers"].as_array().expect("a list").iter().find(|own| own["provider"] == "fal").expect("asked");
    assert_eq!((&fal["attempts"], &fal["succeeded"], &fal["unconfirmed"]), (&json!(2), &json!(1), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_called_wrong_while_it_is_in_motion() {
    let world = World::start().await;
    let orders = join_all((0..50).map(|number| {
        let world = &world;
        async move {
            let prompt = if number % 3 == 0 { "a fox [[fail]]" } else { "a fox" };
            world.create_with("placeholder", json!({"prompt": prompt, "width": 64, "height": 64})).await
        }
    }));
    let watch = async {
        let mut looks = 0;
        let started = Instant::now();
        loop {
            let report = look(&world, &world).await;
            assert_eq!(report["findings_total"], 0, "{report:#}");
            looks += 1;
            if report["generations"] == 50 && report["open_holds_total"] == 0 {
                return looks;
            }
            assert!(started.elapsed() < PATIENCE, "never done: {report:#}");
        }
    };
    let (ids, looks) = tokio::join!(orders, watch);
    assert!(ids.len() == 50 && looks > 1, "{looks} looks");
    world.audit().await;
}

/// `darkroom reconcile …`; what it prints, and its exit code.
async fn darkroom(api: &str, key: &str, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = tokio::process::Command::new(PROGRAM);
    command.arg("reconcile").args(arguments).env("DARKROOM_API", api).env("DARKROOM_API_KEY", key);
    let output = command.output().await.expect("it runs");
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    (text, output.status.code())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_looks_at_all_accounts_and_its_exit_code_tells() {
    let world = World::start().await;
    for _ in 0..25 {
        world.customer(1).await;
    }
    let (text, code) = darkroom(&world.api, &world.key, &[]).await;
    assert!(code == Some(0) && text.contains("26 accounts looked at, 0 with findings"), "{code:?}: {text}");
    let (customer, id) = paid(&world).await;
    forge(&Forger::of(&world), "counter", &customer, &id).await;
    let (text, code) = darkroom(&world.api, &world.key, &["--json"]).await;
    let found: Value = text.parse().expect("JSON");
    let wrong = found["reconciliations"].as_array().expect("a list").iter().filter(|own| own["findings_total"] != 0);
    assert_eq!((code, wrong.count()), (Some(1), 1));
    let account = customer.account.to_string();
    let (text, code) = darkroom(&world.api, &world.key, &["--account", &account]).await;
    assert!(code == Some(1) && text.contains(&format!("{account}: counters_differ: account: 77 available")), "{text}");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for (api, key, arguments) in
        [(&nobody, &world.key, vec![]), (&world.api, &customer.key, vec![]), (&world.api, &world.key, vec!["--account", "me"])]
    {
        let (text, code) = darkroom(api, key, &arguments).await;
        assert_eq!(code, Some(2), "{text}");
    }
}

/// What this process logs of the daily look.
fn logs() -> &'static Mutex<Vec<u8>> {
    static LOGS: OnceLock<Mutex<Vec<u8>>> = OnceLock::new();
    LOGS.get_or_init(|| {
        let writer = || Lines;
        let filter = Targets::new().with_target("poll::books", LevelFilter::INFO);
        let lines = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(writer);
        tracing_subscriber::registry().with(lines).with(filter).init();
        Mutex::default()
    })
}

struct Lines;

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        logs().lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn logged(account: &str) -> Vec<Value> {
    let bytes = logs().lock().unwrap_or_else(PoisonError::into_inner).clone();
    let lines = String::from_utf8(bytes).expect("text");
    lines.lines().filter_map(|line| line.parse::<Value>().ok()).filter(|line| line["account"] == account).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn once_a_day_what_is_wrong_is_logged_as_an_error() {
    logs();
    let world = World::start().await;
    let (right, _) = paid(&world).await;
    let (wrong, id) = paid(&world).await;
    forge(&Forger::of(&world), "balance", &wrong, &id).await;
    let account = wrong.account.to_string();
    assert!(logged(&account).is_empty(), "not before a day is over");
    world.pass(Duration::from_secs(86_400)).await;
    let started = Instant::now();
    while logged(&account).is_empty() {
        assert!(started.elapsed() < PATIENCE, "nothing was logged");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    world.at_rest().await;
    let told = logged(&account);
    assert_eq!((told.len(), &told[0]["level"], &told[0]["findings"]), (1, &json!("ERROR"), &json!(1)), "{told:#?}");
    assert!(told[0]["found"].as_str().is_some_and(|found| found.starts_with("wrong_balance entry 2")), "{told:#?}");
    assert!(logged(&right.account.to_string()).is_empty());
}
