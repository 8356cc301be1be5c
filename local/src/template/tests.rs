use std::time::Duration;

use super::*;

fn values() -> LocalValues {
    LocalValues {
        table_name: "darkroom".to_owned(),
        bucket_name: "media".to_owned(),
        api_endpoint: "http://127.0.0.1:4000".to_owned(),
        parameters: [("SigningSecret".to_owned(), "s".repeat(32))].into(),
    }
}

fn built_in() -> Template {
    Template::parse(BUILT_IN, &values()).unwrap_or_else(|error| panic!("{error}"))
}

fn function(template: &Template, binary: &str) -> usize {
    template.functions.iter().position(|function| function.binary == binary).unwrap()
}

#[test]
fn the_routes_of_the_api_are_these() {
    let mut routes: Vec<String> = Vec::new();
    for function in built_in().functions {
        let line = |route: &Route| {
            let auth = if route.auth { "" } else { " open" };
            format!("{} {} -> {}{auth}", route.method, route.path, function.binary)
        };
        routes.extend(function.routes.iter().map(line));
    }
    assert_eq!(
        routes,
        [
            "POST /v1/uploads -> presign",
            "POST /v1/uploads/{id}/complete -> presign",
            "POST /v1/quotes -> generate",
            "POST /v1/generations -> generate",
            "POST /v1/generations/{id}/cancel -> generate",
            "GET /v1/generations -> query",
            "GET /v1/generations/{id} -> query",
            "GET /v1/models -> query",
            "GET /v1/tools -> query",
            "GET /v1/account -> query",
            "GET /v1/account/ledger -> query",
            "GET /v1/assets -> query",
            "GET /v1/assets/{id} -> query",
            "GET /v1/boxes -> query",
            "GET /v1/boxes/{id} -> query",
            "GET /v1/account/content -> query",
            "POST /v1/boxes -> organize",
            "PATCH /v1/boxes/{id} -> organize",
            "PATCH /v1/assets/{id} -> organize",
            "DELETE /v1/assets/{id} -> erase",
            "DELETE /v1/generations/{id}/content -> erase",
            "DELETE /v1/boxes/{id} -> erase",
            "DELETE /v1/account/content -> erase",
            "POST /v1/admin/accounts -> admin",
            "GET /v1/admin/accounts -> admin",
            "GET /v1/admin/accounts/{account} -> admin",
            "PATCH /v1/admin/accounts/{account} -> admin",
            "GET /v1/admin/accounts/{account}/ledger -> admin",
            "GET /v1/admin/accounts/{account}/actions -> admin",
            "POST /v1/admin/accounts/{account}/credits -> admin",
            "POST /v1/admin/accounts/{account}/keys -> admin",
            "GET /v1/admin/accounts/{account}/keys -> admin",
            "DELETE /v1/admin/accounts/{account}/keys/{key} -> admin",
            "POST /v1/admin/accounts/{account}/keys/{key}/rotate -> admin",
            "GET /v1/admin/catalog -> admin",
            "GET /v1/admin/generations/{id} -> admin",
            "POST /v1/admin/generations/{id}/retry -> admin",
            "POST /v1/admin/generations/{id}/release -> admin",
            "POST /v1/admin/generations/{id}/charge -> admin",
            "GET /v1/admin/accounts/{account}/reconciliation -> admin",
            "GET /v1/admin/reconciliations -> admin",
            "GET /v1/admin/providers -> admin",
            "GET /v1/admin/providers/{name} -> admin",
            "PUT /v1/admin/providers/{name} -> admin",
            "DELETE /v1/admin/providers/{name} -> admin",
            "GET /v1/admin/models/{name+} -> admin",
            "PUT /v1/admin/models/{name+} -> admin",
            "DELETE /v1/admin/models/{name+} -> admin",
            "GET /v1/admin/chains/{name} -> admin",
            "PUT /v1/admin/chains/{name} -> admin",
            "DELETE /v1/admin/chains/{name} -> admin",
            "GET /v1/admin/status -> admin",
            "POST /v1/admin/dead-letters/{queue}/redrive -> admin",
            "DELETE /v1/admin/accounts/{account}/content -> admin",
            "POST /v1/callbacks/{provider}/{generation}/{token} -> callback open",
        ]
    );
}

#[test]
fn queues_are_read_by_their_functions() {
    let template = built_in();
    let sources = |binary: &str| template.functions[function(&template, binary)].queues.clone();
    let source = |queue: &str, batch_size, max_concurrency| QueueSource {
        queue: queue.to_owned(),
        batch_size,
        max_concurrency: Some(max_concurrency),
        report_batch_item_failures: true,
    };
    assert_eq!(sources("dispatch"), [source("DispatchQueue", 5, 100)]);
    assert_eq!(sources("poll"), [source("PollQueue", 5, 20)]);
    assert_eq!(sources("collect"), [source("CollectQueue", 1, 20)]);

    let collect = template.queue("CollectQueue").unwrap();
    assert_eq!(collect.visibility, Duration::from_secs(1800));
    assert_eq!(collect.dead_letter, Some(("CollectDeadLetters".to_owned(), 5)));
    assert_eq!(template.queue("CollectDeadLetters").unwrap().retention, Duration::from_secs(14 * 86_400));
}

#[test]
fn deployment_limits_hold() {
    let template = built_in();
    for function in &template.functions {
        if !function.routes.is_empty() {
            assert!(function.timeout < Duration::from_secs(30), "{} outlasts the API", function.logical_id);
        }
        for source in &function.queues {
            let queue = template.queue(&source.queue).unwrap();
            assert!(queue.visibility >= function.timeout * 6, "{} may deliver twice", source.queue);
            assert!(queue.dead_letter.is_some(), "{} retries for ever", source.queue);
        }
        let environment: usize = function.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
        assert!(environment < 4096, "{} has more environment than Lambda takes", function.logical_id);
    }
}

#[test]
fn a_lease_outlasts_the_work_that_it_is_taken_for() {
    let template = built_in();
    let seconds = |binary: &str, variable: &str| {
        let function = &template.functions[function(&template, binary)];
        let (_, text) = function.environment.iter().find(|(name, _)| name == variable).unwrap();
        Duration::from_secs(text.parse().unwrap())
    };
    for (binary, variable) in [("collect", "COLLECT_LEASE_SECONDS"), ("poll", "ASK_LEASE_SECONDS")] {
        let function = &template.functions[function(&template, binary)];
        assert!(seconds(binary, variable) > function.timeout, "{variable} is not longer than the time-out of `{binary}`");
    }
    // A submit ends with its own time-outs, before the function does.
    let dispatch = template.functions[function(&template, "dispatch")].timeout;
    for model in shared::catalog::Catalog::built_in().unwrap().models() {
        let longest = Duration::try_from(model.submit_limit()).unwrap();
        assert!(longest + Duration::from_secs(10) <= dispatch, "`{}` may take {longest:?}", model.spec.name);
    }
}

#[test]
fn environment_is_resolved_to_local_values() {
    let template = built_in();
    let value = |binary: &str, variable: &str| {
        let function = &template.functions[function(&template, binary)];
        function.environment.iter().find(|(name, _)| name == variable).map(|(_, value)| value.clone())
    };
    assert_eq!(value("query", "TABLE_NAME").as_deref(), Some("darkroom"));
    assert_eq!(value("query", "BUCKET_NAME").as_deref(), Some("media"));
    assert_eq!(value("query", "DISPATCH_QUEUE_URL").as_deref(), Some("memory://queues/DispatchQueue"));
    assert_eq!(value("query", "DUE_SHARDS").as_deref(), Some("4"));
    assert_eq!(value("query", "UNCONFIRMED_SECONDS").as_deref(), Some(""));
    assert_eq!(value("dispatch", "PUBLIC_URL").as_deref(), Some("http://127.0.0.1:4000"));
    let with_secrets: Vec<&str> = template.functions.iter().map(|function| function.binary.as_str()).collect();
    let with_secrets: Vec<&str> = with_secrets.into_iter().filter(|binary| value(binary, "SECRETS_ID").is_some()).collect();
    assert_eq!(
        with_secrets,
        ["generate", "admin", "dispatch", "callback", "poll", "collect"],
        "nobody else may look at providers' keys"
    );
}

#[test]
fn the_rest_of_the_template_is_typed() {
    let template = built_in();
    let ttl = Duration::from_secs(60);
    let authorizer = Authorizer { function: "AuthorizeFunction".to_owned(), header: "authorization".to_owned(), ttl };
    assert_eq!(template.authorizer, Some(authorizer));
    let poll = &template.functions[function(&template, "poll")];
    let (tick, daily) = ("PollFunctionTick".to_owned(), "PollFunctionDaily".to_owned());
    let input = Some(serde_json::json!({"daily": "reconcile"}));
    let schedules = [
        Schedule { name: tick, every: Duration::from_secs(60), input: None },
        Schedule { name: daily, every: Duration::from_secs(86_400), input },
    ];
    assert_eq!(poll.schedules, schedules);
    assert_eq!(template.functions[function(&template, "collect")].memory_mb, 1024);
    let key = |hash: &str, range: &str| Key { hash: hash.to_owned(), range: Some(range.to_owned()) };
    assert_eq!(template.table.key, key("pk", "sk"));
    let index = |name: &str, key| Index { name: name.to_owned(), key };
    assert_eq!(template.table.indexes, [index("by_account", key("gsi_pk", "gsi_sk")), index("due", key("due_shard", "due_at"))]);
    assert_eq!(template.table.ttl_attribute.as_deref(), Some("expires_at"));
    assert_eq!(template.bucket.cors[0].allowed_origins, ["*"]);
}

/// The error of a template that is the built-in one with `old` replaced.
fn error_with(old: &str, new: &str) -> String {
    assert!(BUILT_IN.contains(old), "{old}");
    Template::parse(&BUILT_IN.replacen(old, new, 1), &values()).err().unwrap().to_string()
}

#[test]
fn what_cannot_run_locally_is_refused_with_its_place() {
    for (old, new, expected) in [
        (
            "!GetAtt Api.ApiEndpoint",
            "!ImportValue Elsewhere",
            "`Resources.DispatchFunction.Properties.Environment.Variables.PUBLIC_URL`",
        ),
        ("!GetAtt Api.ApiEndpoint", "!ImportValue Elsewhere", "uses `ImportValue`"),
        ("!Ref DispatchQueue", "!Ref Nowhere", "`Globals.Function.Environment.Variables.DISPATCH_QUEUE_URL`"),
        ("!Ref DispatchQueue", "!Ref Nowhere", "`Nowhere`, which is neither a resource nor a parameter"),
        ("!Ref DispatchQueue", "!Ref Logs", "`AWS::Logs::LogGroup`, which has no local counterpart"),
        ("rate(1 minute)", "cron(0 * * * ? *)", "a cron schedule cannot run locally"),
        (r#"{"daily": "reconcile"}"#, "daily", "`Input` is not JSON"),
        ("rate(1 minute)", "rate(1 minutes)", "is not a schedule"),
        ("BatchSize: 5", "FilterCriteria: {}", "unknown field `FilterCriteria`"),
        ("BatchSize: 5", "BatchSize: 100", "batch size of 100"),
        ("Type: Schedule", "Type: S3", "an event of type `S3` cannot run locally"),
        ("Binary: dispatch", "Package: dispatch", "lacks `Resources.DispatchFunction.Metadata.BuildProperties.Binary`"),
        ("VisibilityTimeout: 3600", "VisibilityTimeout: 59", "less than the time-out of `DispatchFunction`"),
    ] {
        let error = error_with(old, new);
        assert!(error.contains(expected), "{new}: {error}");
    }
}

#[test]
fn parameters_without_a_value_are_missed() {
    let error = Template::parse(BUILT_IN, &LocalValues { parameters: BTreeMap::new(), ..values() }).err().unwrap();
    assert!(error.to_string().contains("`SigningSecret`"), "{error}");
}

#[test]
fn values_for_unknown_parameters_are_refused() {
    let parameters = [("CallbackSekret".to_owned(), "x".to_owned())].into();
    let error = Template::parse(BUILT_IN, &LocalValues { parameters, ..values() }).err().unwrap();
    assert!(error.to_string().contains("no parameter `CallbackSekret`"), "{error}");
}

#[test]
fn long_and_short_intrinsics_mean_the_same() {
    let resolve = |yaml: &str| {
        let yaml_of = |text: &str| serde_yaml_ng::from_str::<Yaml>(text).unwrap();
        let nested = NESTED.iter().map(|(path, text)| ((*path).to_owned(), yaml_of(text))).collect();
        let sources = resolve::Sources { root: yaml_of(BUILT_IN), nested };
        let resolver = resolve::Resolver::new(&sources, &sources.root, &values()).unwrap_or_else(|error| panic!("{error}"));
        resolver.resolve(&serde_yaml_ng::from_str(yaml).unwrap(), "here").unwrap_or_else(|error| panic!("{yaml}: {error}"))
    };
    let arn = "arn:aws:sqs:us-east-1:000000000000:PollQueue";
    assert_eq!(resolve("!GetAtt PollQueue.Arn"), arn);
    assert_eq!(resolve("!GetAtt [PollQueue, Arn]"), arn);
    assert_eq!(resolve("Fn::GetAtt: [PollQueue, Arn]"), arn);
    assert_eq!(resolve("!Sub '${PollQueue.Arn}'"), arn);
    assert_eq!(resolve("Fn::GetAtt: [Data, Outputs.TableName]"), "darkroom");
    assert_eq!(resolve("!Sub 'arn:${AWS::Partition}:x:${Data.Outputs.TableName}:${!kept}'"), "arn:aws:x:darkroom:${kept}");
    assert_eq!(resolve("!Sub ['${Who}@${AWS::Region}', {Who: !GetAtt Data.Outputs.BucketName}]"), "media@us-east-1");
    assert_eq!(resolve("!Join ['/', [a, !Ref AWS::Region, 1]]"), "a/us-east-1/1");
}
