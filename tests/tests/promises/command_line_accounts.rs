//! The commands of operators: accounts, keys, credits, the ledger, and the first key of a deployment.

use local::engines::{DynamoDb, Storage, create_table, sdk};
use local::template::{BUILT_IN, LocalValues, Template};
use serde_json::{Value, json};
use tempfile::TempDir;
use tests::{Customer, Process, free_port};

use crate::command_line::{PROGRAM, darkroom, read, run};

/// The program in a folder with a running darkroom.
struct Terminal {
    folder: TempDir,
    product: Process,
}

impl Terminal {
    async fn open() -> Self {
        let folder = TempDir::new().expect("a folder");
        let product = Process::start(PROGRAM, &folder.path().join(".darkroom"), free_port(), &[]).await;
        Self { folder, product }
    }

    async fn try_run(&self, arguments: &[&str]) -> (bool, String, String) {
        run(self.folder.path(), &[arguments, &["--api", &self.product.api]].concat()).await
    }

    async fn run(&self, arguments: &[&str]) -> String {
        let (is_ok, out, errors) = self.try_run(arguments).await;
        assert!(is_ok, "{arguments:?}: {out}{errors}");
        out
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let out = self.run(&[arguments, &["--json"]].concat()).await;
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {out}"))
    }
}

#[tokio::test]
async fn an_account_is_opened_used_and_suspended_at_the_terminal() {
    let terminal = Terminal::open().await;
    let account = terminal.json(&["account", "create", "--name", "Acme", "--in-flight", "4"]).await;
    let id = account["id"].as_str().expect("an id");
    assert_eq!((&account["available"], &account["limits"]), (&json!(30), &json!({"in_flight": 4})));
    let list = terminal.run(&["account", "list"]).await;
    assert!(list.contains(id) && list.contains("Acme") && list.lines().count() == 3, "{list}");

    let made = terminal.json(&["key", "create", id, "--name", "website", "--scope", "user", "--scope", "read"]).await;
    let (key, key_id) = (made["key"].as_str().expect("the key"), made["api_key"]["id"].as_str().expect("an id"));
    let customer = Customer::new(terminal.product.api.clone(), id.parse().expect("an id"), key.to_owned());
    assert_eq!(customer.balance().await, (30, 0));

    let set = terminal.run(&["account", "set", id, "--in-flight", "none", "--spend-per-day", "7", "--name", "none"]).await;
    assert!(set.contains("spent today  0 of at most 7") && set.contains("in progress  0 of at most -"), "{set}");
    terminal.run(&["account", "suspend", id, "--reason", "unpaid"]).await;
    let order = json!({"model": "placeholder", "params": {"prompt": "x", "width": 64, "height": 64}});
    assert_eq!(customer.post("/v1/generations", &order).await.body["code"], "account_suspended");
    assert!(terminal.run(&["account", "show", id]).await.contains("suspended: nothing new"));
    terminal.run(&["account", "resume", id]).await;
    assert_eq!(customer.post("/v1/generations", &order).await.status, 202);

    let replaced = terminal.run(&["key", "rotate", id, key_id, "--grace-seconds", "60"]).await;
    assert!(replaced.contains("key      dk_") && replaced.contains("ends in 60 s"), "{replaced}");
    let keys = terminal.run(&["key", "list", id]).await;
    assert!(keys.lines().count() == 3 && keys.contains("user read") && !keys.contains(key), "{keys}");
    assert!(terminal.run(&["key", "revoke", id, key_id]).await.contains("is revoked"));
    assert_eq!(customer.post("/v1/generations", &order).await.status, 401);
    let actions = terminal.run(&["account", "actions", id]).await;
    assert!(actions.contains("suspend_account") && actions.contains("unpaid") && actions.contains("revoke_key"), "{actions}");

    let (is_ok, _, errors) = terminal.try_run(&["account", "show", "acct_00000000000070008000000000000000"]).await;
    assert!(!is_ok && errors.contains("there is no account `acct_00000000000070008000000000000000` (not_found)"), "{errors}");
}

#[tokio::test]
async fn credits_are_added_once_however_often_the_command_is_repeated() {
    let terminal = Terminal::open().await;
    let account = terminal.json(&["account", "create", "--credits", "0"]).await;
    let id = account["id"].as_str().expect("an id");
    let add = ["credits", "add", id, "500", "--reason", "invoice 17", "--idempotency-key", "invoice-17"];
    for _ in 0..2 {
        let out = terminal.run(&add).await;
        assert!(out.contains("grant +500 credits: invoice 17") && out.contains("500 available, 0 held"), "{out}");
    }
    let (is_ok, _, errors) = terminal.try_run(&["credits", "add", id, "--reason", "given twice", "-600"]).await;
    let repeat = errors.lines().find_map(|line| line.strip_prefix("idempotency key: ")).expect("the key is told");
    assert!(
        !is_ok && errors.contains("insufficient_credits") && errors.contains(&format!("--idempotency-key {repeat}")),
        "{errors}"
    );
    let (is_ok, out, errors) = terminal.try_run(&["credits", "add", id, "-20", "--reason", "given twice"]).await;
    assert!(is_ok && out.contains("adjust -20 credits"), "{out}{errors}");
    let trial = terminal.json(&["credits", "add", id, "5", "--reason", "trial", "--ends-at", "2200-01-01T00:00:00Z"]).await;
    assert_eq!(trial["entry"]["ends_at"], "2200-01-01T00:00:00Z");

    let ledger = terminal.run(&["ledger", id]).await;
    assert!(ledger.contains("+500") && ledger.contains("-20") && ledger.contains("invoice 17"), "{ledger}");
    let page = terminal.json(&["ledger", id, "--limit", "2"]).await;
    let cursor = page["next_cursor"].as_str().expect("more than one page");
    let rest = terminal.json(&["ledger", id, "--cursor", cursor]).await;
    let amounts = |page: &Value| {
        page["entries"].as_array().expect("a list").iter().map(|entry| entry["available_change"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((amounts(&page), amounts(&rest)), (vec![json!(5), json!(-20)], vec![json!(500), json!(0)]));
}

#[tokio::test]
async fn a_deployment_gets_its_first_key_straight_on_its_table() {
    let table = DynamoDb::start(Storage::Memory).await.expect("it starts");
    let values = LocalValues {
        table_name: "darkroom-dev".to_owned(),
        parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(),
        ..LocalValues::default()
    };
    let template = Template::parse(BUILT_IN, &values).unwrap_or_else(|error| panic!("{error}"));
    let client = aws_sdk_dynamodb::Client::new(&sdk(&table.endpoint_url));
    create_table(&client, &template.table).await.expect("it is made");
    let folder = TempDir::new().expect("a folder");
    let bootstrap = |more: &[&str]| {
        let arguments = ["key", "bootstrap", "--table", "darkroom-dev", "--endpoint-url", &table.endpoint_url];
        let mut command = darkroom(folder.path(), &[&arguments, more].concat());
        command.envs([("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "test"), ("AWS_SECRET_ACCESS_KEY", "test")]);
        async move { read(command.output().await.expect("the program starts")) }
    };
    let (is_ok, out, errors) = bootstrap(&["--name", "us"]).await;
    assert!(is_ok, "{out}{errors}");
    let key = out.lines().find_map(|line| line.strip_prefix("key      ")).expect("it is told").to_owned();
    let store = shared::store::Store::new(client, "darkroom-dev".to_owned(), 4);
    let opened =
        store.api_key(&shared::signature::fingerprint(key.as_bytes())).await.expect("the table answers").expect("it is there");
    assert_eq!((opened.name.as_deref(), opened.scopes), (Some("us"), vec![shared::keys::Scope::Admin]));
    let account = store.account(opened.account).await.expect("the table answers").expect("it is there");
    assert!(account.keys.contains_key(&opened.id) && account.name.as_deref() == Some("us"));
    let page = store.actions(opened.account, None, 10).await.expect("the table answers").expect("a page");
    assert!(page.items.len() == 2 && page.items.iter().all(|action| action.by.is_none()), "{page:?}");

    let (is_ok, out, errors) = bootstrap(&[]).await;
    assert!(!is_ok && out.is_empty() && errors.contains("there are accounts already, nothing was made"), "{out}{errors}");
    let (is_ok, out, _) = bootstrap(&["--again"]).await;
    assert!(is_ok && out.contains("key      dk_") && !out.contains(&key), "{out}");
}

#[tokio::test]
async fn without_region_or_credentials_the_first_key_is_refused_at_once() {
    let folder = TempDir::new().expect("a folder");
    let arguments = ["key", "bootstrap", "--table", "t", "--endpoint-url", "http://127.0.0.1:9"];
    for (environment, reason) in
        [(vec![], "no AWS region is set"), (vec![("AWS_REGION", "eu-central-1")], "no AWS credentials are set")]
    {
        let started = std::time::Instant::now();
        let mut command = darkroom(folder.path(), &arguments);
        command.envs(environment).env("HOME", folder.path());
        let (is_ok, _, errors) = read(command.output().await.expect("the program starts"));
        assert!(!is_ok && errors.contains(reason), "{errors}");
        assert!(started.elapsed() < std::time::Duration::from_secs(30), "it waited for what is not there");
    }
}
