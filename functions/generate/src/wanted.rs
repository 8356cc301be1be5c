//! What is asked for: a model, a chain or a tool of the catalog, its parameters checked, and who may make it.

use std::sync::Arc;

use serde_json::{Map, Value};
use shared::api::{Problem, PromptSyntax};
use shared::backend::Backend;
use shared::catalog::manifest::Operation;
use shared::catalog::{Catalog, Model, Offer, Plan};
use shared::extended_prompt::ExtendedPrompt;
use shared::generation::Candidate;
use shared::price::{Cost, Price};
use shared::provider::provider_keys;
use shared::text_style::TextStyle;

/// What a customer asks for, as it was sent.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) model: Option<&'a str>,
    pub(crate) tool: Option<&'a str>,
    pub(crate) params: &'a Map<String, Value>,
    pub(crate) prompt_syntax: PromptSyntax,
}

/// The same, checked.
pub(crate) struct Wanted {
    pub(crate) offer: Offer,
    /// The one model of the tool that the customer wants.
    only: Option<Arc<Model>>,
    /// Defaults filled in.
    pub(crate) params: Map<String, Value>,
    /// Who may make it; never empty.
    pub(crate) candidates: Vec<Candidate>,
    price: Price,
}

impl Wanted {
    pub(crate) async fn read(backend: &Backend, catalog: &Catalog, asked: Asked<'_>) -> Result<Self, Problem> {
        let mut params = asked.params.clone();
        let extended = match asked.prompt_syntax {
            PromptSyntax::Plain => None,
            PromptSyntax::Extended => Some(extended(&params)?),
        };
        let own_model = extended.as_ref().and_then(|extended| extended.model.as_deref());
        if asked.model.is_some() && own_model.is_some() {
            let detail = "the prompt names a model, and so does `model`: name one";
            return Err(Problem::new(422, "invalid_param", "Invalid parameter", detail).at("model"));
        }
        let (offer, only) = choose(catalog, asked.tool, asked.model.or(own_model))?;
        if let Some(extended) = extended {
            extended.into_params(offer.params_schema(), &mut params)?;
        }
        let params = offer.params().check("params.", &params)?;
        check_style(&offer, &params)?;
        let plans: Vec<Plan> = offer.plans(&params);
        let plans = match &only {
            Some(only) => plans.into_iter().filter(|plan| plan.candidate.model == only.spec.name).collect(),
            None => without_needless_stand_ins(backend, catalog, plans).await,
        };
        let Some(first) = plans.first() else {
            let detail = match &only {
                Some(only) => format!("`{}` cannot take these parameters together", only.spec.name),
                None => "no model of this chain can take these parameters together".to_owned(),
            };
            return Err(Problem::new(422, "invalid_param", "Invalid parameter", detail).at("params"));
        };
        let priced = first_that_can_be_asked(backend, catalog, &plans).await.unwrap_or(first);
        let price = priced.price.as_ref().unwrap_or(offer.price()).clone();
        let candidates = plans.into_iter().map(|plan| plan.candidate).collect();
        Ok(Self { offer, only, params, candidates, price })
    }

    /// What it costs now.
    pub(crate) fn cost(&self) -> Result<Cost, Problem> {
        let beyond =
            || Problem::new(422, "out_of_range", "Invalid parameter", "the price of this is beyond every limit").at("params");
        self.price.of(&self.params).ok_or_else(beyond)
    }

    /// What a quote for it is for: its catalog name, and the one model if one was asked for.
    pub(crate) fn quoted_as(&self) -> String {
        match &self.only {
            Some(only) => format!("{} by {}", self.offer.name(), only.spec.name),
            None => self.offer.name().to_owned(),
        }
    }
}

/// What the JSON Schema of a caption's style leaves to the type.
fn check_style(offer: &Offer, params: &Map<String, Value>) -> Result<(), Problem> {
    let has_style = offer.models().iter().any(|model| model.spec.operation == Some(Operation::AddText));
    let Some(style) = params.get("style").filter(|_| has_style) else { return Ok(()) };
    TextStyle::from_json(style).map(drop).map_err(|error| {
        let at = if error.field == "style" { "params.style".to_owned() } else { format!("params.style.{}", error.field) };
        Problem::new(422, "invalid_param", "Invalid parameter", error.problem).at(at)
    })
}

fn extended(params: &Map<String, Value>) -> Result<ExtendedPrompt, Problem> {
    match params.get("prompt") {
        Some(Value::String(line)) => Ok(ExtendedPrompt::parse(line)?),
        Some(_) | None => {
            let detail = "the extended syntax is that of `params.prompt`, a text, which is missing";
            Err(Problem::new(422, "missing_param", "Missing parameter", detail).at("params.prompt"))
        }
    }
}

/// The offer, and the one model of it if the customer wants no other. A model that the tool does not have is asked by itself.
fn choose(catalog: &Catalog, tool: Option<&str>, model: Option<&str>) -> Result<(Offer, Option<Arc<Model>>), Problem> {
    let short = |name: &str| name.chars().take(80).collect::<String>();
    let unknown = |param: &str, detail: String| Problem::new(422, &format!("unknown_{param}"), "Unknown name", detail).at(param);
    let Some(tool) = tool else {
        let Some(name) = model else {
            let detail = "say what to make with: a `tool` of `GET /v1/tools`, or a `model` of `GET /v1/models`";
            return Err(Problem::new(422, "missing_param", "Missing parameter", detail).at("model"));
        };
        let detail = || format!("there is no model `{}`; `GET /v1/models` lists them", short(name));
        return Ok((catalog.offer(name).ok_or_else(|| unknown("model", detail()))?, None));
    };
    let offer = catalog.offer(tool).filter(Offer::is_tool);
    let offer =
        offer.ok_or_else(|| unknown("tool", format!("there is no tool `{}`; `GET /v1/tools` lists them", short(tool))))?;
    let Some(name) = model else { return Ok((offer, None)) };
    let models = offer.models();
    let Some(model) = catalog.model(name).filter(|model| model.spec.kind == offer.kind()) else {
        let names = models.iter().map(|model| model.spec.name.as_str()).collect::<Vec<_>>().join("`, `");
        let detail = format!("there is no model `{}` for this tool; it has `{names}`", short(name));
        return Err(unknown("model", detail));
    };
    if models.iter().any(|own| own.spec.name == model.spec.name) {
        return Ok((offer, Some(Arc::clone(model))));
    }
    Ok((Offer::Model(Arc::clone(model)), None))
}

/// Stand-ins are for trying a chain of which nobody can be asked.
async fn without_needless_stand_ins(backend: &Backend, catalog: &Catalog, plans: Vec<Plan>) -> Vec<Plan> {
    if plans.iter().all(|plan| plan.stand_in) || !plans.iter().any(|plan| plan.stand_in) {
        return plans;
    }
    let (stand_ins, others): (Vec<Plan>, Vec<Plan>) = plans.into_iter().partition(|plan| plan.stand_in);
    if first_that_can_be_asked(backend, catalog, &others).await.is_some() { others } else { stand_ins }
}

/// The first whose provider has a key, or needs none. Keys that cannot be read at this moment are keys.
async fn first_that_can_be_asked<'p>(backend: &Backend, catalog: &Catalog, plans: &'p [Plan]) -> Option<&'p Plan> {
    for plan in plans {
        let Some(provider) = catalog.provider(&plan.candidate.provider) else { continue };
        if provider.http().is_none() || provider_keys(backend, provider).await.map_or(true, |keys| !keys.is_empty()) {
            return Some(plan);
        }
    }
    None
}
