//! No account sees or touches what belongs to another, on any route.

use reqwest::Method;
use serde_json::{Value, json};
use tests::{Customer, Reply, Setting, World};

/// Routes that no account calls: providers do, with a token in the path.
const OF_PROVIDERS: &str = "/v1/callbacks/{provider}/{generation}/{token}";

/// Routes of administrators, which are about all accounts and need a key of their own.
const OF_ADMINISTRATORS: &str = "/v1/admin/";

/// Every operation of the API, so that a new one cannot be forgotten here.
fn operations() -> Vec<(Method, String, Value)> {
    let api: Value = local::openapi::text().parse().expect("JSON");
    let paths = api["paths"].as_object().expect("paths").clone();
    let of_path = |(path, item): (String, Value)| {
        let methods = item.as_object().expect("methods").clone().into_iter();
        methods.map(move |(method, operation)| (method.to_uppercase().parse().expect("a method"), path.clone(), operation))
    };
    paths.into_iter().flat_map(of_path).collect()
}

/// What an account has.
struct Belongings {
    generation: String,
    asset: String,
    upload: String,
    own_box: String,
}

impl Belongings {
    async fn of(customer: &Customer) -> Self {
        let own_box = customer.make_box("mine").await;
        let asset = customer.upload_with(json!({"content_type": "image/jpeg", "box_id": own_box}), World::photo()).await;
        let upload = customer.post("/v1/uploads", &json!({"content_type": "image/png", "bytes": 7})).await;
        let generation = customer.create_with("placeholder", json!({"prompt": "mine", "image": asset})).await;
        Self { generation, asset, upload: upload.body["id"].as_str().expect("an id").to_owned(), own_box }
    }

    /// The path with the id of what it is about.
    fn path(&self, template: &str) -> String {
        let id = match template.split('/').nth(2).expect("a collection") {
            "generations" => &self.generation,
            "assets" => &self.asset,
            "uploads" => &self.upload,
            "boxes" => &self.own_box,
            other => panic!("`{template}` is new: say here which of an account's `{other}` it is about"),
        };
        template.replace("{id}", id)
    }

    /// All of it, as its owner sees it.
    async fn seen_by(&self, owner: &Customer) -> Vec<Value> {
        let mut seen = Vec::new();
        for template in ["/v1/generations/{id}", "/v1/assets/{id}", "/v1/boxes/{id}"] {
            let reply = owner.get(&self.path(template)).await;
            assert_eq!(reply.status, 200, "{:?}", reply.body);
            seen.push(without_links(reply.body));
        }
        let upload = owner.get(&format!("/v1/assets/{}", self.upload)).await;
        seen.push(upload.body);
        seen.push(owner.get("/v1/account").await.body);
        seen.push(json!(owner.ledger().await));
        seen
    }
}

/// Links are signed anew each time.
fn without_links(mut body: Value) -> Value {
    if let Some(url) = body.get_mut("url") {
        url.take();
    }
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ids_of_another_account_are_not_found() {
    let world = World::with(Setting::idle()).await;
    let stranger = world.customer(100).await;
    let belongings = Belongings::of(&world).await;
    let before = belongings.seen_by(&world).await;
    let mut tried = 0;
    for (method, template, _) in operations() {
        if !template.contains('{') || template == OF_PROVIDERS || template.starts_with(OF_ADMINISTRATORS) {
            continue;
        }
        let path = belongings.path(&template);
        assert!(!path.contains('{'), "`{template}` has another parameter than `id`: say here what it is about");
        let reply = stranger.send(stranger.request(method.clone(), &path).json(&json!({}))).await;
        assert_eq!((reply.status, &reply.body["code"]), (404, &json!("not_found")), "{method} {template}: {:?}", reply.body);
        // The answer does not tell whether somebody else has it.
        let unknown = Belongings {
            generation: "gen_00000000000070008000000000000000".to_owned(),
            asset: "asset_00000000000070008000000000000000".to_owned(),
            upload: "asset_00000000000070008000000000000000".to_owned(),
            own_box: "box_00000000000070008000000000000000".to_owned(),
        };
        let nobodys = unknown.path(&template);
        let nobody = stranger.send(stranger.request(method, &nobodys).json(&json!({}))).await;
        let id = |path: &str| path.split('/').nth(3).expect("an id").to_owned();
        assert_eq!(anonymous(&reply, &id(&path)), anonymous(&nobody, &id(&nobodys)), "{template}");
        tried += 1;
    }
    assert!(tried >= 4, "{tried} operations with an id");
    let body = json!({"model": "placeholder", "params": {"prompt": "x", "image": belongings.asset}});
    assert_eq!(stranger.post("/v1/generations", &body).await.body["code"], "unknown_asset");
    let into_their_box = [
        ("/v1/generations", json!({"model": "placeholder", "params": {"prompt": "x"}, "box_id": belongings.own_box})),
        ("/v1/uploads", json!({"content_type": "image/png", "bytes": 7, "box_id": belongings.own_box})),
    ];
    for (path, body) in into_their_box {
        assert_eq!(stranger.post(path, &body).await.body["code"], "unknown_box", "{path}");
    }
    let listed = stranger.get(&format!("/v1/assets?box={}", belongings.own_box)).await;
    assert_eq!((listed.status, &listed.body["assets"]), (200, &json!([])));
    assert_eq!(belongings.seen_by(&world).await, before);
    assert_eq!(stranger.balance().await, (100, 0));
    world.audit().await;
    stranger.audit().await;
}

/// The answer without what names this one request.
fn anonymous(reply: &Reply, id: &str) -> Value {
    let mut body = reply.body.clone();
    body["request_id"].take();
    body.to_string().replace(id, "ID").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_show_only_ones_own() {
    let world = World::with(Setting::idle()).await;
    let stranger = world.customer(100).await;
    let (mine, theirs) = (Belongings::of(&world).await, Belongings::of(&stranger).await);
    let mut own_ids_seen = 0;
    for (method, path, _) in operations() {
        if method != Method::GET || path.contains('{') || path.starts_with(OF_ADMINISTRATORS) {
            continue;
        }
        for (customer, own, others, foreign) in
            [(&world.developer, &mine, &theirs, stranger.account), (&stranger, &theirs, &mine, world.account)]
        {
            let text = customer.get(&path).await.body.to_string();
            let leaked = [&others.generation, &others.asset, &others.upload, &others.own_box, &foreign.to_string()];
            assert!(leaked.iter().all(|id| !text.contains(id.as_str())), "{path}: {text}");
            let ids = [&own.generation, &own.asset, &own.own_box, &customer.account.to_string()];
            own_ids_seen += usize::from(ids.iter().any(|id| text.contains(id.as_str())));
        }
    }
    assert!(own_ids_seen >= 10, "{own_ids_seen}: generations, ledger, account, assets and boxes of both");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_account_leads_only_to_ones_own() {
    let world = World::with(Setting::idle()).await;
    let stranger = world.customer(100).await;
    for round in 0..3 {
        world.create("placeholder", &format!("mine {round}")).await;
        stranger.create("placeholder", &format!("theirs {round}")).await;
        for customer in [&world.developer, &stranger] {
            customer.make_box("a box").await;
            assert_eq!(customer.post("/v1/uploads", &json!({"content_type": "image/png", "bytes": 7})).await.status, 201);
        }
    }
    let mut tried = 0;
    for (_, path, operation) in operations() {
        let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
        let has_pages = parameters.iter().any(|parameter| parameter["name"] == "cursor");
        if !has_pages || path.starts_with(OF_ADMINISTRATORS) {
            continue;
        }
        let cursor = world.get(&format!("{path}?limit=1")).await.body["next_cursor"].clone();
        let cursor = cursor.as_str().expect("more than one page");
        let own = stranger.get(&format!("{path}?limit=100")).await;
        let page = stranger.get(&format!("{path}?limit=100&cursor={cursor}")).await;
        assert_eq!(page.status, 200, "{:?}", page.body);
        let items = |reply: &Reply| {
            let lists = reply.body.as_object().expect("an object").values().filter_map(Value::as_array);
            lists.flatten().map(|item| item["id"].clone()).collect::<Vec<_>>()
        };
        let own = items(&own);
        assert!(items(&page).iter().all(|id| own.contains(id)), "{path}: {:?}", page.body);
        tried += 1;
    }
    assert_eq!(tried, 4, "generations, ledger, assets and boxes");
}
