//! What template.yaml says of the functions: which there are, and their environment.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_yaml_ng::Value;

/// The key of quotes and callback addresses that every function gets here.
pub(crate) const SIGNING_SECRET: &str = "measured-with-32-characters-or-more";

/// One function of the template.
pub(crate) struct Function {
    /// Its binary, which is also its package.
    pub(crate) name: String,
    /// In megabytes.
    pub(crate) memory: u64,
    /// Its variables, with stand-ins for what AWS would put there.
    pub(crate) environment: BTreeMap<String, String>,
}

/// All functions of the template, by name.
pub(crate) fn functions(template: &Path, aws: &str) -> Result<Vec<Function>> {
    // What Lambda would unpack of the layer.
    let fonts = template.with_file_name("shared/assets/fonts");
    let text = fs::read_to_string(template).with_context(|| format!("`{}` cannot be read", template.display()))?;
    let template: Value = serde_yaml_ng::from_str(&text)?;
    let globals = &template["Globals"]["Function"];
    let resources = template["Resources"].as_mapping().context("the template has no resources")?;
    let mut functions = Vec::new();
    for resource in resources.values().filter(|resource| resource["Type"].as_str() == Some("AWS::Serverless::Function")) {
        let name = resource["Metadata"]["BuildProperties"]["Binary"].as_str().context("a function names no binary")?;
        let mut environment = BTreeMap::new();
        for variables in [globals, &resource["Properties"]].map(|place| &place["Environment"]["Variables"]) {
            for (variable, value) in variables.as_mapping().into_iter().flatten() {
                let variable = variable.as_str().context("a variable's name is no text")?;
                let value = match variable {
                    "FONTS_DIR" => fonts.display().to_string(),
                    _ => given(variable, value, &template["Parameters"], aws),
                };
                environment.insert(variable.to_owned(), value);
            }
        }
        let memory = resource["Properties"]["MemorySize"].as_u64().or_else(|| globals["MemorySize"].as_u64());
        functions.push(Function { name: name.to_owned(), memory: memory.unwrap_or(128), environment });
    }
    functions.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(functions)
}

/// A plain value, a parameter's default, or something of the right shape.
fn given(variable: &str, value: &Value, parameters: &Value, aws: &str) -> String {
    if let Some(plain) = plain(value) {
        return plain;
    }
    let named =
        if let Value::Tagged(tagged) = value { (tagged.tag == "Ref").then(|| tagged.value.as_str()).flatten() } else { None };
    let default = named.and_then(|name| plain(&parameters[name]["Default"]));
    default.unwrap_or_else(|| match variable {
        "SIGNING_SECRET" => SIGNING_SECRET.to_owned(),
        "PUBLIC_URL" => "https://api.example.com".to_owned(),
        _ if variable.ends_with("_QUEUE_URL") => format!("{aws}/123456789012/{variable}"),
        _ => "darkroom".to_owned(),
    })
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(word) => Some(word.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}
