//! Mistakes of a provider and of its APIs.

use super::*;

const HTTP: &str = "/transport/http";
const JOBS: &str = "/transport/http/apis/jobs";
const CHAT: &str = "/transport/http/apis/chat";
const AT_JOBS: &str = "transport.http.apis.jobs";
const AT_CHAT: &str = "transport.http.apis.chat";

#[track_caller]
fn refuses_in_http(pointer: &str, value: Value, at: &str, reason: &str) {
    refuses(&format!("{HTTP}{pointer}"), value, &format!("transport.http.{at}"), reason);
}

#[track_caller]
fn refuses_in_jobs(pointer: &str, value: Value, at: &str, reason: &str) {
    refuses(&format!("{JOBS}{pointer}"), value, &format!("{AT_JOBS}.{at}"), reason);
}

#[track_caller]
fn refuses_in_chat(pointer: &str, value: Value, at: &str, reason: &str) {
    refuses(&format!("{CHAT}{pointer}"), value, &format!("{AT_CHAT}.{at}"), reason);
}

#[test]
fn mistakes_of_shape_are_told_with_their_place() {
    refuses_in_jobs("/poll/method", json!("FETCH"), "poll.method", "unknown variant `FETCH`");
    refuses_in_jobs("/status/pick", json!("$..state"), "status.pick", "uses `..`: name the members instead");
    refuses_in_jobs("/result/links/0", json!("link"), "result.links[0]", "`link` is not a JSONPath");
    refuses(
        "/models/0/price/credits",
        json!(1.5),
        "models[0].price.credits",
        "expected a whole number, or an expression as text",
    );
    refuses("/limits", json!({"concurrency": 0}), "limits", "the limit `concurrency` is `0`");
    refuses("/models/0/kind", json!("song"), "models[0].kind", "unknown variant `song`");
    refuses_without("/models/0/price/credits", "models[0].price", "missing field `credits`");
    refuses_without("/version", "the top", "missing field `version`");
}

#[test]
fn an_unknown_member_is_not_overlooked() {
    let mut broken = acme();
    put(&mut broken, &format!("{JOBS}/pol"), json!({}));
    let error = manifest("acme.json", &broken.to_string()).expect_err("refused").to_string();
    assert!(error.contains(AT_JOBS) && error.contains("unknown field `pol`"), "{error}");
}

#[test]
fn a_file_that_is_not_json_is_told_with_the_line() {
    let error = manifest("acme.json", "{\n\"name\": \"acme\",,\n}").expect_err("refused").to_string();
    assert!(error.starts_with("`acme.json`") && error.contains("line 2"), "{error}");
    let error = manifest("acme.json", &format!("{} x", acme())).expect_err("refused").to_string();
    assert!(error.contains("trailing characters"), "{error}");
}

#[test]
fn a_provider_is_named_timed_and_reached_as_it_should_be() {
    refuses("/name", json!("Acme!"), "name", "use 1 to 32 lowercase letters and digits");
    refuses("/version", json!(0), "version", "begin with 1");
    refuses("/times/run_limit_s", json!(0), "times.run_limit_s", "give at least 1 second");
    refuses("/times/poll_growth_percent", json!(99), "times.poll_growth_percent", "give 100");
    refuses("/times/poll_max_s", json!(4), "times.poll_max_s", "shorter than the first pause");
    let policies = json!({"resolved": {"charge": "full", "retry": "no", "alarm": "nobody"}});
    refuses("/policies", policies, "policies.resolved", "follows their word alone");
    refuses_in_http("/base_url", json!("http://api.example.com"), "base_url", "has to be `https://host`");
    refuses_in_http("/base_url", json!("https://api.example.com/v1"), "base_url", "write `https://api.example.com`");
    refuses_in_http("/base_url", json!("https://api.example.com/"), "base_url", "has more than a host");
    refuses_in_http("/hosts/files", json!("ftp://files.example.com"), "hosts.files", "has to be `https://host`");
    refuses_in_http("/apis", json!({}), "apis", "needs at least one API");
}

#[test]
fn a_program_on_this_machine_may_speak_plain_http() {
    let mut local = acme();
    put(&mut local, "/transport/http/base_url", json!("http://127.0.0.1:8188"));
    manifest("acme.json", &local.to_string()).expect("fine");
}

#[test]
fn a_provider_has_its_own_secrets_only() {
    refuses_in_http("/key_env", json!("acme-key"), "key_env", "up to 128 of A to Z, 0 to 9 and `_`");
    refuses_in_http("/key_env", json!("OPENAI_API_KEY"), "key_env", "those of this one begin with `ACME_`");
    refuses_in_jobs(
        "/callback/signature",
        json!({"standard_webhooks": {"secret_env": "SIGNING_SECRET"}}),
        "callback.signature.standard_webhooks.secret_env",
        "may be a secret of our own",
    );
}

#[test]
fn the_key_goes_where_the_provider_says_and_nowhere_else() {
    refuses_in_http("/headers", json!({"Accept": "*/*"}), "headers", "no header carries the key");
    refuses_in_http("/headers/Accept", json!("{{input}}"), "headers.Accept", "know `{{key}}` only");
    refuses_in_jobs("/poll/query", json!({"key": "{{key}}"}), "poll.query.key", "the provider's own `headers` only");
    refuses_in_jobs(
        "/submit/call/body/auth",
        json!(["{{key}}"]),
        "submit.call.body.auth[0]",
        "the provider's own `headers` only",
    );
}

#[test]
fn a_header_is_a_header() {
    refuses_in_http("/headers/X Key", json!("{{key}}"), "headers.X Key", "is not a header name");
    refuses_in_jobs("/poll/headers", json!({"Accept": "a\nb"}), "poll.headers.Accept", "is not a header value");
    refuses_in_jobs("/poll/headers", json!({"Host": "example.com"}), "poll.headers.Host", "made by the HTTP client");
    let content_type = json!({"content-type": "text/plain"});
    refuses_in_jobs("/upload/steps/0/call/headers", content_type, "upload.steps[0].call.headers", "brings its own Content-Type");
    let facts = json!({"id": "X-Id"});
    refuses_in_jobs(
        "/upload/steps/0/header_facts",
        facts,
        "upload.steps[0].header_facts.id",
        "is not a header name in lowercase",
    );
}

#[test]
fn an_unknown_variable_is_found_wherever_it_stands() {
    refuses_in_jobs("/poll/urls/1", json!("{{base_url}}/v1/{{job.number}}"), "poll.urls[1]", "uses `{{job.number}}`");
    let body = json!({"a": [{"$each": "{{input}}", "$do": {"b": "x{{who}}"}}]});
    refuses_in_jobs(
        "/submit/call/body",
        body,
        "submit.call.body.a[0].$do.b",
        "there are `base_url`, `hosts.files`, `callback_url`, `input`",
    );
    refuses_in_jobs("/upload/reference", json!("{{step.uri}}"), "upload.reference", "uses `{{step.uri}}`");
    // What the poll tells is not known before it.
    refuses_in_jobs("/poll/urls/1", json!("{{base_url}}/{{job.file}}"), "poll.urls[1]", "uses `{{job.file}}`");
    // A later step's facts are not known to an earlier one.
    refuses_in_jobs(
        "/upload/steps/0/call/urls/0",
        json!("{{hosts.files}}/{{step.id}}"),
        "upload.steps[0].call.urls[0]",
        "uses `{{step.id}}`",
    );
    refuses_in_jobs("/callback/reply", json!({"ok": "{{job.id}}"}), "callback.reply.ok", "sent as it is");
}

#[test]
fn a_template_that_cannot_be_read_is_found_where_it_stands() {
    refuses_in_jobs("/submit/call/body/x", json!(["a", "{{input"]), "submit.call.body.x[1]", "does not close it");
    refuses_in_jobs("/submit/call/body/x", json!({"$each": "{{input}}"}), "submit.call.body.x", "`$each` needs `$do`");
}

#[test]
fn a_request_goes_to_the_provider() {
    refuses_in_jobs("/poll/urls/0", json!("https://elsewhere.example.com"), "poll.urls[0]", "has to begin with `{{base_url}}`");
    refuses_in_jobs("/poll/urls/0", json!("{{remote.model}}/x"), "poll.urls[0]", "has to begin with `{{base_url}}`");
    refuses_in_jobs("/poll/urls/0", json!("{{base_url}}.evil.example"), "poll.urls[0]", "write `{{base_url}}/…`");
    refuses_in_jobs("/poll/urls/0", json!("{{base_url}}/a b"), "poll.urls[0]", "has a space");
    refuses_in_jobs("/poll/urls", json!([]), "poll.urls", "at least one URL");
}

#[test]
fn a_request_has_one_body_that_its_method_can_carry() {
    refuses_in_jobs("/submit/call/form", json!({"a": "b"}), "submit.call", "has `body` and `form`");
    refuses_in_jobs("/poll/body", json!({}), "poll.body", "a GET has no body");
    refuses_in_chat(
        "/submit/call",
        json!({
            "method": "POST", "urls": ["{{base_url}}"], "form": ["{{input}}"], "timeout_s": 9
        }),
        "submit.call.form",
        "has to be an object",
    );
    let call = json!({"method": "PUT", "urls": ["{{hosts.files}}/x"], "raw": "data {{file.file}}", "timeout_s": 9});
    refuses_in_jobs("/upload/steps/0/call", call, "upload.steps[0].call.raw", "write a single placeholder");
    let call = json!({"method": "PUT", "urls": ["{{hosts.files}}/x"], "body": {"f": "{{file.file}}"}, "timeout_s": 9});
    refuses_in_jobs("/upload/steps/0/call", call, "upload.steps[0].call.body.f", "a file cannot stand in a JSON body");
}

#[test]
fn every_request_has_limits() {
    refuses_in_jobs("/poll/timeout_s", json!(0), "poll.timeout_s", "give 1 to 600 seconds");
    refuses_in_jobs("/submit/call/timeout_s", json!(601), "submit.call.timeout_s", "`601`");
    refuses_in_jobs("/poll/max_answer_bytes", json!(134_217_729), "poll.max_answer_bytes", "128 MiB");
    refuses_in_jobs("/upload/steps/1/until/every_s", json!(0), "upload.steps[1].until.every_s", "at least 1 second");
    refuses_in_jobs("/upload/steps/1/until/at_most_s", json!(1), "upload.steps[1].until.at_most_s", "out of range");
    refuses_in_jobs("/callback/tolerance_s", json!(0), "callback.tolerance_s", "out of range");
}

#[test]
fn a_word_means_one_thing() {
    refuses_in_jobs("/status/failed", json!(["failed", "done"]), "status.failed[1]", "`done` is in `succeeded` already");
    let words = json!({"pick": "$.s", "ignore_case": true, "succeeded": ["Done"], "canceled": ["stop", "DONE"]});
    refuses_in_jobs("/status", words, "status.canceled[1]", "`DONE` is in `succeeded` already");
    refuses_in_jobs("/status/http/failed", json!([410, 202]), "status.http.failed[1]", "`202` is in `running` too");
    refuses_in_jobs("/status/http/failed", json!([42]), "status.http.failed[0]", "is not an HTTP status");
    refuses_in_jobs("/envelope/unsure", json!(["0"]), "envelope.unsure[0]", "`0` is in `ok` already");
    refuses_in_jobs(
        "/upload/steps/1/until/failed",
        json!(["ready"]),
        "upload.steps[1].until.failed[0]",
        "`ready` is in `any` too",
    );
}

#[test]
fn a_word_that_nobody_looks_for_is_refused() {
    let at = format!("{AT_JOBS}.status.running[0]");
    refuses_without(&format!("{JOBS}/status/pick"), &at, "`queued` is never seen: say in `pick`");
    refuses_in_jobs("/callback/status/http", json!({"failed": [500]}), "callback.status.http", "a callback has no HTTP status");
}

#[test]
fn a_job_can_succeed() {
    refuses_in_jobs("/status/succeeded", json!([]), "status.succeeded", "no job could ever succeed");
    refuses_in_jobs("/envelope/ok", json!([]), "envelope.ok", "every answer would be an error");
    refuses_in_jobs("/result", json!({}), "result", "finds nothing");
    refuses_in_jobs("/result/body", json!(true), "result.links", "is never looked at");
    refuses_in_chat("/result/links_need_key", json!(true), "result.links_need_key", "there are no `links`");
}

#[test]
fn an_api_has_all_parts_of_a_job_or_none() {
    refuses_without(&format!("{JOBS}/submit/job_id"), &format!("{AT_JOBS}.submit.job_id"), "is missing");
    refuses_without(&format!("{JOBS}/status"), &format!("{AT_JOBS}.status"), "is missing");
    let cancel = json!({"call": {"method": "POST", "urls": ["{{base_url}}/stop"], "timeout_s": 9}, "proof": "status"});
    refuses_in_chat("/cancel", cancel, "cancel", "without `poll` the submit's answer is the result");
    let callback = json!({"signature": "unsigned", "job_id": ["$.id"]});
    refuses_in_chat("/callback", callback, "callback", "without `poll` the submit's answer is the result");
    refuses_in_jobs("/submit/job_facts/id", json!("$.x"), "submit.job_facts.id", "the job's own id");
    refuses_in_jobs("/callback/job_id", json!([]), "callback.job_id", "where a callback names its job");
}

#[test]
fn a_failure_rule_can_be_reached() {
    let by_hand = json!({"status": [418], "class": "resolved"});
    refuses_in_http("/failures/0", by_hand, "failures[0].class", "is what operators do by hand");
    let catch_all = json!({"class": "provider_failed"});
    refuses_in_http("/failures/0", catch_all, "failures[1]", "the rule [0] before it has no conditions and takes everything");
    refuses_in_http(
        "/failures/6",
        json!({"status": [429], "class": "unavailable"}),
        "failures[6]",
        "the rule [5] before it takes all",
    );
    let narrower = json!({"picks": ["$.code"], "equals": ["451"], "status": [400], "class": "internal"});
    refuses_in_http("/failures/6", narrower, "failures[6]", "the rule [0] before it");
    let own = json!([{"picks": ["$.m"], "contains": ["Nude"], "class": "moderated"}, {"picks": ["$.m"], "equals": ["no nudes"], "class": "internal"}]);
    refuses_in_jobs("/failures", own, "failures[1]", "can never be reached");
    refuses_in_http("/failures/6", json!({"equals": ["x"], "class": "internal"}), "failures[6].equals", "say in `picks`");
}

#[test]
fn a_rule_that_takes_only_part_of_a_later_one_is_fine() {
    let mut manifest = acme();
    put(&mut manifest, "/transport/http/failures/6", json!({"status": [429, 503], "class": "unavailable"}));
    put(
        &mut manifest,
        "/transport/http/failures/7",
        json!({"picks": ["$.code", "$.other"], "equals": ["451"], "class": "internal"}),
    );
    super::super::manifest("acme.json", &manifest.to_string()).expect("fine");
}

#[test]
fn the_errors_that_matter_are_told_apart() {
    let rule = json!({"picks": ["$.code"], "equals": ["451"], "class": "internal"});
    refuses_in_http("/failures/0", rule, "apis.chat.failures", "no rule has the class `moderated`");
    let rule = json!({"picks": ["$.code"], "equals": ["429"], "class": "internal"});
    refuses_in_http("/failures/3", rule, "apis.jobs.failures", "no rule without an HTTP status has the class `throttled`");
    refuses_in_chat("/failures", json!([{"class": "provider_failed"}]), "failures", "no rule has the class `moderated`");
}
