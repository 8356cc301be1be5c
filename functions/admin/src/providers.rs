//! How every provider stands: keys, limits, load, health.

use futures_util::future::{try_join, try_join_all};
use secrecy::ExposeSecret as _;
use shared::api::{FailurePolicyView, KeyHealth, KeyHealthView, ProviderSource, ProviderView};
use shared::backend::Backend;
use shared::catalog::Catalog;
use shared::catalog::manifest::Manifest;
use shared::pool::{BusyWhy, KeyId, KeyState};
use shared::store::StoreError;

/// All providers, by name.
pub(crate) async fn all(backend: &Backend) -> Result<Vec<ProviderView>, StoreError> {
    let catalog = backend.catalog().await?;
    try_join_all(catalog.providers().map(|provider| view(backend, &catalog, provider))).await
}

async fn view(backend: &Backend, catalog: &Catalog, provider: &Manifest) -> Result<ProviderView, StoreError> {
    let (keys, keys_problem) = keys(backend, provider).await;
    let (states, waiting) =
        try_join(backend.store.pool_states(&provider.name, &keys), backend.store.line_length(&provider.name)).await?;
    let (http, now) = (provider.http(), backend.now());
    let limits = backend.config.key_limits(provider);
    let in_flight: usize = states.iter().map(|(_, state)| state.in_use(now)).sum();
    let of_it = catalog.models().filter(|model| model.provider.name == provider.name);
    Ok(ProviderView {
        name: provider.name.clone(),
        version: provider.version,
        source: if catalog.is_run_time(&provider.name) { ProviderSource::RunTime } else { ProviderSource::BuiltIn },
        configured: http.is_none() || !keys.is_empty(),
        key_env: http.map(|http| http.key_env.clone()),
        keys: u32::try_from(keys.len()).unwrap_or(u32::MAX),
        keys_problem,
        base_url: http.map(|http| http.base_url.clone()),
        base_url_override: backend.config.base_url(&provider.name).map(str::to_owned),
        limits,
        in_flight: limits.concurrency.map(|_| u32::try_from(in_flight).unwrap_or(u32::MAX)),
        waiting,
        health: states.iter().map(|(key, state)| health(backend, key, state)).collect(),
        billing: provider.billing,
        refund_policy: FailurePolicyView::all(&provider.policies),
        result_lifetime_s: provider.times.result_lifetime_s,
        submit_repeat_safe: provider.submit_repeat_safe,
        models: of_it.map(|model| model.spec.name.clone()).collect(),
    })
}

/// The names of a provider's keys, or why they cannot be had.
async fn keys(backend: &Backend, provider: &Manifest) -> (Vec<KeyId>, Option<String>) {
    let Some(http) = provider.http() else { return (Vec::new(), None) };
    match backend.secrets.keys(&http.key_env).await {
        Ok(keys) => (keys.iter().map(|key| KeyId::of(key.expose_secret())).collect(), None),
        Err(error) => (Vec::new(), Some(error.to_string())),
    }
}

fn health(backend: &Backend, key: &KeyId, state: &KeyState) -> KeyHealthView {
    let unwell = state.unwell(backend.now());
    let health = match unwell.map(|busy| busy.why) {
        None => KeyHealth::Ok,
        Some(BusyWhy::OutOfOrder | BusyWhy::Probed) => KeyHealth::OutOfOrder,
        Some(BusyWhy::Paused | BusyWhy::Slots | BusyWhy::Minute | BusyWhy::Day) => KeyHealth::Paused,
    };
    KeyHealthView { key: key.to_string(), health, until: unwell.map(|busy| busy.free_at) }
}
