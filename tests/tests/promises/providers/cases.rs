//! One case for each API of each provider: a model of it, what it takes, and what it is known to do.

use serde_json::{Value, json};

/// What a provider tells of a job's end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Calls {
    /// Its callback proves the outcome.
    Proves,
    /// Its callback proves nothing of the outcome: the provider is asked.
    Hints,
    Never,
}

/// How results come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// In the answer to the submit.
    AtOnce,
    /// Later, by links that expire and can be had anew.
    ByLink,
    /// Later, in the answer to a poll.
    ByPoll,
}

/// One API.
pub(super) struct Case {
    /// The name of its snapshot.
    pub(super) name: &'static str,
    pub(super) provider: &'static str,
    pub(super) model: &'static str,
    /// Of its submits.
    pub(super) path: &'static str,
    /// From the prompt and a photo's asset id.
    pub(super) params: fn(&str, &str) -> Value,
    pub(super) content_type: &'static str,
    pub(super) calls: Calls,
    pub(super) answers: Answers,
    /// Whether a job can be stopped.
    pub(super) stops: bool,
    /// The class of a job that failed: `expired` where a bare server error is all that it says.
    pub(super) failed: &'static str,
    /// The class of what its content policy refused.
    pub(super) moderated: &'static str,
    /// The same of what it made and then held back, where it tells the two apart.
    pub(super) filtered: Option<&'static str>,
    /// The class of one submit too many.
    pub(super) throttled: &'static str,
    /// Whether it says how long to wait then.
    pub(super) names_the_wait: bool,
}

impl Case {
    /// Why an answer that was cut in the middle leaves the job open.
    pub(super) fn cut(&self) -> &'static str {
        // The body is the picture.
        let raw = ["stability-core", "stability-sd3", "huggingface"].contains(&self.name);
        if raw { "connection_lost" } else { "unreadable_answer" }
    }
}

/// An API with callbacks and links.
const LATER: Case = Case {
    name: "",
    provider: "",
    model: "",
    path: "",
    params: |prompt, _| json!({ "prompt": prompt }),
    content_type: "image/png",
    calls: Calls::Proves,
    answers: Answers::ByLink,
    stops: false,
    failed: "provider_failed",
    moderated: "moderated",
    filtered: None,
    throttled: "throttled",
    names_the_wait: true,
};

/// An API that answers when the work is done.
const AT_ONCE: Case = Case { calls: Calls::Never, answers: Answers::AtOnce, failed: "expired", ..LATER };

pub(super) static CASES: [Case; 22] = [
    Case {
        name: "fal",
        provider: "fal",
        model: "fal/fal-ai/nano-banana/edit",
        path: "/fal-ai/nano-banana/edit",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo], "seed": 7}),
        stops: true,
        ..LATER
    },
    Case {
        name: "replicate-models",
        provider: "replicate",
        model: "replicate/black-forest-labs/flux-kontext-pro",
        path: "/v1/models/black-forest-labs/flux-kontext-pro/predictions",
        params: |prompt, photo| json!({"prompt": prompt, "image": photo}),
        stops: true,
        ..LATER
    },
    Case {
        name: "replicate-model",
        provider: "replicate",
        model: "replicate/model",
        path: "/v1/models/black-forest-labs/flux-dev/predictions",
        params: |prompt, _| json!({"model": "black-forest-labs/flux-dev", "input": {"prompt": prompt, "output_format": "png"}}),
        stops: true,
        ..LATER
    },
    Case {
        name: "replicate-versions",
        provider: "replicate",
        model: "replicate/stability-ai/sdxl",
        path: "/v1/predictions",
        params: |prompt, _| json!({"prompt": prompt, "width": 512, "height": 512, "steps": 20}),
        content_type: "image/webp",
        stops: true,
        ..LATER
    },
    Case {
        name: "kie",
        provider: "kie",
        model: "kie/bytedance/seedance-1.5-pro",
        path: "/api/v1/jobs/createTask",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo], "resolution": "480p", "duration": 4}),
        content_type: "video/mp4",
        calls: Calls::Hints,
        names_the_wait: false,
        ..LATER
    },
    Case {
        name: "minimax-v1",
        provider: "minimax",
        model: "minimax/MiniMax-Hailuo-2.3",
        path: "/v1/video_generation",
        params: |prompt, photo| json!({"prompt": prompt, "first_frame": photo}),
        content_type: "video/mp4",
        calls: Calls::Hints,
        names_the_wait: false,
        ..LATER
    },
    Case {
        name: "minimax-v2",
        provider: "minimax",
        model: "minimax/MiniMax-H3",
        path: "/v2/video_generation",
        params: |prompt, photo| json!({"prompt": prompt, "first_frame": photo}),
        content_type: "video/mp4",
        calls: Calls::Hints,
        stops: true,
        names_the_wait: false,
        ..LATER
    },
    Case {
        name: "minimax-image",
        provider: "minimax",
        model: "minimax/image-01",
        path: "/v1/image_generation",
        params: |prompt, _| json!({"prompt": prompt, "width": 512, "height": 512}),
        content_type: "image/jpeg",
        names_the_wait: false,
        ..AT_ONCE
    },
    Case {
        name: "wavespeed",
        provider: "wavespeed",
        model: "wavespeed/wavespeed-ai/image-face-swap",
        path: "/api/v3/wavespeed-ai/image-face-swap",
        params: |_, photo| json!({"image": photo, "face": photo}),
        names_the_wait: false,
        ..LATER
    },
    Case {
        name: "stability-core",
        provider: "stability",
        model: "stability/core",
        path: "/v2beta/stable-image/generate/core",
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "stability-sd3",
        provider: "stability",
        model: "stability/sd3.5-medium/image-to-image",
        path: "/v2beta/stable-image/generate/sd3",
        params: |prompt, photo| json!({"prompt": prompt, "image": photo, "strength": 0.5}),
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "stability-upscale",
        provider: "stability",
        model: "stability/upscale/creative",
        path: "/v2beta/stable-image/upscale/creative",
        params: |prompt, photo| json!({"prompt": prompt, "image": photo}),
        calls: Calls::Never,
        answers: Answers::ByPoll,
        // Its only word for it is a server error, as one that passes: it is asked until the time is up.
        failed: "expired",
        filtered: Some("moderated"),
        ..LATER
    },
    Case {
        name: "huggingface",
        provider: "huggingface",
        model: "huggingface/stabilityai/stable-diffusion-3-medium-diffusers",
        path: "/hf-inference/models/stabilityai/stable-diffusion-3-medium-diffusers",
        params: |prompt, _| json!({"prompt": prompt, "width": 256, "height": 256}),
        // It has no answer of its own for a busy model.
        throttled: "unavailable",
        ..AT_ONCE
    },
    Case {
        name: "openai-generations",
        provider: "openai",
        model: "openai/gpt-image-2.6-flare",
        path: "/v1/images/generations",
        params: |prompt, _| json!({"prompt": prompt, "width": 1024, "height": 640, "quality": "low"}),
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "openai-edits",
        provider: "openai",
        model: "openai/gpt-image-2.6-flare/edit",
        path: "/v1/images/edits",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo, photo]}),
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "openrouter-chat",
        provider: "openrouter",
        model: "openrouter/google/gemini-3.8-flash",
        path: "/api/v1/chat/completions",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo], "system_prompt": "Be brief."}),
        content_type: "text/plain; charset=utf-8",
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "openrouter-json",
        provider: "openrouter",
        model: "openrouter/google/gemini-3.8-flash/json",
        path: "/api/v1/chat/completions",
        content_type: "application/json",
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "openrouter-images",
        provider: "openrouter",
        model: "openrouter/google/gemini-3.1-flash-image",
        path: "/api/v1/images",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo], "aspect_ratio": "1:8"}),
        ..AT_ONCE
    },
    Case {
        name: "openrouter-videos",
        provider: "openrouter",
        model: "openrouter/bytedance/seedance-1-5-pro",
        path: "/api/v1/videos",
        params: |prompt, photo| json!({"prompt": prompt, "first_frame": photo, "resolution": "480p", "duration": 4}),
        content_type: "video/mp4",
        // A failed video says why in free words.
        moderated: "provider_failed",
        ..LATER
    },
    Case {
        name: "gemini-text",
        provider: "gemini",
        model: "gemini/gemini-3.8-flash",
        path: "/v1beta/models/gemini-3.8-flash:generateContent",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo], "system_prompt": "Be brief."}),
        content_type: "text/plain; charset=utf-8",
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "gemini-image",
        provider: "gemini",
        model: "gemini/gemini-3.1-flash-image",
        path: "/v1beta/models/gemini-3.1-flash-image:generateContent",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo], "aspect_ratio": "16:9"}),
        filtered: Some("moderated"),
        ..AT_ONCE
    },
    Case {
        name: "gemini-omni",
        provider: "gemini",
        model: "gemini/gemini-omni-1.1-flash",
        path: "/v1beta/interactions",
        params: |prompt, photo| json!({"prompt": prompt, "images": [photo], "resolution": "360p", "duration": 3}),
        content_type: "video/mp4",
        calls: Calls::Never,
        stops: true,
        // Before any work it refuses as an invalid argument.
        filtered: Some("rejected_input"),
        ..LATER
    },
];

/// Takes a schema, and a video that has to be made first: only its success and its request are looked at.
pub(super) static GEMINI_JSON: Case = Case {
    name: "gemini-json",
    provider: "gemini",
    model: "gemini/gemini-3.8-flash/json",
    path: "/v1beta/models/gemini-3.8-flash:generateContent",
    params: |prompt, video| {
        let schema = json!({"type": "object", "properties": {"animal": {"type": "string"}}, "required": ["animal"]});
        json!({"prompt": prompt, "schema": schema, "video": video})
    },
    content_type: "application/json",
    filtered: Some("moderated"),
    ..AT_ONCE
};
