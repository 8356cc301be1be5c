//! `darkroom erase asset | generation | account`: content erased on request in a darkroom that runs, here or on AWS.

use anyhow::Result;
use clap::Subcommand;
use shared::api::ErasureView;
use shared::ids::{AccountId, AssetId, GenerationId};

use super::catalog_remote::Running;

/// Arguments of `darkroom erase`.
#[derive(Subcommand)]
pub(super) enum Erase {
    /// Delete a file of the key's account, with its name, type and size.
    Asset {
        /// `asset_…`
        id: AssetId,
        #[command(flatten)]
        running: Running,
    },
    /// Erase what a generation of the key's account was asked for and what it delivered; it has to have ended.
    Generation {
        /// `gen_…`
        id: GenerationId,
        #[command(flatten)]
        running: Running,
    },
    /// Erase all content of an account; needs a key with the scope `admin`.
    Account {
        /// `acct_…`
        id: AccountId,
        #[command(flatten)]
        running: Running,
    },
}

/// `darkroom erase`.
pub(super) async fn run(erase: Erase) -> Result<()> {
    match erase {
        Erase::Asset { id, running } => {
            running.client()?.erase(&format!("/v1/assets/{id}")).await.map_err(|error| running.explain(error))?;
            println!("erased {id}");
        }
        Erase::Generation { id, running } => {
            let path = format!("/v1/generations/{id}/content");
            running.client()?.erase(&path).await.map_err(|error| running.explain(error))?;
            println!("erased the content of {id}");
        }
        Erase::Account { id, running } => {
            let path = format!("/v1/admin/accounts/{id}/content");
            let asked: Result<ErasureView> = running.client()?.delete(&path).await;
            let ErasureView { requested_at, .. } = asked.map_err(|error| running.explain(error))?;
            println!("all content that {id} had at {requested_at} is being erased; `GET /v1/account/content` says how far it is");
        }
    }
    Ok(())
}
