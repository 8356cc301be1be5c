//! Mistakes of a model.

use super::*;

#[track_caller]
fn refuses_in_paint(pointer: &str, value: Value, at: &str, reason: &str) {
    refuses(&format!("/models/0{pointer}"), value, &format!("models[0].{at}"), reason);
}

#[track_caller]
fn refuses_in_chat(pointer: &str, value: Value, at: &str, reason: &str) {
    refuses(&format!("/models/1{pointer}"), value, &format!("models[1].{at}"), reason);
}

#[test]
fn a_name_belongs_to_one_model_of_its_provider() {
    refuses_in_paint("/name", json!("paint"), "name", "it is `acme` or starts with `acme/`");
    refuses_in_paint("/name", json!("acme/paint#2"), "name", "use letters, digits");
    refuses_in_paint("/name", json!("acme//paint"), "name", "single slashes");
    refuses_in_paint("/aliases/0", json!("the painter"), "aliases[0]", "is not a name");
    refuses_in_chat("/aliases", json!(["chat", "paint"]), "aliases[1]", "the name `paint` is taken by `acme/paint`");
    refuses_in_chat("/name", json!("acme/paint"), "name", "is taken by `acme/paint`");
    refuses_in_paint("/languages/0", json!("English"), "languages[0]", "is not an ISO 639 code");
}

#[test]
fn a_model_names_one_of_the_apis() {
    refuses_in_paint("/api", json!("job"), "api", "there is no API `job`; the provider has `chat`, `jobs`");
    refuses_without("/models/0/api", "models[0].api", "is missing");
    refuses_in_paint("/kind", json!("text"), "kind", "has no `text`");
    refuses_in_chat("/kind", json!("video"), "kind", "has no `links`, `base64` or `body`");
}

#[test]
fn a_model_has_the_facts_that_its_api_needs() {
    let at = "models[0].remote.model";
    refuses_without("/models/0/remote/model", at, "`{{remote.model}}` is used in `transport.http.apis.jobs.submit.call.urls[0]`");
    refuses_in_paint("/remote/model", json!(["a"]), "remote.model", "has to be a text or a number");
    refuses_without("/models/1/params/properties/tone", "models[1].params.required[1]", "`tone` is not one of the `properties`");
    refuses_in_chat(
        "/params/required",
        json!(["prompt"]),
        "params.properties.tone",
        "has to be `required` or to have a `default`",
    );
    let mut broken = acme();
    put(&mut broken, "/models/1/params/required", json!(["prompt"]));
    remove(&mut broken, "/models/1/params/properties/tone");
    let result = manifest("acme.json", &broken.to_string()).map(drop);
    assert_refused(result, "models[1].params.properties.tone", "is used in `transport.http.apis.chat.submit.call.urls[0]`");
}

#[test]
fn parameters_are_a_closed_json_schema() {
    refuses_without("/models/0/params/additionalProperties", "models[0].params.additionalProperties", "has to be `false`");
    refuses_in_paint("/params/type", json!("array"), "params.type", "has to be `\"object\"`");
    refuses_without("/models/0/params/properties", "models[0].params.properties", "is missing");
    let count = "/params/properties/count";
    refuses_in_paint(&format!("{count}/type"), json!("intger"), "params.properties.count.type", "is not JSON Schema");
    refuses_in_paint(&format!("{count}/default"), json!(9), "params.properties.count.default", "is not a valid value");
    refuses_in_paint(&format!("{count}/maximun"), json!(9), "params.properties.count.maximun", "is not a keyword of JSON Schema");
    refuses_in_paint(
        "/params/properties/a-b",
        json!({"type": "string"}),
        "params.properties.a-b",
        "cannot be named in a template",
    );
    refuses_in_paint("/params/properties/item", json!({"type": "string"}), "params.properties.item", "choose another name");
    refuses_in_paint("/params/required/1", json!("promt"), "params.required[1]", "is not one of the `properties`");
}

#[test]
fn facts_about_media_are_well_formed() {
    let items = "/params/properties/images/items";
    let at = "params.properties.images.items";
    refuses_in_paint(&format!("{items}/x-max-bytes"), json!("5 MB"), &format!("{at}.x-max-bytes"), "is not a size");
    refuses_in_paint(
        &format!("{items}/x-content-types"),
        json!("image/png"),
        &format!("{at}.x-content-types"),
        "a list of content types",
    );
    refuses_in_paint(
        &format!("{items}/x-content-types/0"),
        json!("png"),
        &format!("{at}.x-content-types[0]"),
        "is not a content type",
    );
    refuses_in_paint(&format!("{items}/type"), json!("object"), &format!("{at}.type"), "named by their asset ids");
    refuses_in_paint(
        "/params/properties/prompt/x-max-bytes",
        json!(1),
        "params.properties.prompt.x-max-bytes",
        "is for media only",
    );
    let hidden = json!({"type": "object", "properties": {"photo": {"type": "string", "format": "asset"}}});
    let at = "params.properties.extra.properties.photo.format";
    refuses_in_paint("/params/properties/extra", hidden, at, "move it up");
}

#[test]
fn media_travel_in_a_form_that_the_template_names() {
    refuses_in_paint(
        "/input/images",
        json!(["{{images}}"]),
        "input.images[0]",
        "`images` is media; say how it travels: `images.url`",
    );
    refuses_in_paint("/input/images", json!("{{images.link}}"), "input.images", "say how it travels");
    let each = json!({"$each": "{{images}}", "$do": {"link": "{{item.link}}"}});
    refuses_in_paint("/input/images", each, "input.images.$do.link", "uses `{{images.link}}`");
    refuses_in_paint("/input/images", json!("{{images.file}}"), "input.images", "a file cannot stand in a JSON body");
    refuses_in_paint("/input/images", json!("{{images.base64}}"), "input", "use `{{images.uploaded}}` too");
    refuses_in_chat(
        "/params/properties/photo",
        json!({"type": "string", "format": "asset"}),
        "params.properties.photo",
        "is never sent",
    );
    let mut broken = acme();
    put(&mut broken, "/models/1/params/properties/photo", json!({"type": "string", "format": "asset"}));
    put(&mut broken, "/models/1/input/photo", json!("{{photo.uploaded}}"));
    assert_refused(manifest("acme.json", &broken.to_string()).map(drop), "models[1].input.photo", "its API has no `upload`");
}

#[test]
fn the_input_uses_what_there_is_and_all_of_it() {
    refuses_in_paint("/input/size", json!("{{width}}"), "input.size", "uses `{{width}}`: this is not a parameter");
    refuses_in_paint("/input/n", json!("{{count.x}}"), "input.n", "has no parts");
    refuses_without("/models/0/input/n", "models[0].params.properties.count", "is never sent");
    refuses_without("/models/0/input", "models[0].input", "is missing: its API's submit sends `{{input}}`");
    refuses_in_chat("/input/stop", json!("{{words}}!"), "input.stop", "cannot stand inside a longer text");
    refuses_in_chat("/input/url", json!("{{callback_url}}"), "input.url", "its API has no `callback`");
    refuses("/transport/http/apis/jobs/submit/call/query", json!({}), "models[0].input", "never tells `{{callback_url}}`");
    let nothing = json!({"method": "POST", "urls": ["{{base_url}}/{{params.tone}}"], "timeout_s": 9});
    refuses("/transport/http/apis/chat/submit/call", nothing, "models[1].input", "is never sent");
}

#[test]
fn a_model_beside_its_provider_is_told_from_its_own_top() {
    let provider = manifest("acme.json", &acme().to_string()).expect("fine");
    let mut spec = acme()["models"][0].clone();
    put(&mut spec, "/name", json!("acme/other"));
    let read = |spec: &Value| serde_json::from_value::<ModelSpec>(spec.clone()).expect("of the right shape");
    model(&provider, &read(&spec)).expect("fine");
    remove(&mut spec, "/remote/model");
    assert_refused(model(&provider, &read(&spec)), "remote.model", "is missing");
    put(&mut spec, "/name", json!("other/paint"));
    assert_refused(model(&provider, &read(&spec)), "name", "starts with `acme/`");
}
