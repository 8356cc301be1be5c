//! What the HTTP API takes and gives, as JSON.

use crate::catalog::Params;

mod account;
mod accounts;
mod admin;
mod boxes;
mod by_hand;
mod credits;
mod erasure;
mod generations;
mod keys;
mod media;
mod models;
mod problem;
mod quotes;
mod status;

pub use account::{AccountView, EndingView, EntryView, LedgerQuery, LedgerView};
pub use accounts::{AccountList, ActionList, ActionView, ChangeAccount, ChangeLimits, CreateAccount};
pub use admin::{
    CatalogChange, CatalogEntryList, CatalogEntryView, FailurePolicyView, KeyHealth, KeyHealthView, ProviderList, ProviderSource,
    ProviderView, ReconciliationList,
};
pub use boxes::{BoxList, BoxStatus, BoxView, CreateBox, RenameBox};
pub use by_hand::{AttemptKeyView, FundsOfGrant, FundsView, GenerationActionView, OperatorsGeneration, WithReason};
pub use credits::{AddCredits, AddedCredits};
pub use erasure::ErasureView;
pub use generations::{
    AttemptError, AttemptView, ChargeReason, ChargeView, CreateGeneration, CreatedGeneration, ErrorView, GenerationList,
    GenerationView, PromptSyntax, ResolutionView, ResultView, Status, UnconfirmedView,
};
pub use keys::{CreateKey, CreatedKey, KeyList, KeyView, RotateKey};
pub use media::{AssetError, AssetList, AssetSource, AssetStatus, AssetView, ChangeAsset, CreateUpload, CreatedUpload};
pub use models::{ModelList, ModelView, ToolList, ToolModelView, ToolView};
pub use problem::Problem;
pub use quotes::{CreateQuote, CreatedQuote};
pub use status::{DueView, QueueView, RedriveView, StatusView, StuckView};

fn compiled(schema: &str) -> Params {
    compiled_value(&serde_json::from_str(schema).expect("the schema is JSON, as the tests show"))
}

fn compiled_value(schema: &serde_json::Value) -> Params {
    Params::compile(schema).expect("the schema compiles, as the tests show")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_shapes_compile() {
        let given = serde_json::json!({"model": "placeholder", "params": {}});
        assert!(CreateGeneration::shape().check("", given.as_object().expect("an object")).is_ok());
        assert!(CreateQuote::shape().check("", given.as_object().expect("an object")).is_ok());
        let given = serde_json::json!({"content_type": "image/png", "bytes": 1});
        assert!(WithReason::shape().check("", given.as_object().expect("an object")).is_err());
        assert!(CreateUpload::shape().check("", given.as_object().expect("an object")).is_ok());
        let given = serde_json::json!({"name": "holiday"});
        for shape in [CreateBox::shape(), RenameBox::shape()] {
            assert!(shape.check("", given.as_object().expect("an object")).is_ok());
        }
        let nothing = serde_json::Map::new();
        for shape in
            [CreateAccount::shape(), ChangeAccount::shape(), CreateKey::shape(), RotateKey::shape(), ChangeAsset::shape()]
        {
            assert!(shape.check("", &nothing).is_ok());
        }
        let given = serde_json::json!({"amount": -1, "reason": "a mistake"});
        assert!(AddCredits::shape().check("", given.as_object().expect("an object")).is_ok());
    }
}
