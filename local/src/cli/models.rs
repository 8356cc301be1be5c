//! `darkroom models`.

use anyhow::Result;
use shared::api::{ModelList, ModelView};
use shared::catalog::Catalog;

/// Arguments of `darkroom models`.
#[derive(clap::Args)]
pub(super) struct Models {
    /// Print what `GET /v1/models` answers.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Models) -> Result<()> {
    let models: Vec<ModelView> = Catalog::built_in()?.models().map(|model| ModelView::from(&**model)).collect();
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&ModelList { models })?);
        return Ok(());
    }
    println!("{:<44} {:<6} {:<16} {:<7} ALIASES", "MODEL", "KIND", "CREDITS", "TAKES");
    for model in models {
        let kind = serde_json::to_value(model.kind)?;
        let kind = kind.as_str().unwrap_or_default();
        let price = match &model.price.per {
            Some(per) => format!("{} x {per}", model.price.credits),
            None => model.price.credits.to_string(),
        };
        let takes = if model.params.to_string().contains(r#""format":"asset""#) { "images" } else { "text" };
        println!("{:<44} {kind:<6} {price:<16} {takes:<7} {}", model.name, model.aliases.join(", "));
    }
    Ok(())
}
