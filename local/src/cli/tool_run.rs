//! `darkroom run`: a tool on files of this machine.

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value};
use shared::api::{CreateGeneration, ModelView, PromptSyntax, ToolView};
use tracing_subscriber::filter::LevelFilter;

use super::job::{self, Job};
use super::models::print_table;
use super::trial_params::Wishes;

/// Arguments of `darkroom run`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  \
    darkroom run create --prompt \"a lighthouse in the fog\" --set format=landscape\n  \
    darkroom run add_text --image events/media/photo.jpg --prompt \"Кофе ☕\" --set wishes=\"крупный белый текст снизу\"\n  \
    darkroom run face_swap --image source_face=events/media/portrait.jpg --image target_photo=events/media/photo.jpg\n  \
    darkroom run analyze --image events/media/video.mp4")]
pub(super) struct Run {
    /// Which tool; without one they are listed.
    tool: Option<String>,
    /// What to make; it goes to the tool's `prompt`, `text`, `description` or `instruction`, whichever comes first.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    /// The prompt says more: `prompt | model=… | size=… | aspect_ratio=… | negative=…`.
    #[arg(long)]
    extended: bool,
    /// One of the tool's models, or another one that makes the same kind of thing.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// A parameter of the tool; may be repeated. Numbers, `true` and `false` are taken as such.
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = parameter)]
    set: Vec<(String, Value)>,
    #[command(flatten)]
    job: Job,
}

fn parameter(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("write `{text}` as NAME=VALUE"))?;
    let plain = || Value::from(value);
    let value = match serde_json::from_str(value) {
        Ok(value @ (Value::Bool(_) | Value::Number(_) | Value::Object(_) | Value::Array(_))) => value,
        Ok(Value::Null | Value::String(_)) | Err(_) => plain(),
    };
    Ok((name.to_owned(), value))
}

pub(super) async fn run(arguments: Run) -> Result<()> {
    arguments.job.common.start_logging(LevelFilter::WARN, None);
    let files = job::read_files(&arguments.job.images)?;
    let darkroom = job::find(&arguments.job).await?;
    let tools = darkroom.client.tools().await?.tools;
    let Some(name) = &arguments.tool else {
        list(&tools);
        return Ok(());
    };
    let tool = tools.iter().find(|tool| tool.name == *name);
    let names = || tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>().join(", ");
    let tool = tool.ok_or_else(|| anyhow!("there is no tool `{name}`; there are {}", names()))?;
    let wishes = wishes(tool, &arguments)?;
    let asked = |params| CreateGeneration {
        model: arguments.model.clone(),
        tool: Some(tool.name.clone()),
        params,
        quote: None,
        box_id: None,
        prompt_syntax: if arguments.extended { PromptSyntax::Extended } else { PromptSyntax::Plain },
    };
    job::run(&arguments.job, &darkroom, &as_model(tool), files, &wishes, asked).await
}

/// The parameters as they were written, and the prompt where the tool has its text.
fn wishes(tool: &ToolView, arguments: &Run) -> Result<Wishes> {
    let mut params: Map<String, Value> = arguments.job.params.clone().unwrap_or_default();
    params.extend(arguments.set.iter().cloned());
    let known = |name: &str| tool.params.pointer(&format!("/properties/{name}")).is_some();
    if let Some(prompt) = &arguments.prompt {
        let Some(place) = ["prompt", "text", "description", "instruction"].into_iter().find(|name| known(name)) else {
            bail!("the tool `{}` takes no text; leave out `--prompt`", tool.name);
        };
        params.insert(place.to_owned(), Value::from(prompt.as_str()));
    }
    Ok(Wishes { prompt: None, duration_s: None, params, make_up: false })
}

fn as_model(tool: &ToolView) -> ModelView {
    ModelView {
        name: tool.name.clone(),
        provider: String::new(),
        kind: tool.kind,
        aliases: Vec::new(),
        description: tool.description.clone(),
        params: tool.params.clone(),
        price: tool.price.clone(),
        languages: Vec::new(),
        chain: Vec::new(),
    }
}

fn list(tools: &[ToolView]) {
    let mut rows = vec![["TOOL", "CREDITS", "WHAT IT DOES"].map(str::to_owned)];
    for tool in tools {
        rows.push([tool.name.clone(), tool.price.credits.to_string(), tool.description.clone().unwrap_or_default()]);
    }
    print_table(&rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_they_look_like() {
        for (text, value) in [
            ("format=landscape", Value::from("landscape")),
            ("duration=10", Value::from(10)),
            ("keep_video=true", Value::from(true)),
            ("wishes=a=b", Value::from("a=b")),
            ("text=\"quoted\"", Value::from("\"quoted\"")),
            ("text=", Value::from("")),
            ("text=null", Value::from("null")),
        ] {
            assert_eq!(parameter(text).expect(text).1, value, "{text}");
        }
        assert!(parameter("landscape").expect_err("no name").contains("NAME=VALUE"));
    }
}
