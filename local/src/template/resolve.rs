//! Turns a part of the template into plain JSON: intrinsics become what they stand for in this process.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use serde_yaml_ng::Value as Yaml;

use super::{LocalValues, TemplateError};

/// The region and account that local ARNs and events carry.
pub const REGION: &str = "us-east-1";
pub const ACCOUNT_ID: &str = "000000000000";
/// The id of the API in local events.
pub const API_ID: &str = "local";

/// The ARN a queue, function, rule, … has in local events.
pub fn arn(service: &str, resource: &str) -> String {
    match service {
        "s3" => format!("arn:aws:s3:::{resource}"),
        _ => format!("arn:aws:{service}:{REGION}:{ACCOUNT_ID}:{resource}"),
    }
}

pub(super) struct Resolver<'a> {
    parameters: BTreeMap<String, Json>,
    /// Logical id to resource type.
    types: BTreeMap<String, String>,
    values: &'a LocalValues,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(root: &Yaml, values: &'a LocalValues) -> Result<Self, TemplateError> {
        let mut parameters = BTreeMap::new();
        for (name, declaration) in super::entries(root, "Parameters")? {
            let path = format!("Parameters.{name}");
            let given = values.parameters.get(name).cloned().map(Json::String);
            let default = declaration.get("Default").map(plain).transpose().map_err(|problem| invalid(&path, problem))?;
            if let Some(value) = given.or(default) {
                let kind = declaration.get("Type").and_then(Yaml::as_str).unwrap_or("String");
                parameters.insert(name.to_owned(), typed(kind, value, &path)?);
            }
        }
        let mut types = BTreeMap::new();
        for (name, resource) in super::entries(root, "Resources")? {
            let kind = resource.get("Type").and_then(Yaml::as_str);
            let kind = kind.ok_or_else(|| TemplateError::Missing { path: format!("Resources.{name}.Type") })?;
            types.insert(name.to_owned(), kind.to_owned());
        }
        let resolver = Self { parameters, types, values };
        match values.parameters.keys().find(|name| root.get("Parameters").and_then(|all| all.get(name.as_str())).is_none()) {
            Some(name) => Err(TemplateError::UnknownParameter { name: name.clone() }),
            None => Ok(resolver),
        }
    }

    /// `value` without intrinsics; `path` is where it stands in the template, for errors.
    pub(super) fn resolve(&self, value: &Yaml, path: &str) -> Result<Json, TemplateError> {
        match value {
            Yaml::Tagged(tagged) => self.intrinsic(tagged.tag.to_string().trim_start_matches('!'), &tagged.value, path),
            Yaml::Sequence(items) => {
                let items = items.iter().enumerate();
                items.map(|(index, item)| self.resolve(item, &format!("{path}[{index}]"))).collect()
            }
            Yaml::Mapping(map) => {
                let mut object = serde_json::Map::new();
                for (key, item) in map {
                    let key = key.as_str().ok_or_else(|| invalid(path, format!("the key {key:?} is not text")))?;
                    if map.len() == 1 && (key == "Ref" || key.starts_with("Fn::")) {
                        return self.intrinsic(key.trim_start_matches("Fn::"), item, path);
                    }
                    object.insert(key.to_owned(), self.resolve(item, &format!("{path}.{key}"))?);
                }
                Ok(Json::Object(object))
            }
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::String(_) => {
                plain(value).map_err(|problem| invalid(path, problem))
            }
        }
    }

    fn intrinsic(&self, name: &str, argument: &Yaml, path: &str) -> Result<Json, TemplateError> {
        let text = |value: &Yaml| {
            let text = value.as_str().map(str::to_owned);
            text.ok_or_else(|| invalid(path, format!("`{name}` takes text")))
        };
        match (name, argument) {
            ("Ref", argument) => self.reference(&text(argument)?, path),
            ("GetAtt", Yaml::Sequence(parts)) => {
                let parts: Vec<String> = parts.iter().map(text).collect::<Result<_, _>>()?;
                self.attribute(&parts.join("."), path)
            }
            ("GetAtt", argument) => self.attribute(&text(argument)?, path),
            ("Sub", Yaml::Sequence(parts)) => match parts.as_slice() {
                [pattern, Yaml::Mapping(extra)] => {
                    let extra = self.resolve(&Yaml::Mapping(extra.clone()), path)?;
                    self.substitute(&text(pattern)?, &extra, path)
                }
                _ => Err(invalid(path, "`Sub` takes text, or a list of a text and a map".to_owned())),
            },
            ("Sub", argument) => self.substitute(&text(argument)?, &Json::Null, path),
            _ => Err(TemplateError::UnsupportedIntrinsic { path: path.to_owned(), name: name.to_owned() }),
        }
    }

    fn substitute(&self, pattern: &str, extra: &Json, path: &str) -> Result<Json, TemplateError> {
        let mut text = String::with_capacity(pattern.len());
        let mut rest = pattern;
        while let Some((before, after)) = rest.split_once("${") {
            let (name, after) =
                after.split_once('}').ok_or_else(|| invalid(path, format!("`${{` without `}}` in `{pattern}`")))?;
            text.push_str(before);
            if let Some(literal) = name.strip_prefix('!') {
                text.push_str(&format!("${{{literal}}}"));
            } else {
                let value = match extra.get(name) {
                    Some(value) => value.clone(),
                    None if name.contains('.') => self.attribute(name, path)?,
                    None => self.reference(name, path)?,
                };
                text.push_str(&scalar_text(&value).ok_or_else(|| invalid(path, format!("`{name}` is not text")))?);
            }
            rest = after;
        }
        text.push_str(rest);
        Ok(Json::String(text))
    }

    fn reference(&self, name: &str, path: &str) -> Result<Json, TemplateError> {
        let text = match name {
            "AWS::Region" => REGION.to_owned(),
            "AWS::AccountId" => ACCOUNT_ID.to_owned(),
            "AWS::Partition" => "aws".to_owned(),
            "AWS::URLSuffix" => "amazonaws.com".to_owned(),
            "AWS::StackName" => "darkroom-local".to_owned(),
            _ => match self.parameters.get(name) {
                Some(value) => return Ok(value.clone()),
                None => self.resource(name, path)?,
            },
        };
        Ok(Json::String(text))
    }

    /// What `!Ref` gives for a resource.
    fn resource(&self, name: &str, path: &str) -> Result<String, TemplateError> {
        let Some(kind) = self.types.get(name) else {
            return Err(unknown(path, name));
        };
        match kind.as_str() {
            "AWS::SQS::Queue" => Ok(format!("memory://queues/{name}")),
            "AWS::DynamoDB::Table" => Ok(self.values.table_name.clone()),
            "AWS::S3::Bucket" => Ok(self.values.bucket_name.clone()),
            "AWS::Serverless::HttpApi" => Ok(API_ID.to_owned()),
            "AWS::SecretsManager::Secret" => Ok(arn("secretsmanager", &format!("secret:{name}"))),
            "AWS::Serverless::Function" => Ok(name.to_owned()),
            _ => Err(TemplateError::NoLocalValue { path: path.to_owned(), name: name.to_owned(), kind: kind.clone() }),
        }
    }

    fn attribute(&self, name: &str, path: &str) -> Result<Json, TemplateError> {
        let (id, attribute) = name.split_once('.').ok_or_else(|| unknown(path, name))?;
        let kind = self.types.get(id).ok_or_else(|| unknown(path, name))?;
        let text = match (kind.as_str(), attribute) {
            ("AWS::SQS::Queue", "Arn") => arn("sqs", id),
            ("AWS::SQS::Queue", "QueueName") => id.to_owned(),
            ("AWS::Serverless::Function", "Arn") => arn("lambda", &format!("function:{id}")),
            ("AWS::DynamoDB::Table", "Arn") => arn("dynamodb", &format!("table/{}", self.values.table_name)),
            ("AWS::S3::Bucket", "Arn") => arn("s3", &self.values.bucket_name),
            ("AWS::Serverless::HttpApi", "ApiEndpoint") => self.values.api_endpoint.clone(),
            _ => {
                return Err(TemplateError::NoLocalValue { path: path.to_owned(), name: name.to_owned(), kind: kind.clone() });
            }
        };
        Ok(Json::String(text))
    }
}

/// A scalar as an environment variable holds it.
pub(crate) fn scalar_text(value: &Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(bool) => Some(bool.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// A parameter's value, given as text or as the template's default, in the type it was declared with.
fn typed(kind: &str, value: Json, path: &str) -> Result<Json, TemplateError> {
    let text = scalar_text(&value).ok_or_else(|| invalid(path, "the value is not text or a number".to_owned()))?;
    match kind {
        "String" => Ok(Json::String(text)),
        "Number" => text.parse().map(Json::Number).map_err(|_| invalid(path, format!("`{text}` is not a number"))),
        "CommaDelimitedList" => Ok(text.split(',').map(|item| item.trim().to_owned()).collect()),
        _ => Err(invalid(path, format!("the parameter type `{kind}` is not supported locally"))),
    }
}

fn plain(value: &Yaml) -> Result<Json, String> {
    serde_json::to_value(value).map_err(|error| error.to_string())
}

fn invalid(path: &str, problem: String) -> TemplateError {
    TemplateError::Invalid { path: path.to_owned(), problem }
}

fn unknown(path: &str, name: &str) -> TemplateError {
    TemplateError::UnknownReference { path: path.to_owned(), name: name.to_owned() }
}
