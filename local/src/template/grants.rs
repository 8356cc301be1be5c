//! What the policies of a function grant.

use serde::Deserialize;
use serde_json::Value as Json;

use super::{Grant, TemplateError};

/// Reads `Policies`: documents with statements. SAM's own policy templates and managed policies are not understood.
pub(super) fn read(policies: &[Json], path: &str) -> Result<Vec<Grant>, TemplateError> {
    let path = format!("{path}.Properties.Policies");
    let invalid = |problem: String| TemplateError::Invalid { path: path.clone(), problem };
    let mut grants = Vec::new();
    for policy in policies {
        let document: Document = serde_json::from_value(policy.clone()).map_err(|error| invalid(error.to_string()))?;
        for statement in document.statement {
            if statement.effect != "Allow" {
                return Err(invalid(format!("the effect `{}` is not checked locally", statement.effect)));
            }
            let keys = statement.condition.map(|condition| condition.for_all_values_string_like.leading_keys);
            grants.push(Grant {
                actions: statement.action.into_list(),
                resources: statement.resource.into_list(),
                leading_keys: keys.map(OneOrMany::into_list),
            });
        }
    }
    Ok(grants)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "Version")]
    _version: String,
    statement: Vec<Statement>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Statement {
    effect: String,
    action: OneOrMany,
    resource: OneOrMany,
    condition: Option<Condition>,
}

/// The one condition that is checked locally.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Condition {
    #[serde(rename = "ForAllValues:StringLike")]
    for_all_values_string_like: StringLike,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StringLike {
    #[serde(rename = "dynamodb:LeadingKeys")]
    leading_keys: OneOrMany,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_list(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}
