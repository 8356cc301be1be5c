//! The AWS SDK, set up from what Lambda puts into the environment: at once, or not at all.
//!
//! `aws_config`'s own chain also asks profiles, web identities and the instance's metadata. On Lambda that is code which never finds anything;
//! elsewhere a missing variable costs seconds before it is told.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use aws_sdk_dynamodb::config::{
    BehaviorVersion, Credentials, HttpClient, Region, RuntimeComponents, SharedAsyncSleep, SharedCredentialsProvider,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{ConnectorBuilder, tls};
use aws_smithy_runtime_api::client::http::{HttpConnectorSettings, SharedHttpConnector};
use aws_types::SdkConfig;
use aws_types::service_config::{LoadServiceConfig, ServiceConfigKey};

use crate::backend::timeouts;
use crate::config::ConfigError;

/// Where an AWS service is reached instead of its own address, for all services; with `_` and a service's name, for that one.
const ENDPOINT_URL: &str = "AWS_ENDPOINT_URL";

/// Region and credentials, and where services are reached if not at AWS. Names the variable that is missing.
///
/// All clients of one configuration share their connections. The certificates they trust are read once, on a thread of their own that
/// begins here: a function asks for its first event meanwhile, and the first request waits for what is left to read.
pub fn sdk(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Result<SdkConfig, ConfigError> {
    let lookup = move |name: &str| lookup(name).filter(|value| !value.is_empty());
    let needed = |name: &'static str| lookup(name).ok_or(ConfigError::MissingOnLambda(name));
    let region = lookup("AWS_REGION").or_else(|| lookup("AWS_DEFAULT_REGION"));
    let region = region.ok_or(ConfigError::MissingOnLambda("AWS_REGION"))?;
    let (id, secret) = (needed("AWS_ACCESS_KEY_ID")?, needed("AWS_SECRET_ACCESS_KEY")?);
    let credentials = Credentials::new(id, secret, lookup("AWS_SESSION_TOKEN"), None, "environment");
    let is_set = |name: &str| lookup(name).map(|value| value.eq_ignore_ascii_case("true"));
    let mut config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new(region))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .timeout_config(timeouts())
        .http_client(Https::new());
    config.set_use_fips(is_set("AWS_USE_FIPS_ENDPOINT")).set_use_dual_stack(is_set("AWS_USE_DUALSTACK_ENDPOINT"));
    config.set_endpoint_url(lookup(ENDPOINT_URL));
    Ok(config.service_config(Services(lookup)).build())
}

/// A client of one service, made when it is first used. Each reads its own copy of AWS's list of partitions when it is made, and most starts
/// need one service alone. Clones share the client.
pub struct Lazy<C>(Arc<LazyLock<C, Make<C>>>);

type Make<C> = Box<dyn FnOnce() -> C + Send>;

impl<C> Lazy<C> {
    /// One that is not made yet.
    pub fn new(make: impl FnOnce() -> C + Send + 'static) -> Self {
        Self(Arc::new(LazyLock::new(Box::new(make))))
    }
}

impl<C: Send + 'static> From<C> for Lazy<C> {
    fn from(client: C) -> Self {
        Self::new(|| client)
    }
}

impl<C> Clone for Lazy<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Deref for Lazy<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0
    }
}

impl<C> std::fmt::Debug for Lazy<C> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Lazy")
    }
}

/// Settings of single services.
struct Services<L>(L);

impl<L> std::fmt::Debug for Services<L> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Services")
    }
}

impl<L: Fn(&str) -> Option<String> + Send + Sync> LoadServiceConfig for Services<L> {
    fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
        let service: String =
            key.service_id().chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
        (self.0)(&format!("{}_{service}", key.env())).or_else(|| (self.0)(key.env()))
    }
}

/// One TLS stack for all clients. The SDK's own would parse the trusted certificates again for each client when it is made, and once more
/// for its first request.
#[derive(Debug, Clone)]
struct Https(Arc<Mutex<Connectors>>);

#[derive(Debug)]
struct Connectors {
    /// What reads the certificates for the first of them, until somebody needs it.
    begun: Option<JoinHandle<(Option<Duration>, SharedHttpConnector)>>,
    /// By their time-out.
    made: HashMap<Option<Duration>, SharedHttpConnector>,
}

impl Https {
    /// Begins the connector for the time-out of most clients.
    fn new() -> Self {
        let begun = std::thread::spawn(|| {
            let mut settings = HttpConnectorSettings::builder();
            settings.set_connect_timeout(timeouts().connect_timeout());
            let settings = settings.build();
            (settings.connect_timeout(), connector(&settings, aws_smithy_async::rt::sleep::default_async_sleep()))
        });
        Self(Arc::new(Mutex::new(Connectors { begun: Some(begun), made: HashMap::new() })))
    }
}

impl HttpClient for Https {
    fn http_connector(&self, settings: &HttpConnectorSettings, components: &RuntimeComponents) -> SharedHttpConnector {
        let mut connectors = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Without one from that thread, it is made here.
        let first = connectors.begun.take().and_then(|begun| begun.join().ok());
        connectors.made.extend(first);
        let make = || connector(settings, components.sleep_impl());
        connectors.made.entry(settings.connect_timeout()).or_insert_with(make).clone()
    }
}

/// As the SDK's default client makes them.
fn connector(settings: &HttpConnectorSettings, sleep: Option<SharedAsyncSleep>) -> SharedHttpConnector {
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    let mut builder = ConnectorBuilder::default().tls_provider(provider);
    builder.set_connector_settings(Some(settings.clone())).set_sleep_impl(sleep);
    builder.set_proxy_config(Some(ProxyConfig::from_env()));
    SharedHttpConnector::new(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &'static [(&str, &str)]) -> Result<SdkConfig, ConfigError> {
        sdk(|name| pairs.iter().find(|(own, _)| *own == name).map(|(_, value)| (*value).to_owned()))
    }

    #[test]
    fn what_is_missing_is_named_at_once() {
        let told = |pairs| read(pairs).expect_err("something is missing").to_string();
        assert!(told(&[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")]).contains("`AWS_REGION`"));
        assert!(told(&[("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "")]).contains("`AWS_ACCESS_KEY_ID`"));
        assert!(told(&[("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "a")]).contains("`AWS_SECRET_ACCESS_KEY`"));
    }

    #[test]
    fn a_service_has_its_own_address_or_that_of_all() {
        let config = read(&[
            ("AWS_DEFAULT_REGION", "eu-central-1"),
            ("AWS_ACCESS_KEY_ID", "a"),
            ("AWS_SECRET_ACCESS_KEY", "b"),
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:1"),
            ("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:2"),
            ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "http://127.0.0.1:3"),
        ]);
        let config = config.expect("nothing is missing");
        assert_eq!(config.region().map(Region::as_ref), Some("eu-central-1"));
        assert_eq!(config.endpoint_url(), Some("http://127.0.0.1:1"));
        let of = |service| {
            let key = ServiceConfigKey::builder().service_id(service).env(ENDPOINT_URL).profile("endpoint_url").build();
            config.service_config().and_then(|services| services.load_config(key.expect("all is given")))
        };
        assert_eq!(of("DynamoDB").as_deref(), Some("http://127.0.0.1:2"));
        assert_eq!(of("Secrets Manager").as_deref(), Some("http://127.0.0.1:3"));
        assert_eq!(of("SQS").as_deref(), Some("http://127.0.0.1:1"));
    }
}
