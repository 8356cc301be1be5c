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

#[derive(Clone)]
pub(super) struct Resolver<'a> {
    sources: &'a Sources,
    /// The stack's own template.
    pub(super) root: &'a Yaml,
    parameters: BTreeMap<String, Json>,
    /// Logical id to resource type.
    types: BTreeMap<String, String>,
    values: LocalValues,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(sources: &'a Sources, root: &'a Yaml, values: &LocalValues) -> Result<Self, TemplateError> {
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
        let resolver = Self { sources, root, parameters, types, values: values.clone() };
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
                let resolved = items.map(|(index, item)| Ok((item, self.resolve(item, &format!("{path}[{index}]"))?)));
                let resolved = resolved.collect::<Result<Vec<_>, TemplateError>>()?.into_iter();
                Ok(resolved.filter(|(item, value)| !is_no_value(item, value)).map(|(_, value)| value).collect())
            }
            Yaml::Mapping(map) => {
                let mut object = serde_json::Map::new();
                for (key, item) in map {
                    let key = key.as_str().ok_or_else(|| invalid(path, format!("the key {key:?} is not text")))?;
                    if map.len() == 1 && (key == "Ref" || key.starts_with("Fn::")) {
                        return self.intrinsic(key.trim_start_matches("Fn::"), item, path);
                    }
                    let value = self.resolve(item, &format!("{path}.{key}"))?;
                    if !is_no_value(item, &value) {
                        object.insert(key.to_owned(), value);
                    }
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
            ("If", Yaml::Sequence(parts)) => match parts.as_slice() {
                [condition, then, _] if self.holds(&text(condition)?, path)? => self.resolve(then, path),
                [_, _, otherwise] => self.resolve(otherwise, path),
                _ => Err(invalid(path, "`If` takes a condition and two values".to_owned())),
            },
            ("Join", Yaml::Sequence(parts)) => match parts.as_slice() {
                [separator, items] => self.join(&text(separator)?, items, path),
                _ => Err(invalid(path, "`Join` takes a separator and a list".to_owned())),
            },
            _ => Err(TemplateError::UnsupportedIntrinsic { path: path.to_owned(), name: name.to_owned() }),
        }
    }

    fn join(&self, separator: &str, items: &Yaml, path: &str) -> Result<Json, TemplateError> {
        let not_texts = || invalid(path, "`Join` takes a list of texts".to_owned());
        let items = self.resolve(items, path)?;
        let texts = items.as_array().ok_or_else(not_texts)?.iter().map(|item| scalar_text(item).ok_or_else(not_texts));
        Ok(Json::String(texts.collect::<Result<Vec<_>, _>>()?.join(separator)))
    }

    /// Whether a condition of the template holds.
    pub(super) fn holds(&self, name: &str, path: &str) -> Result<bool, TemplateError> {
        let condition = self.root.get("Conditions").and_then(|all| all.get(name)).ok_or_else(|| unknown(path, name))?;
        self.truth(condition, &format!("Conditions.{name}"))
    }

    fn truth(&self, condition: &Yaml, path: &str) -> Result<bool, TemplateError> {
        let unsupported = |name: &str| TemplateError::UnsupportedIntrinsic { path: path.to_owned(), name: name.to_owned() };
        let (name, argument) = match condition {
            Yaml::Tagged(tagged) => (tagged.tag.to_string().trim_start_matches('!').to_owned(), &tagged.value),
            Yaml::Mapping(map) => match map.iter().next() {
                Some((Yaml::String(name), argument)) if map.len() == 1 => (name.trim_start_matches("Fn::").to_owned(), argument),
                _ => return Err(invalid(path, "a condition is one function".to_owned())),
            },
            Yaml::Null | Yaml::Bool(_) | Yaml::Number(_) | Yaml::String(_) | Yaml::Sequence(_) => {
                return Err(invalid(path, "a condition is a function".to_owned()));
            }
        };
        let each = |items: &[Yaml]| items.iter().map(|item| self.truth(item, path)).collect::<Result<Vec<bool>, _>>();
        match (name.as_str(), argument) {
            ("Condition", Yaml::String(name)) => self.holds(name, path),
            ("Equals", Yaml::Sequence(sides)) => match sides.as_slice() {
                [left, right] => Ok(scalar_text(&self.resolve(left, path)?) == scalar_text(&self.resolve(right, path)?)),
                _ => Err(invalid(path, "`Equals` takes two values".to_owned())),
            },
            ("Not", Yaml::Sequence(items)) => each(items).map(|holds| !holds.iter().all(|one| *one)),
            ("And", Yaml::Sequence(items)) => each(items).map(|holds| holds.iter().all(|one| *one)),
            ("Or", Yaml::Sequence(items)) => each(items).map(|holds| holds.iter().any(|one| *one)),
            (name, _) => Err(unsupported(name)),
        }
    }

    /// The stack that a resource of the template nests, with the parameters that it is given.
    pub(super) fn nested(&self, id: &str) -> Result<Resolver<'a>, TemplateError> {
        let path = format!("Resources.{id}");
        let properties = self.root.get("Resources").and_then(|all| all.get(id)).and_then(|stack| stack.get("Properties"));
        let properties = properties.ok_or_else(|| TemplateError::Missing { path: format!("{path}.Properties") })?;
        let url = properties.get("TemplateURL").and_then(Yaml::as_str);
        let url = url.ok_or_else(|| TemplateError::Missing { path: format!("{path}.Properties.TemplateURL") })?;
        let root = self.sources.nested.get(url).ok_or_else(|| invalid(&path, format!("there is no template `{url}`")))?;
        let mut values = self.values.clone();
        values.parameters.clear();
        for (name, value) in super::entries(properties, "Parameters")? {
            let path = format!("{path}.Properties.Parameters.{name}");
            let value = self.resolve(value, &path)?;
            let text = scalar_text(&value).ok_or_else(|| invalid(&path, "a nested stack takes text".to_owned()))?;
            values.parameters.insert(name.to_owned(), text);
        }
        Self::new(self.sources, root, &values)
    }

    fn output(&self, name: &str, path: &str) -> Result<Json, TemplateError> {
        let output = self.root.get("Outputs").and_then(|all| all.get(name)).and_then(|output| output.get("Value"));
        self.resolve(output.ok_or_else(|| unknown(path, &format!("Outputs.{name}")))?, path)
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
            "AWS::NoValue" => return Ok(Json::Null),
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
            (STACK, output) if output.starts_with("Outputs.") => {
                return self.nested(id)?.output(output.trim_start_matches("Outputs."), path);
            }
            _ => {
                return Err(TemplateError::NoLocalValue { path: path.to_owned(), name: name.to_owned(), kind: kind.clone() });
            }
        };
        Ok(Json::String(text))
    }
}

/// A template and those that it nests, by what `TemplateURL` says of them.
pub(super) struct Sources {
    pub(super) root: Yaml,
    pub(super) nested: BTreeMap<String, Yaml>,
}

/// The resource that nests a template.
pub(super) const STACK: &str = "AWS::CloudFormation::Stack";

/// `!Ref AWS::NoValue`, or an `!If` that came to it: what it stands for is not there.
fn is_no_value(item: &Yaml, value: &Json) -> bool {
    value.is_null() && !item.is_null()
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
