//! From resources of the template to the typed declarations.

use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_yaml_ng::Value as Yaml;

use super::resolve::{API_ID, Resolver, STACK, Sources, arn, scalar_text};
use super::{
    Authorizer, Bucket, Cors, CorsRule, Function, Index, Key, LocalValues, Queue, QueueSource, Route, Schedule, Table, Template,
    TemplateError, entries, grants,
};

/// Lambda's own figures for a function that names none.
const DEFAULT_TIMEOUT_SECONDS: u64 = 3;
const DEFAULT_MEMORY_MB: u32 = 128;
/// Lambda's batch size for an SQS source that names none.
const DEFAULT_BATCH_SIZE: usize = 10;
/// SQS's own figures for a queue that names none.
const DEFAULT_VISIBILITY_SECONDS: u64 = 30;
const DEFAULT_RETENTION_SECONDS: u64 = 345_600;

pub(super) fn read(sources: &Sources, values: &LocalValues) -> Result<Template, TemplateError> {
    let reader = Reader { resolver: Resolver::new(sources, &sources.root, values)? };
    let cors = reader.only("AWS::Serverless::HttpApi")?;
    let cors = cors.map(|(id, api)| reader.optional::<Cors>(api, &format!("Resources.{id}"), "Properties.CorsConfiguration"));
    let api = reader.only("AWS::Serverless::HttpApi")?;
    let authorizer = api.map(|(id, api)| reader.authorizer(id, api)).transpose()?.flatten();
    let queues = reader.all("AWS::SQS::Queue")?.into_iter().map(|(id, queue)| reader.queue(id, queue));
    let functions = reader.all("AWS::Serverless::Function")?.into_iter();
    let template = Template {
        functions: functions
            .map(|(id, function)| reader.function(id, function, authorizer.as_ref()))
            .collect::<Result<_, _>>()?,
        queues: queues.collect::<Result<_, _>>()?,
        table: reader.with("AWS::DynamoDB::Table")?.table(values)?,
        bucket: reader.with("AWS::S3::Bucket")?.bucket(values)?,
        authorizer: authorizer.map(|(_, authorizer)| authorizer),
        cors: cors.transpose()?.flatten(),
    };
    check_references(&template)?;
    Ok(template)
}

/// Every queue and function that something points at is declared, and fits.
fn check_references(template: &Template) -> Result<(), TemplateError> {
    let missing = |kind: &str, id: &str| TemplateError::Missing { path: format!("Resources.{id} ({kind})") };
    for function in &template.functions {
        for source in &function.queues {
            let queue = template.queue(&source.queue).ok_or_else(|| missing("queue", &source.queue))?;
            if queue.visibility < function.timeout {
                return Err(TemplateError::Invalid {
                    path: format!("Resources.{}.Properties.VisibilityTimeout", queue.logical_id),
                    problem: format!("{} s is less than the time-out of `{}`", queue.visibility.as_secs(), function.logical_id),
                });
            }
        }
    }
    for (target, _) in template.queues.iter().filter_map(|queue| queue.dead_letter.as_ref()) {
        template.queue(target).ok_or_else(|| missing("queue", target))?;
    }
    match &template.authorizer {
        Some(authorizer) if !template.functions.iter().any(|function| function.logical_id == authorizer.function) => {
            Err(missing("function", &authorizer.function))
        }
        Some(_) | None => Ok(()),
    }
}

struct Reader<'a> {
    resolver: Resolver<'a>,
}

impl<'a> Reader<'a> {
    /// The resources of a kind whose condition holds.
    fn all(&self, kind: &str) -> Result<Vec<(&'a str, &'a Yaml)>, TemplateError> {
        let mut resources = entries(self.resolver.root, "Resources")?;
        resources.retain(|(_, resource)| resource.get("Type").and_then(Yaml::as_str) == Some(kind));
        let mut there = Vec::new();
        for (id, resource) in resources {
            let condition = resource.get("Condition").and_then(Yaml::as_str);
            if condition.map_or(Ok(true), |name| self.resolver.holds(name, &format!("Resources.{id}")))? {
                there.push((id, resource));
            }
        }
        Ok(there)
    }

    /// The reader of this stack or of the nested one that has resources of a kind.
    fn with(&self, kind: &str) -> Result<Self, TemplateError> {
        let root = Self { resolver: self.resolver.clone() };
        if !root.all(kind)?.is_empty() {
            return Ok(root);
        }
        for (id, _) in self.all(STACK)? {
            let nested = Self { resolver: self.resolver.nested(id)? };
            if !nested.all(kind)?.is_empty() {
                return Ok(nested);
            }
        }
        Ok(root)
    }

    /// The one resource of its kind.
    fn only(&self, kind: &str) -> Result<Option<(&'a str, &'a Yaml)>, TemplateError> {
        match self.all(kind)?.as_slice() {
            [] => Ok(None),
            [one] => Ok(Some(*one)),
            [_, (id, _), ..] => Err(invalid(&format!("Resources.{id}"), format!("a second `{kind}` cannot run locally"))),
        }
    }

    /// What stands at `keys` under `base`, resolved and typed; none if it is not there.
    fn optional<T: DeserializeOwned>(&self, base: &Yaml, path: &str, keys: &str) -> Result<Option<T>, TemplateError> {
        let Some(value) = keys.split('.').try_fold(base, |value, key| value.get(key)) else {
            return Ok(None);
        };
        let path = format!("{path}.{keys}");
        let resolved = self.resolver.resolve(value, &path)?;
        serde_json::from_value(resolved).map(Some).map_err(|error| invalid(&path, error.to_string()))
    }

    fn required<T: DeserializeOwned>(&self, base: &Yaml, path: &str, keys: &str) -> Result<T, TemplateError> {
        self.optional(base, path, keys)?.ok_or_else(|| TemplateError::Missing { path: format!("{path}.{keys}") })
    }

    /// A property of a function, its own or that of `Globals`.
    fn function_property<T: DeserializeOwned>(&self, function: &Yaml, path: &str, key: &str) -> Result<Option<T>, TemplateError> {
        match self.optional(function, path, &format!("Properties.{key}"))? {
            Some(own) => Ok(Some(own)),
            None => match self.resolver.root.get("Globals") {
                Some(globals) => self.optional(globals, "Globals", &format!("Function.{key}")),
                None => Ok(None),
            },
        }
    }

    fn function(&self, id: &str, function: &Yaml, authorizer: Option<&(String, Authorizer)>) -> Result<Function, TemplateError> {
        let path = format!("Resources.{id}");
        let timeout = self.function_property(function, &path, "Timeout")?.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
        let mut read = Function {
            logical_id: id.to_owned(),
            binary: self.required(function, &path, "Metadata.BuildProperties.Binary")?,
            timeout: Duration::from_secs(timeout),
            memory_mb: self.function_property(function, &path, "MemorySize")?.unwrap_or(DEFAULT_MEMORY_MB),
            environment: self.environment(function, &path)?,
            routes: Vec::new(),
            queues: Vec::new(),
            schedules: Vec::new(),
            grants: match self.optional::<Vec<serde_json::Value>>(function, &path, "Properties.Policies")? {
                Some(policies) => grants::read(&policies, &path)?,
                None => Vec::new(),
            },
        };
        let properties = function.get("Properties").unwrap_or(&Yaml::Null);
        for (name, event) in entries(properties, "Events")? {
            self.event(&mut read, name, event, authorizer)?;
        }
        Ok(read)
    }

    /// The variables of `Globals`, then the function's own, which win.
    fn environment(&self, function: &Yaml, path: &str) -> Result<Vec<(String, String)>, TemplateError> {
        type Variables = serde_json::Map<String, serde_json::Value>;
        let globals = self.resolver.root.get("Globals").unwrap_or(&Yaml::Null);
        let mut variables: Variables = self.optional(globals, "Globals", "Function.Environment.Variables")?.unwrap_or_default();
        let own: Variables = self.optional(function, path, "Properties.Environment.Variables")?.unwrap_or_default();
        variables.extend(own);
        let text = |(name, value): (String, serde_json::Value)| match scalar_text(&value) {
            Some(text) => Ok((name, text)),
            None => Err(invalid(&format!("{path}.Properties.Environment.Variables.{name}"), "expected text".to_owned())),
        };
        variables.into_iter().map(text).collect()
    }

    fn event(
        &self,
        function: &mut Function,
        name: &str,
        event: &Yaml,
        authorizer: Option<&(String, Authorizer)>,
    ) -> Result<(), TemplateError> {
        let path = format!("Resources.{}.Properties.Events.{name}", function.logical_id);
        let kind: String = self.required(event, &path, "Type")?;
        match kind.as_str() {
            "HttpApi" => {
                let properties: HttpApiProperties = self.required(event, &path, "Properties")?;
                function.routes.push(properties.route(authorizer.map(|(name, _)| name.as_str()), &path)?);
            }
            "SQS" => {
                let properties: SqsProperties = self.required(event, &path, "Properties")?;
                function.queues.push(properties.source(&path)?);
            }
            "Schedule" => {
                let properties: ScheduleProperties = self.required(event, &path, "Properties")?;
                let every = rate(&properties.schedule).map_err(|problem| invalid(&path, problem))?;
                let input = properties.input.map(|input| serde_json::from_str(&input)).transpose();
                let input = input.map_err(|error| invalid(&path, format!("`Input` is not JSON: {error}")))?;
                function.schedules.push(Schedule { name: format!("{}{name}", function.logical_id), every, input });
            }
            _ => {
                return Err(invalid(&path, format!("an event of type `{kind}` cannot run locally")));
            }
        }
        Ok(())
    }

    /// The default authorizer, with its name.
    fn authorizer(&self, id: &str, api: &Yaml) -> Result<Option<(String, Authorizer)>, TemplateError> {
        let path = format!("Resources.{id}");
        let Some(name) = self.optional::<String>(api, &path, "Properties.Auth.DefaultAuthorizer")? else {
            return Ok(None);
        };
        let keys = format!("Properties.Auth.Authorizers.{name}");
        let properties: AuthorizerProperties = self.required(api, &path, &keys)?;
        let path = format!("{path}.{keys}");
        if properties.authorizer_payload_format_version != "2.0" || !properties.enable_simple_responses {
            return Err(invalid(&path, "only payload format 2.0 with simple responses runs locally".to_owned()));
        }
        let [header] = properties.identity.headers.as_slice() else {
            return Err(invalid(&path, "exactly one identity header runs locally".to_owned()));
        };
        let authorizer = Authorizer {
            function: last_segment(&properties.function_arn),
            header: header.to_ascii_lowercase(),
            ttl: Duration::from_secs(properties.identity.reauthorize_every),
        };
        Ok(Some((name, authorizer)))
    }

    fn queue(&self, id: &str, queue: &Yaml) -> Result<Queue, TemplateError> {
        let path = format!("Resources.{id}");
        let seconds = |key: &str, default: u64| {
            let seconds = self.optional(queue, &path, &format!("Properties.{key}"))?;
            Ok::<_, TemplateError>(Duration::from_secs(seconds.unwrap_or(default)))
        };
        if self.optional(queue, &path, "Properties.FifoQueue")?.unwrap_or(false) {
            return Err(invalid(&path, "a FIFO queue cannot run locally".to_owned()));
        }
        let redrive: Option<RedrivePolicy> = self.optional(queue, &path, "Properties.RedrivePolicy")?;
        Ok(Queue {
            logical_id: id.to_owned(),
            visibility: seconds("VisibilityTimeout", DEFAULT_VISIBILITY_SECONDS)?,
            delay: seconds("DelaySeconds", 0)?,
            retention: seconds("MessageRetentionPeriod", DEFAULT_RETENTION_SECONDS)?,
            dead_letter: redrive.map(|policy| (last_segment(&policy.dead_letter_target_arn), policy.max_receive_count)),
        })
    }

    fn table(&self, values: &LocalValues) -> Result<Table, TemplateError> {
        let missing = || TemplateError::Missing { path: "Resources (AWS::DynamoDB::Table)".to_owned() };
        let (id, table) = self.only("AWS::DynamoDB::Table")?.ok_or_else(missing)?;
        let path = format!("Resources.{id}");
        let attributes: Vec<AttributeDefinition> = self.required(table, &path, "Properties.AttributeDefinitions")?;
        let indexes: Vec<IndexProperties> = self.optional(table, &path, "Properties.GlobalSecondaryIndexes")?.unwrap_or_default();
        let index = |index: IndexProperties| {
            let path = format!("{path}.Properties.GlobalSecondaryIndexes.{}", index.index_name);
            if index.projection.projection_type != "ALL" {
                return Err(invalid(&path, "only the projection `ALL` runs locally".to_owned()));
            }
            Ok(Index { key: key(&index.key_schema, &path)?, name: index.index_name })
        };
        let ttl: Option<TimeToLive> = self.optional(table, &path, "Properties.TimeToLiveSpecification")?;
        Ok(Table {
            name: values.table_name.clone(),
            key: key(&self.required::<Vec<KeyElement>>(table, &path, "Properties.KeySchema")?, &path)?,
            attributes: attributes.into_iter().map(|attribute| (attribute.attribute_name, attribute.attribute_type)).collect(),
            indexes: indexes.into_iter().map(index).collect::<Result<_, _>>()?,
            ttl_attribute: ttl.filter(|ttl| ttl.enabled).map(|ttl| ttl.attribute_name),
        })
    }

    fn bucket(&self, values: &LocalValues) -> Result<Bucket, TemplateError> {
        let missing = || TemplateError::Missing { path: "Resources (AWS::S3::Bucket)".to_owned() };
        let (id, bucket) = self.only("AWS::S3::Bucket")?.ok_or_else(missing)?;
        let cors: Option<Vec<CorsRule>> =
            self.optional(bucket, &format!("Resources.{id}"), "Properties.CorsConfiguration.CorsRules")?;
        Ok(Bucket { name: values.bucket_name.clone(), cors: cors.unwrap_or_default() })
    }
}

// What is not named in the structs of events would be dropped silently here and act when deployed: it is refused.

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct HttpApiProperties {
    api_id: String,
    method: String,
    path: String,
    auth: Option<RouteAuth>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct RouteAuth {
    authorizer: String,
}

impl HttpApiProperties {
    fn route(self, default_authorizer: Option<&str>, path: &str) -> Result<Route, TemplateError> {
        if self.api_id != API_ID {
            return Err(invalid(path, format!("`{}` is not the template's API", self.api_id)));
        }
        let auth = match self.auth.as_ref().map(|auth| auth.authorizer.as_str()) {
            Some("NONE") => false,
            None => default_authorizer.is_some(),
            named if named == default_authorizer => true,
            Some(other) => {
                return Err(invalid(path, format!("only the default authorizer runs locally, not `{other}`")));
            }
        };
        Ok(Route { method: self.method.to_ascii_uppercase(), path: self.path, auth })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SqsProperties {
    queue: String,
    batch_size: Option<usize>,
    #[serde(default)]
    function_response_types: Vec<String>,
    scaling_config: Option<ScalingConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ScalingConfig {
    maximum_concurrency: usize,
}

impl SqsProperties {
    fn source(self, path: &str) -> Result<QueueSource, TemplateError> {
        let batch_size = self.batch_size.unwrap_or(DEFAULT_BATCH_SIZE);
        if !(1..=10).contains(&batch_size) {
            return Err(invalid(
                path,
                format!("a batch size of {batch_size} is not 1 to 10, the most without a batching window"),
            ));
        }
        if !self.queue.starts_with(&arn("sqs", "")) {
            return Err(invalid(path, format!("`{}` is not the ARN of a queue; use !GetAtt ….Arn", self.queue)));
        }
        Ok(QueueSource {
            queue: last_segment(&self.queue),
            batch_size,
            max_concurrency: self.scaling_config.map(|config| config.maximum_concurrency),
            report_batch_item_failures: self.function_response_types.iter().any(|kind| kind == "ReportBatchItemFailures"),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct ScheduleProperties {
    schedule: String,
    input: Option<String>,
    #[serde(rename = "Description")]
    _description: Option<String>,
}

/// Reads `rate(5 minutes)`.
fn rate(expression: &str) -> Result<Duration, String> {
    if expression.starts_with("cron(") {
        return Err(format!("`{expression}`: a cron schedule cannot run locally; use rate(…)"));
    }
    let refused = || format!("`{expression}` is not a schedule; write rate(n minutes), rate(n hours) or rate(n days)");
    let inner = expression.strip_prefix("rate(").and_then(|rest| rest.strip_suffix(')')).ok_or_else(refused)?;
    let (count, unit) = inner.trim().split_once(' ').ok_or_else(refused)?;
    let count: u64 = count.parse().map_err(|_| refused())?;
    let seconds = match (count, unit.trim()) {
        (0, _) => return Err(refused()),
        (1, "minute") | (2.., "minutes") => 60,
        (1, "hour") | (2.., "hours") => 3_600,
        (1, "day") | (2.., "days") => 86_400,
        _ => return Err(refused()),
    };
    count.checked_mul(seconds).map(Duration::from_secs).ok_or_else(refused)
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AuthorizerProperties {
    function_arn: String,
    authorizer_payload_format_version: String,
    #[serde(default)]
    enable_simple_responses: bool,
    identity: Identity,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Identity {
    #[serde(default)]
    headers: Vec<String>,
    #[serde(default)]
    reauthorize_every: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RedrivePolicy {
    dead_letter_target_arn: String,
    max_receive_count: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct AttributeDefinition {
    attribute_name: String,
    attribute_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyElement {
    attribute_name: String,
    key_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexProperties {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: Projection,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Projection {
    projection_type: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    attribute_name: String,
    enabled: bool,
}

fn key(schema: &[KeyElement], path: &str) -> Result<Key, TemplateError> {
    let of_type =
        |kind: &str| schema.iter().find(|element| element.key_type == kind).map(|element| element.attribute_name.clone());
    let hash = of_type("HASH").ok_or_else(|| invalid(path, "the key has no HASH attribute".to_owned()))?;
    Ok(Key { hash, range: of_type("RANGE") })
}

/// The logical id at the end of a local ARN.
fn last_segment(arn: &str) -> String {
    arn.rsplit(':').next().unwrap_or(arn).to_owned()
}

fn invalid(path: &str, problem: String) -> TemplateError {
    TemplateError::Invalid { path: path.to_owned(), problem }
}
