//! `darkroom upload`, `darkroom assets` and `darkroom boxes`: the files of the key's account, in a darkroom that runs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use shared::api::{AssetList, AssetView, BoxList, BoxView};
use shared::ids::{AssetId, BoxId};

use super::answer::{Asked, Paging, or_dash};
use super::job::read_files;
use super::models::print_table;
use super::progress;

/// Arguments of `darkroom upload`.
#[derive(clap::Args)]
#[command(after_help = "Example: darkroom upload events/media/photo.jpg events/media/video.mp4")]
pub(super) struct Upload {
    /// JPEG, PNG or WebP images, MP4, QuickTime or WebM videos.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// A box to put them into.
    #[arg(long = "box", value_name = "BOX")]
    box_id: Option<BoxId>,
    #[command(flatten)]
    asked: Asked,
}

/// Arguments of `darkroom assets`.
#[derive(Subcommand)]
pub(super) enum Assets {
    /// List them, newest first.
    List {
        /// Only what is in this box.
        #[arg(long = "box", value_name = "BOX")]
        box_id: Option<BoxId>,
        /// Only `image`, `video`, `text` or `json`.
        #[arg(long)]
        kind: Option<String>,
        /// Only `uploaded`, `generated` or `derived`.
        #[arg(long)]
        source: Option<String>,
        #[command(flatten)]
        paging: Paging,
        #[command(flatten)]
        asked: Asked,
    },
    /// Show one.
    Show {
        /// `asset_…`
        id: AssetId,
        #[command(flatten)]
        asked: Asked,
    },
    /// Save one.
    Download {
        /// `asset_…`
        id: AssetId,
        /// Where to [default: its file name, or its id, in this folder].
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        #[command(flatten)]
        asked: Asked,
    },
    /// Put one into a box, or take it out of its box.
    Move {
        /// `asset_…`
        id: AssetId,
        /// The box; without it, it is in none.
        #[arg(long = "box", value_name = "BOX")]
        box_id: Option<BoxId>,
        #[command(flatten)]
        asked: Asked,
    },
}

/// Arguments of `darkroom boxes`.
#[derive(Subcommand)]
pub(super) enum Boxes {
    /// List them, newest first.
    List {
        #[command(flatten)]
        paging: Paging,
        #[command(flatten)]
        asked: Asked,
    },
    /// Make one.
    Create {
        name: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Call it otherwise.
    Rename {
        /// `box_…`
        id: BoxId,
        name: String,
        #[command(flatten)]
        asked: Asked,
    },
    /// Remove it.
    Remove {
        /// `box_…`
        id: BoxId,
        /// What becomes of what is in it: `keep` or `erase`; without it, a box that is not empty stays.
        #[arg(long, value_name = "WHAT")]
        content: Option<String>,
        #[command(flatten)]
        asked: Asked,
    },
}

pub(super) async fn upload(upload: Upload) -> Result<()> {
    let (inputs, files) = read_files(&upload.files)?;
    let client = upload.asked.running.client()?;
    let bar = progress::bar(upload.asked.json);
    let mut assets = Vec::with_capacity(files.len());
    let count = u64::try_from(files.len())?;
    for (number, (input, (filename, file))) in (0..).zip(inputs.iter().zip(files)) {
        bar.set_message(format!("uploading {}", input.path));
        bar.set_position(number * 100 / count);
        let asset = client.upload(&filename, input.content_type, file, upload.box_id).await;
        let asset = asset.map_err(|error| upload.asked.running.explain(error));
        assets.push(asset.with_context(|| format!("`{}` cannot be uploaded", input.path))?);
    }
    bar.finish_and_clear();
    upload.asked.show(json!({ "assets": assets }), |_: Value| print_assets(&assets))
}

pub(super) async fn run(assets: Assets) -> Result<()> {
    match assets {
        Assets::List { box_id, kind, source, paging, asked } => {
            let mut path = paging.of("/v1/assets");
            let box_id = box_id.map(|id| id.to_string());
            for (name, value) in [("box", box_id), ("kind", kind), ("source", source)] {
                if let Some(value) = value {
                    path.push('&');
                    path.push_str(&url::form_urlencoded::Serializer::new(String::new()).append_pair(name, &value).finish());
                }
            }
            let answer: Value = asked.running.call(async |client| client.get(&path).await).await?;
            asked.show(answer, |AssetList { assets, next_cursor }| {
                print_assets(&assets);
                Paging::more(next_cursor.as_deref());
            })
        }
        Assets::Show { id, asked } => {
            let answer: Value = asked.running.call(async |client| client.get(&format!("/v1/assets/{id}")).await).await?;
            asked.show(answer, |asset: AssetView| print_assets(&[asset]))
        }
        Assets::Download { id, out, asked } => download(id, out, asked).await,
        Assets::Move { id, box_id, asked } => {
            let (path, change) = (format!("/v1/assets/{id}"), json!({ "box_id": box_id }));
            let answer: Value = asked.running.call(async |client| client.patch(&path, &change).await).await?;
            asked.show(answer, |asset: AssetView| print_assets(&[asset]))
        }
    }
}

async fn download(id: AssetId, out: Option<PathBuf>, asked: Asked) -> Result<()> {
    let answer: Value = asked.running.call(async |client| client.get(&format!("/v1/assets/{id}")).await).await?;
    let asset: AssetView = serde_json::from_value(answer.clone())?;
    let Some(url) = &asset.url else { bail!("`{id}` has no file: its status is `{}`", word(asset.status)) };
    // A name of the customer's is no path.
    let own_name = asset.filename.as_deref().and_then(|name| Path::new(name).file_name()).map(PathBuf::from);
    let extension = asset.content_type.as_deref().and_then(|kind| kind.split([';', '/']).nth(1)).unwrap_or("bin");
    let path = out.or(own_name).unwrap_or_else(|| PathBuf::from(format!("{id}.{extension}")));
    let file = asked.running.client()?.download(url).await?;
    std::fs::write(&path, &file).with_context(|| format!("`{}` cannot be written", path.display()))?;
    asked.show(answer, |_: Value| println!("saved {} ({} bytes)", path.display(), file.len()))
}

pub(super) async fn run_boxes(boxes: Boxes) -> Result<()> {
    match boxes {
        Boxes::List { paging, asked } => {
            let path = paging.of("/v1/boxes");
            let answer: Value = asked.running.call(async |client| client.get(&path).await).await?;
            asked.show(answer, |BoxList { boxes, next_cursor }| {
                print_boxes(&boxes);
                Paging::more(next_cursor.as_deref());
            })
        }
        Boxes::Create { name, asked } => {
            let body = json!({ "name": name });
            let answer: Value = asked.running.call(async |client| client.post("/v1/boxes", &body, &[]).await).await?;
            asked.show(answer, |own: BoxView| print_boxes(&[own]))
        }
        Boxes::Rename { id, name, asked } => {
            let (path, body) = (format!("/v1/boxes/{id}"), json!({ "name": name }));
            let answer: Value = asked.running.call(async |client| client.patch(&path, &body).await).await?;
            asked.show(answer, |own: BoxView| print_boxes(&[own]))
        }
        Boxes::Remove { id, content, asked } => {
            let content = content.map(|content| format!("?content={content}")).unwrap_or_default();
            asked.running.call(async |client| client.erase(&format!("/v1/boxes/{id}{content}")).await).await?;
            println!("removed {id}");
            Ok(())
        }
    }
}

/// The word that the API has for it.
fn word(value: impl serde::Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
}

fn print_assets(assets: &[AssetView]) {
    let mut rows = vec![["ASSET", "STATUS", "SOURCE", "TYPE", "BYTES", "SIZE", "SECONDS", "NAME"].map(str::to_owned)];
    for asset in assets {
        let seconds =
            asset.media.as_ref().and_then(|media| media.duration_ms).map(|ms| format!("{}.{}", ms / 1_000, ms % 1_000 / 100));
        rows.push([
            asset.id.to_string(),
            word(asset.status),
            word(asset.source),
            or_dash(asset.content_type.as_ref()),
            or_dash(asset.bytes),
            or_dash(asset.media.as_ref().map(|media| format!("{}x{}", media.width, media.height))),
            or_dash(seconds),
            or_dash(asset.filename.as_ref()),
        ]);
    }
    print_table(&rows);
}

fn print_boxes(boxes: &[BoxView]) {
    let mut rows = vec![["BOX", "MADE AT", "NAME"].map(str::to_owned)];
    for own in boxes {
        rows.push([own.id.to_string(), own.created_at.to_string(), or_dash(own.name.as_ref())]);
    }
    print_table(&rows);
}
