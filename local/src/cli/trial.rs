//! `darkroom test-image` and `darkroom test-video`: one generation of one model through the whole product.

use anyhow::{Result, anyhow};
use shared::api::{CreateGeneration, ModelView, PromptSyntax};
use tracing_subscriber::filter::LevelFilter;

use super::job::{self, Job};
use super::trial_params::Wishes;

/// Arguments of `darkroom test-image`.
#[derive(clap::Args)]
pub(super) struct Trial {
    /// A model or chain from `darkroom models`; unless given the chain `image` (`edit` with `--image`), or `video`.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// What to make; a fitting sentence unless given. Simulated providers take requests for trouble, such as `[[fail]]`.
    #[arg(long, value_name = "TEXT")]
    prompt: Option<String>,
    #[command(flatten)]
    job: Job,
}

/// Arguments of `darkroom test-video`.
#[derive(clap::Args)]
pub(super) struct VideoTrial {
    #[command(flatten)]
    pub(super) trial: Trial,
    /// How long the video is to be, where the model can be told.
    #[arg(long, value_name = "SECONDS")]
    pub(super) duration: Option<u32>,
}

/// Which of the two commands it is.
#[derive(Clone, Copy)]
pub(super) enum Wanted {
    Image,
    Video { duration: Option<u32> },
}

pub(super) async fn run(arguments: Trial, wanted: Wanted) -> Result<()> {
    arguments.job.common.start_logging(LevelFilter::WARN, None);
    let files = job::read_files(&arguments.job.images)?;
    let darkroom = job::find(&arguments.job).await?;
    let models = darkroom.client.models().await?.models;
    let model = choose(&models, &arguments, wanted)?;
    let duration_s = match wanted {
        Wanted::Image => None,
        Wanted::Video { duration } => duration,
    };
    let params = arguments.job.params.clone().unwrap_or_default();
    let wishes = Wishes { prompt: arguments.prompt.clone(), duration_s, params, make_up: true };
    let asked = |params| CreateGeneration {
        model: Some(model.name.clone()),
        tool: None,
        params,
        quote: None,
        box_id: None,
        prompt_syntax: PromptSyntax::Plain,
    };
    job::run(&arguments.job, &darkroom, model, files, &wishes, asked).await
}

fn choose<'a>(models: &'a [ModelView], arguments: &Trial, wanted: Wanted) -> Result<&'a ModelView> {
    let name = match (&arguments.model, wanted) {
        (Some(name), _) => name,
        (None, Wanted::Image) if arguments.job.images.is_empty() => "image",
        (None, Wanted::Image) => "edit",
        (None, Wanted::Video { .. }) => "video",
    };
    let found = models.iter().find(|model| model.name == *name || model.aliases.iter().any(|alias| alias == name));
    found.ok_or_else(|| {
        let alike: Vec<&str> = models.iter().map(|model| model.name.as_str()).filter(|own| own.contains(name)).take(5).collect();
        match alike.as_slice() {
            [] => anyhow!("there is no model `{name}`; `darkroom models` lists them"),
            alike => anyhow!("there is no model `{name}`; is one of these meant: {}?", alike.join(", ")),
        }
    })
}
