use super::*;
use crate::catalog::Catalog;
use serde_json::json;

/// What the provider was asked before it said this.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Submit,
    Poll,
    Results,
    Cancel,
}

fn reply(status: u16, body: Value) -> Reply {
    Reply { status, body, ..Reply::default() }
}

/// How the built-in manifest of `provider` reads a reply.
#[track_caller]
fn check(provider: &str, asked: Asked, reply: &Reply, expected: &str) {
    let catalog = Catalog::built_in().expect("loads");
    let http = catalog.provider(provider).and_then(|manifest| manifest.http()).expect("an HTTP provider");
    let api = if provider == "replicate" { "models" } else { "queue" };
    let reader = Reader { http, api: &http.apis[api] };
    let read = match asked {
        Asked::Submit => submit_in_words(reader.submit(reply)),
        Asked::Poll => in_words(reader.poll(reply)),
        Asked::Results => in_words(reader.result(reply)),
        Asked::Cancel => in_words(reader.cancel(reply)),
    };
    assert_eq!(read, expected, "{asked:?} {reply:?}");
}

#[track_caller]
fn check_callback(provider: &str, body: &Value, expected: &str) {
    let catalog = Catalog::built_in().expect("loads");
    let http = catalog.provider(provider).and_then(|manifest| manifest.http()).expect("an HTTP provider");
    let api = if provider == "replicate" { "models" } else { "queue" };
    let reader = Reader { http, api: &http.apis[api] };
    assert_eq!(in_words(reader.callback(body)), expected, "{body}");
}

fn submit_in_words(answer: SubmitAnswer<Delivery>) -> String {
    match answer {
        SubmitAnswer::Accepted { job, report } => {
            let facts: Vec<String> = job.facts.iter().map(|(name, value)| format!("{name} {value}, ")).collect();
            format!("job {}, {}{}", job.id, facts.concat(), in_words(report))
        }
        SubmitAnswer::Done(report) => in_words(report),
        SubmitAnswer::Refused { failure, retry_after: None } => format!("refused, {}", failure_in_words(&failure)),
        SubmitAnswer::Refused { failure, retry_after: Some(pause) } => {
            format!("refused for {}s, {}", pause.as_secs(), failure_in_words(&failure))
        }
        SubmitAnswer::Lost(reason) => format!("lost, {}", reason.word()),
    }
}

fn in_words(report: Report<Delivery>) -> String {
    match report {
        Report::Running { progress, queue_position } => {
            let progress = progress.map(|percent| format!(", {percent}%")).unwrap_or_default();
            let position = queue_position.map(|position| format!(", {position} before it")).unwrap_or_default();
            format!("running{progress}{position}")
        }
        Report::Fetch(_) => "to be fetched".to_owned(),
        Report::Succeeded(delivery) => delivery.iter().fold("succeeded".to_owned(), |text, found| match found {
            Found::Link { link, .. } => format!("{text} {link}"),
            Found::Bytes(bytes) => format!("{text} {} bytes", bytes.len()),
            Found::Text(own) => format!("{text} `{own}`"),
        }),
        Report::Failed(failure) => failure_in_words(&failure),
        Report::Canceled => "canceled".to_owned(),
        Report::Unclear(reason) => format!("unclear: {reason}"),
    }
}

fn failure_in_words(failure: &Failure) -> String {
    format!("{}: {}", json!(failure.class).as_str().expect("a word"), failure.message)
}

const NOT_SERVED: &str = "the provider does not serve us at the moment";
const NO_RESULT: &str = "provider_failed: the provider finished without a result";

mod replicate {
    use super::*;

    fn prediction(status: &str, output: Value, error: Value) -> Value {
        json!({
            "id": "gm3q", "model": "black-forest-labs/flux-schnell", "version": "hidden", "input": {"prompt": "x"}, "logs": "",
            "output": output, "error": error, "status": status, "data_removed": false, "created_at": "2023-09-08T16:19:34.765994Z",
            "metrics": {"predict_time": 0.012683},
            "urls": {
                "web": "https://replicate.com/p/gm3q",
                "get": "https://api.replicate.com/v1/predictions/gm3q",
                "cancel": "https://api.replicate.com/v1/predictions/gm3q/cancel",
            },
        })
    }

    #[track_caller]
    fn poll(status: &str, output: Value, error: Value, expected: &str) {
        let body = prediction(status, output, error);
        check("replicate", Asked::Poll, &reply(200, body.clone()), expected);
        // A callback's body is the same prediction.
        if expected == NO_RESULT {
            check_callback("replicate", &body, "unclear: a success without results");
        } else {
            check_callback("replicate", &body, expected);
        }
    }

    #[test]
    fn a_submit_is_accepted_with_whatever_the_answer_already_says() {
        let facts = "cancel_url https://api.replicate.com/v1/predictions/gm3q/cancel, get_url https://api.replicate.com/v1/predictions/gm3q";
        let submit = |status, body, expected: &str| {
            check("replicate", Asked::Submit, &reply(status, body), &format!("job gm3q, {facts}, {expected}"));
        };
        submit(201, prediction("starting", Value::Null, Value::Null), "running");
        submit(202, prediction("processing", Value::Null, Value::Null), "running");
        submit(
            201,
            prediction("succeeded", json!(["https://replicate.delivery/a"]), Value::Null),
            "succeeded https://replicate.delivery/a",
        );
        submit(201, prediction("failed", Value::Null, json!("boom")), "provider_failed: boom");
        let bare = reply(201, json!({"id": "gm3q", "status": "brewing"}));
        check("replicate", Asked::Submit, &bare, "job gm3q, unclear: the status `brewing` is not in the manifest");
    }

    #[test]
    fn a_submit_is_refused_for_certain_only_by_what_says_so() {
        let submit = |status, body, expected: &str| check("replicate", Asked::Submit, &reply(status, body), expected);
        submit(
            422,
            json!({"detail": "- input: prompt is required\n", "status": 422, "title": "Input validation failed",
                   "invalid_fields": [{"type": "required", "field": "input", "description": "prompt is required"}]}),
            "refused, rejected_input: - input: prompt is required",
        );
        submit(
            401,
            json!({"title": "Unauthenticated", "detail": "You did not pass a valid authentication token", "status": 401}),
            &format!("refused, provider_auth: {NOT_SERVED}"),
        );
        submit(
            402,
            json!({"title": "Insufficient credit", "detail": "You have insufficient credit to run this model.", "status": 402}),
            &format!("refused, provider_funds: {NOT_SERVED}"),
        );
        submit(404, json!({"detail": "Not found"}), "refused, internal: the provider does not know this model");
        submit(413, json!("too large"), "refused, rejected_input: the provider gave no reason");
        submit(301, json!(""), "lost, server_error");
    }

    #[test]
    fn a_throttled_submit_says_when_to_come_back() {
        let low_credit = "Request was throttled. Your rate limit is reduced to 6 requests per minute with a burst of 1 requests while you \
                          have less than $5.0 in credit. Your rate limit resets in ~10s.";
        let throttled = reply(429, json!({"detail": low_credit, "status": 429, "retry_after": 10}));
        // The state of our account with the provider is not the customer's business.
        check("replicate", Asked::Submit, &throttled, &format!("refused for 10s, throttled: {NOT_SERVED}"));
        let throttled = Reply { retry_after: Some(SignedDuration::from_secs(30)), ..throttled };
        check("replicate", Asked::Submit, &throttled, &format!("refused for 30s, throttled: {NOT_SERVED}"));
    }

    #[test]
    fn a_submit_with_an_ambiguous_answer_is_lost() {
        for status in [408, 499, 500, 502, 503, 504, 520] {
            check("replicate", Asked::Submit, &reply(status, json!("<html>Bad gateway</html>")), "lost, server_error");
            check("replicate", Asked::Submit, &reply(status, json!({"detail": "Request was throttled."})), "lost, server_error");
        }
        for body in
            [json!({}), json!({"id": null}), json!({"id": ""}), json!({"id": ["gm3q"]}), json!("OK"), Value::Null, json!([])]
        {
            check("replicate", Asked::Submit, &reply(200, body), "lost, unreadable_answer");
        }
    }

    #[test]
    fn every_shape_of_output_is_read() {
        poll("starting", Value::Null, Value::Null, "running");
        poll("processing", json!([]), Value::Null, "running");
        poll("succeeded", json!("https://r.d/a.png"), Value::Null, "succeeded https://r.d/a.png");
        poll("succeeded", json!(["https://r.d/a", "https://r.d/b"]), Value::Null, "succeeded https://r.d/a https://r.d/b");
        poll("succeeded", json!({"image": "https://r.d/a", "seed": 7, "note": "done"}), Value::Null, "succeeded https://r.d/a");
        poll("succeeded", json!([null, "https://r.d/b"]), Value::Null, "succeeded https://r.d/b");
    }

    #[test]
    fn a_success_without_a_result_is_a_failure() {
        for output in [
            Value::Null,
            json!([]),
            json!({}),
            json!(""),
            json!("a poem"),
            json!(["a", "poem"]),
            json!(7),
            json!("file:///etc/passwd"),
        ] {
            poll("succeeded", output, Value::Null, NO_RESULT);
        }
    }

    #[test]
    fn failed_predictions_are_told_apart_by_their_text() {
        let failed = |error: &str, expected: &str| poll("failed", Value::Null, json!(error), expected);
        let flagged = "The input or output was flagged as sensitive. Please try again with different inputs. (E005)";
        failed(flagged, &format!("moderated: {flagged}"));
        failed("nsfw content detected", "moderated: nsfw content detected");
        failed("Prediction interrupted; please retry (code: PA)", "unavailable: Prediction interrupted; please retry (code: PA)");
        failed("CUDA out of memory", "provider_failed: CUDA out of memory");
        poll("failed", Value::Null, Value::Null, "provider_failed: the provider gave no reason");
        poll("canceled", Value::Null, Value::Null, "canceled");
        poll("aborted", Value::Null, Value::Null, "canceled");
        poll("exploded", Value::Null, Value::Null, "unclear: the status `exploded` is not in the manifest");
    }

    #[test]
    fn a_poll_without_a_2xx_says_nothing_of_the_job() {
        for status in [301, 401, 402, 404, 422, 429, 500, 503] {
            let body = prediction("failed", Value::Null, json!("E005"));
            check("replicate", Asked::Poll, &reply(status, body), &format!("unclear: HTTP status {status}"));
        }
        for body in [json!({}), json!({"status": null}), json!({"status": {}}), json!("<html>")] {
            check("replicate", Asked::Poll, &reply(200, body), "unclear: no status");
        }
    }

    #[test]
    fn a_cancel_is_proved_by_the_prediction_it_returns() {
        let cancel = |status, word: &str, output, expected: &str| {
            check("replicate", Asked::Cancel, &reply(status, prediction(word, output, Value::Null)), expected);
        };
        cancel(200, "canceled", Value::Null, "canceled");
        cancel(200, "aborted", Value::Null, "canceled");
        cancel(200, "processing", Value::Null, "running");
        cancel(200, "succeeded", json!("https://r.d/a"), "succeeded https://r.d/a");
        cancel(404, "canceled", Value::Null, "unclear: HTTP status 404");
        cancel(500, "canceled", Value::Null, "unclear: HTTP status 500");
    }
}

mod fal {
    use super::*;

    fn queue(status: &str) -> Value {
        let url = |rest: &str| format!("https://queue.fal.run/fal-ai/flux/requests/80e7{rest}");
        json!({
            "status": status, "request_id": "80e7",
            "response_url": url(""), "status_url": url("/status"), "cancel_url": url("/cancel"),
        })
    }

    fn with(mut body: Value, more: Value) -> Value {
        let more = more.as_object().expect("an object").clone();
        body.as_object_mut().expect("an object").extend(more);
        body
    }

    fn detail(kind: &str, text: &str) -> Value {
        json!({"detail": [{"loc": ["body", "prompt"], "msg": text, "type": kind, "url": format!("https://docs.fal.ai/errors/#{kind}")}]})
    }

    #[test]
    fn a_submit_is_accepted_with_its_addresses() {
        let base = "https://queue.fal.run/fal-ai/flux/requests/80e7";
        let facts = format!("cancel_url {base}/cancel, response_url {base}, status_url {base}/status");
        let submit = |status, body, expected: &str| check("fal", Asked::Submit, &reply(status, body), expected);
        let queued = with(queue("IN_QUEUE"), json!({"queue_position": 3}));
        submit(200, queued.clone(), &format!("job 80e7, {facts}, running, 3 before it"));
        submit(202, queued, &format!("job 80e7, {facts}, running, 3 before it"));
        // As older versions of the service answer.
        submit(200, json!({"request_id": "80e7", "gateway_request_id": "80e7"}), "job 80e7, unclear: no status");
        submit(200, json!({"request_id": ""}), "lost, unreadable_answer");
        submit(200, json!({"status": "IN_QUEUE"}), "lost, unreadable_answer");
    }

    #[test]
    fn a_submit_is_refused_for_certain_only_by_what_says_so() {
        let submit = |status, body, expected: &str| check("fal", Asked::Submit, &reply(status, body), expected);
        submit(
            403,
            json!({"detail": "User is locked. Reason: Exhausted balance. Top up your balance at fal.ai/dashboard/billing."}),
            &format!("refused, provider_funds: {NOT_SERVED}"),
        );
        submit(401, json!({"detail": "Authentication is required"}), &format!("refused, provider_auth: {NOT_SERVED}"));
        submit(403, json!({"detail": "Forbidden"}), &format!("refused, provider_auth: {NOT_SERVED}"));
        submit(422, detail("missing", "field required"), "refused, rejected_input: field required");
        submit(422, detail("content_policy_violation", "flagged"), "refused, moderated: flagged");
        submit(404, json!({"detail": "Application not found"}), "refused, provider_failed: Application not found");
        submit(429, json!({"detail": "Queue is full"}), &format!("refused, throttled: {NOT_SERVED}"));
        submit(504, json!({"detail": "Request timed out", "error_type": "request_timeout"}), "lost, server_error");
        submit(499, json!({"detail": "Client cancelled", "error_type": "client_cancelled"}), "lost, server_error");
    }

    #[test]
    fn completed_is_not_yet_success() {
        let poll = |status, body, expected: &str| check("fal", Asked::Poll, &reply(status, body), expected);
        poll(202, with(queue("IN_QUEUE"), json!({"queue_position": 0})), "running, 0 before it");
        poll(202, with(queue("IN_PROGRESS"), json!({"logs": [], "metrics": {}})), "running");
        poll(200, with(queue("COMPLETED"), json!({"logs": [], "metrics": {"inference_time": 17.79}})), "to be fetched");
        poll(200, with(queue("COMPLETED"), json!({"error": null})), "to be fetched");
        let ended = |error_type: &str| with(queue("COMPLETED"), json!({"error": "It did not start", "error_type": error_type}));
        poll(200, ended("startup_timeout"), "provider_failed: It did not start");
        poll(200, ended("runner_disconnected"), "provider_failed: It did not start");
        poll(200, ended("something_new"), "provider_failed: It did not start");
        poll(200, ended("bad_request"), "rejected_input: It did not start");
        poll(200, ended("client_cancelled"), "canceled");
        poll(200, with(queue("COMPLETED"), json!({"error": "no type"})), "provider_failed: no type");
        poll(404, json!({"status": "NOT_FOUND"}), "unclear: HTTP status 404");
        poll(200, json!({"status": "NOT_FOUND"}), "unclear: the status `NOT_FOUND` is not in the manifest");
    }

    #[test]
    fn the_results_answer_as_the_model_did() {
        let result = |status, body, expected: &str| check("fal", Asked::Results, &reply(status, body), expected);
        let image =
            |name: &str| json!({"url": format!("https://v3.fal.media/files/{name}"), "content_type": "image/png", "width": 1024});
        result(
            200,
            json!({"images": [image("a")], "seed": 7, "has_nsfw_concepts": [false]}),
            "succeeded https://v3.fal.media/files/a",
        );
        result(
            200,
            json!({"images": [image("a"), image("b")]}),
            "succeeded https://v3.fal.media/files/a https://v3.fal.media/files/b",
        );
        result(200, json!({"image": image("a"), "seed": 7}), "succeeded https://v3.fal.media/files/a");
        result(200, json!({"video": image("a.mp4")}), "succeeded https://v3.fal.media/files/a.mp4");
        result(200, json!({"images": []}), NO_RESULT);
        result(200, json!({"images": [{"url": "data:image/png;base64,AAAA"}]}), "succeeded 3 bytes");
        result(200, json!("<html>"), NO_RESULT);
        result(
            422,
            detail("content_policy_violation", "flagged by a content checker"),
            "moderated: flagged by a content checker",
        );
        result(422, detail("image_too_small", "too small"), "rejected_input: too small");
        result(422, detail("value_error.missing", "field required"), "rejected_input: field required");
        result(500, detail("internal_server_error", "it broke"), "provider_failed: it broke");
        result(504, json!({"detail": "Request timed out", "error_type": "request_timeout"}), "unclear: HTTP status 504");
        result(200, detail("content_policy_violation", "flagged"), "moderated: flagged");
    }

    #[test]
    fn a_result_that_could_not_be_asked_for_is_not_a_failed_job() {
        let result = |status, body, expected: &str| check("fal", Asked::Results, &reply(status, body), expected);
        for status in [500, 502, 503, 504] {
            result(status, json!("<html>Bad gateway</html>"), &format!("unclear: HTTP status {status}"));
        }
        for status in [401, 403, 408, 429] {
            result(status, json!({"detail": "not now"}), &format!("unclear: HTTP status {status}"));
        }
        result(404, json!({"status": "NOT_FOUND"}), "unclear: HTTP status 404");
    }

    #[test]
    fn a_requested_cancellation_is_not_yet_a_cancellation() {
        let cancel =
            |status, word: &str, expected: &str| check("fal", Asked::Cancel, &reply(status, json!({"status": word})), expected);
        cancel(200, "OK", "canceled");
        cancel(202, "CANCELLATION_REQUESTED", "unclear: the cancel was noted");
        cancel(400, "ALREADY_COMPLETED", "unclear: HTTP status 400");
        cancel(404, "NOT_FOUND", "unclear: HTTP status 404");
        cancel(500, "OK", "unclear: HTTP status 500");
    }

    #[test]
    fn webhooks_speak_their_own_words() {
        let webhook =
            |status: &str, more| with(json!({"request_id": "123e", "gateway_request_id": "123e", "status": status}), more);
        let image = json!({"url": "https://v3.fal.media/files/a", "content_type": "image/png"});
        let check = |body: &Value, expected: &str| check_callback("fal", body, expected);
        check(&webhook("OK", json!({"payload": {"images": [image], "seed": 7}})), "succeeded https://v3.fal.media/files/a");
        check(&webhook("OK", json!({"payload": {"image": image}})), "succeeded https://v3.fal.media/files/a");
        let unserializable = "Response payload is not JSON serializable.";
        check(
            &webhook("OK", json!({"payload": null, "payload_error": unserializable})),
            "unclear: the callback leaves the outcome open",
        );
        check(&webhook("OK", json!({"payload": {}})), "unclear: a success without results");
        let error = |payload: Value| webhook("ERROR", json!({"error": "Invalid status code: 422", "payload": payload}));
        check(&error(detail("value_error.missing", "field required")), "rejected_input: field required");
        check(&error(detail("content_policy_violation", "flagged")), "moderated: flagged");
        check(&error(json!({"detail": "it broke"})), "provider_failed: it broke");
        check(&error(Value::Null), "provider_failed: Invalid status code: 422");
        check(
            &webhook("ERROR", json!({"payload": null, "payload_error": unserializable})),
            "unclear: the callback leaves the outcome open",
        );
        // The words of the queue are not the words of its webhooks.
        check(&webhook("COMPLETED", json!({})), "unclear: the status `COMPLETED` is not in the manifest");
        check(&json!({"request_id": "123e"}), "unclear: no status");
    }
}

#[test]
fn nothing_secret_or_endless_reaches_the_customer() {
    let text = "x".repeat(2_000);
    let long = reply(422, json!({"detail": text}));
    check("replicate", Asked::Submit, &long, &format!("refused, rejected_input: {}", &text[..Failure::MESSAGE_CHARS]));
    let word = reply(200, json!({"status": text}));
    check("replicate", Asked::Poll, &word, &format!("unclear: the status `{}` is not in the manifest", &text[..40]));
}

#[test]
fn a_link_gets_the_parameters_that_it_lacks() {
    let catalog = Catalog::built_in().expect("loads");
    let http = catalog.provider("gemini").and_then(|manifest| manifest.http()).expect("an HTTP provider");
    let reader = Reader { http, api: &http.apis["interactions"] };
    let file = "https://generativelanguage.googleapis.com/v1beta/files/x:download";
    for (uri, link) in [("", "?alt=media"), ("?alt=media", "?alt=media"), ("?read=1", "?read=1&alt=media")] {
        let video = json!({"type": "video", "uri": format!("{file}{uri}")});
        let body = json!({"status": "completed", "steps": [{"type": "model_output", "content": [video]}]});
        assert_eq!(in_words(reader.poll(&reply(200, body))), format!("succeeded {file}{link}"));
    }
}
