//! Where each provider's body carries its prompt.

use serde_json::Value;

/// The prompt of a submit's body or of its input, empty when there is none. Of a conversation it is the last message's text.
pub(super) fn prompt_of(body: &Value) -> String {
    let texts = [
        // Replicate's input, fal, MiniMax, WaveSpeed, Stability, OpenAI's and OpenRouter's images and videos.
        body.get("prompt"),
        // Kie.
        body.pointer("/input/prompt"),
        // Hugging Face: the picture is in `inputs` where the prompt is a parameter.
        body.pointer("/parameters/prompt"),
        body.get("inputs"),
        // MiniMax v2.
        body.get("content"),
        // Chats.
        last(body.get("messages")),
        // Gemini: answers and videos.
        last(body.get("contents")),
        body.pointer("/instances/0/prompt"),
        // Gemini's interactions and OpenAI's responses.
        body.get("input"),
        // Stability v1: the first one; others may be negative.
        body.pointer("/text_prompts/0"),
    ];
    texts.into_iter().flatten().map(text_of).find(|text| !text.is_empty()).unwrap_or_default()
}

fn last(list: Option<&Value>) -> Option<&Value> {
    list.and_then(Value::as_array).and_then(|items| items.last())
}

/// The text itself, or those of its parts.
pub(super) fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<String> = parts.iter().map(text_of_part).filter(|text| !text.is_empty()).collect();
            texts.join("\n")
        }
        Value::Object(_) => text_of_part(value),
        Value::Null | Value::Bool(_) | Value::Number(_) => String::new(),
    }
}

fn text_of_part(part: &Value) -> String {
    ["text", "content", "parts"].into_iter().filter_map(|name| part.get(name)).map(text_of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn prompt_is_found_in_every_providers_body() {
        let image = json!({"type": "image_url", "image_url": {"url": "https://x/y.png"}});
        for body in [
            json!({"prompt": "a fox", "image": "https://x/y.png"}),
            json!({"model": "m", "input": {"prompt": "a fox"}}),
            json!({"inputs": "a fox", "parameters": {"seed": 1}}),
            json!({"inputs": "iVBORw0KGgo", "parameters": {"prompt": "a fox"}}),
            json!({"content": [{"type": "text", "text": "a fox"}, image]}),
            json!({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "a fox"}]}),
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a fox"}, image]}]}),
            json!({"contents": [{"role": "user", "parts": [{"inlineData": {"data": "AA=="}}, {"text": "a fox"}]}]}),
            json!({"instances": [{"prompt": "a fox"}]}),
            json!({"input": "a fox"}),
            json!({"input": [{"type": "image", "data": "AA=="}, {"type": "text", "text": "a fox"}]}),
            json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "a fox"}]}]}),
            json!({"text_prompts": [{"text": "a fox", "weight": 1}, {"text": "blurry", "weight": -1}]}),
        ] {
            assert_eq!(prompt_of(&body), "a fox", "{body}");
        }
        assert_eq!(prompt_of(&json!({"image": "x"})), "");
    }
}
