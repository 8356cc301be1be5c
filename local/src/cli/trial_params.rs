//! The parameters of a trial: which media parameter takes which file, and what a model needs besides.

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};
use shared::api::ModelView;
use shared::catalog::manifest::MediaKind;

/// A file to be handed in.
pub(super) struct Input {
    /// As the person named it.
    pub(super) path: String,
    /// The parameter that it is for, when the person said so.
    pub(super) param: Option<String>,
    /// What it is, as its bytes tell.
    pub(super) content_type: &'static str,
}

/// Which files a parameter gets, by their numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    One(usize),
    List(Vec<usize>),
}

/// A media parameter of a model.
struct Slot<'a> {
    name: &'a str,
    is_list: bool,
    required: bool,
    room: usize,
    types: Vec<&'a str>,
    files: Vec<usize>,
}

impl<'a> Slot<'a> {
    fn read(model: &'a ModelView, name: &'a str, property: &'a Value) -> Option<Self> {
        let is_asset = |value: &Value| value.get("format") == Some(&Value::from("asset"));
        let items = property.get("items").filter(|items| is_asset(items));
        if items.is_none() && !is_asset(property) {
            return None;
        }
        let stated = property.get("x-content-types").or_else(|| items?.get("x-content-types"));
        let types = match stated.and_then(Value::as_array) {
            Some(types) => types.iter().filter_map(Value::as_str).collect(),
            None => vec!["image/jpeg", "image/png", "image/webp"],
        };
        let most = property.get("maxItems").and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
        let room = if items.is_some() { most.unwrap_or(usize::MAX) } else { 1 };
        Some(Self { name, is_list: items.is_some(), required: is_required(model, name), room, types, files: Vec::new() })
    }

    fn takes(&self, input: &Input) -> bool {
        self.files.len() < self.room && self.types.contains(&input.content_type)
    }
}

fn is_required(model: &ModelView, name: &str) -> bool {
    model.params.get("required").and_then(Value::as_array).is_some_and(|names| names.iter().any(|own| own == name))
}

fn properties(model: &ModelView) -> impl Iterator<Item = (&String, &Value)> {
    model.params.get("properties").and_then(Value::as_object).into_iter().flatten()
}

/// Decides which parameter gets which file: those that were named; then what the model cannot do without, in its schema's order; then
/// single parameters (such as the first and the last frame) while the files fit into them, else the list. A mask is only filled when it
/// is needed or named. `given` are parameters that the person wrote out: they are left alone.
pub(super) fn place(model: &ModelView, inputs: &[Input], given: &Map<String, Value>) -> Result<Vec<(String, Place)>> {
    let slots = properties(model).filter(|(name, _)| !given.contains_key(*name));
    let mut slots: Vec<Slot<'_>> = slots.filter_map(|(name, property)| Slot::read(model, name, property)).collect();
    if let Some(input) = inputs.first().filter(|_| slots.is_empty()) {
        bail!(
            "the model `{}` takes no files; leave out `{}`, or choose another one from `darkroom models`",
            model.name,
            input.path
        );
    }
    let mut left = place_named(model, inputs, &mut slots)?;
    for slot in slots.iter_mut().filter(|slot| slot.required && slot.files.is_empty()) {
        let Some(at) = left.iter().position(|number| slot.takes(&inputs[*number])) else {
            bail!(
                "the model `{}` needs a file for `{}` ({}); give it with `--image {}=FILE`",
                model.name,
                slot.name,
                slot.types.join(", "),
                slot.name
            );
        };
        slot.files.push(left.remove(at));
    }
    place_rest(model, inputs, &left, &mut slots)?;
    let filled = slots.into_iter().filter(|slot| !slot.files.is_empty());
    Ok(filled
        .map(|slot| (slot.name.to_owned(), if slot.is_list { Place::List(slot.files) } else { Place::One(slot.files[0]) }))
        .collect())
}

/// Places the files whose parameter was named; the numbers of the others.
fn place_named(model: &ModelView, inputs: &[Input], slots: &mut [Slot<'_>]) -> Result<Vec<usize>> {
    let mut left = Vec::new();
    for (number, input) in inputs.iter().enumerate() {
        let Some(name) = &input.param else {
            left.push(number);
            continue;
        };
        let names: Vec<&str> = slots.iter().map(|slot| slot.name).collect();
        let unknown = || anyhow!("the model `{}` takes no file for `{name}`; it takes {}", model.name, names.join(", "));
        let at = names.iter().position(|own| own == name).ok_or_else(unknown)?;
        if !slots[at].takes(input) {
            return Err(misfit(model, input, slots));
        }
        slots[at].files.push(number);
    }
    Ok(left)
}

/// Places what nothing asked for by name, images apart from videos.
fn place_rest(model: &ModelView, inputs: &[Input], left: &[usize], slots: &mut [Slot<'_>]) -> Result<()> {
    let is_video = |number: &usize| inputs[*number].content_type.starts_with("video/");
    let (videos, images): (Vec<usize>, Vec<usize>) = left.iter().partition(|number| is_video(number));
    for files in [images, videos] {
        let Some(first) = files.first() else { continue };
        let fits = |slot: &Slot<'_>| slot.name != "mask" && slot.takes(&inputs[*first]);
        let started = slots.iter().position(|slot| slot.is_list && slot.required && fits(slot));
        let singles: Vec<usize> = (0..slots.len()).filter(|at| !slots[*at].is_list && fits(&slots[*at])).collect();
        let list = || slots.iter().position(|slot| slot.is_list && fits(slot));
        let chosen = match started {
            Some(list) => vec![list; files.len()],
            None if files.len() <= singles.len() => singles,
            None => list().map(|list| vec![list; files.len()]).unwrap_or(singles),
        };
        for (n, number) in files.iter().enumerate() {
            match chosen.get(n) {
                Some(at) if slots[*at].takes(&inputs[*number]) => slots[*at].files.push(*number),
                Some(_) | None => return Err(misfit(model, &inputs[*number], slots)),
            }
        }
    }
    Ok(())
}

fn misfit(model: &ModelView, input: &Input, slots: &[Slot<'_>]) -> anyhow::Error {
    let takes = slots.iter().map(|slot| {
        let many = if slot.room == usize::MAX { "any number".to_owned() } else { format!("at most {}", slot.room) };
        format!("{many} for `{}` ({})", slot.name, slot.types.join(", "))
    });
    let takes = takes.collect::<Vec<_>>().join("; ");
    anyhow!("`{}` ({}) has no place in the model `{}`; it takes {takes}", input.path, input.content_type, model.name)
}

/// What the person wants besides files.
pub(super) struct Wishes {
    pub(super) prompt: Option<String>,
    pub(super) duration_s: Option<u32>,
    /// These win over everything else.
    pub(super) params: Map<String, Value>,
    /// What is needed and was not said is made up.
    pub(super) make_up: bool,
}

/// All parameters: the media, the wishes, and for whatever else the model cannot do without something that it takes.
pub(super) fn complete(model: &ModelView, media: Map<String, Value>, wishes: &Wishes) -> Result<Map<String, Value>> {
    let has = |name: &str| properties(model).any(|(own, _)| own == name);
    let mut params = media;
    match &wishes.prompt {
        Some(_) if !has("prompt") => bail!("the model `{}` takes no prompt; leave out `--prompt`", model.name),
        Some(prompt) => drop(params.insert("prompt".to_owned(), json!(prompt))),
        None if has("prompt") && wishes.make_up => {
            let prompt = default_prompt(model.kind, !params.is_empty());
            params.insert("prompt".to_owned(), json!(prompt));
        }
        None => {}
    }
    if let Some(seconds) = wishes.duration_s {
        if !has("duration") {
            bail!("the model `{}` has no parameter `duration`; leave out `--duration`", model.name);
        }
        params.insert("duration".to_owned(), json!(seconds));
    }
    params.extend(wishes.params.clone());
    if !wishes.make_up {
        return Ok(params);
    }
    for (name, property) in properties(model) {
        if !params.contains_key(name) && is_required(model, name) && property.get("default").is_none() {
            let value = something(property).ok_or_else(|| {
                anyhow!("the model `{}` needs `{name}`; give it with `--params '{{\"{name}\": …}}'`", model.name)
            })?;
            params.insert(name.clone(), value);
        }
    }
    Ok(params)
}

fn default_prompt(kind: MediaKind, has_media: bool) -> &'static str {
    match (kind, has_media) {
        (MediaKind::Image, false) => "A lighthouse in the fog",
        (MediaKind::Image, true) => "Let it be evening, with warm light",
        (MediaKind::Video, false) => "The beam of a lighthouse sweeps slowly through the fog",
        (MediaKind::Video, true) => "The camera moves slowly closer",
        (MediaKind::Text | MediaKind::Json, false) => "Describe a lighthouse in the fog, in one sentence",
        (MediaKind::Text, true) => "Say in one sentence what can be seen",
        (MediaKind::Json, true) => "List what can be seen",
    }
}

/// A value that a parameter takes: the first choice, or the middle of a range; none of a free text.
fn something(property: &Value) -> Option<Value> {
    if let Some(first) = property.get("enum").and_then(Value::as_array).and_then(|choices| choices.first()) {
        return Some(first.clone());
    }
    let bound = |name: &str| property.get(name);
    match property.get("type").and_then(Value::as_str)? {
        "boolean" => Some(Value::Bool(false)),
        "integer" => Some(bound("minimum").cloned().unwrap_or_else(|| json!(1))),
        "number" => {
            let (low, high) = (bound("minimum")?.as_f64()?, bound("maximum")?.as_f64()?);
            Some(json!(low.midpoint(high)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::catalog::Catalog;

    fn model(name: &str) -> ModelView {
        ModelView::from(&Catalog::built_in().unwrap().offer(name).unwrap())
    }

    /// A file as `[PARAM=]name.ext`.
    fn input(text: &str) -> Input {
        let (param, path) = text.split_once('=').map_or((None, text), |(param, path)| (Some(param.to_owned()), path));
        let content_type = match path.rsplit('.').next() {
            Some("png") => "image/png",
            Some("gif") => "image/gif",
            Some("mp4") => "video/mp4",
            _ => "image/jpeg",
        };
        Input { path: path.to_owned(), param, content_type }
    }

    fn placed(name: &str, files: &str) -> String {
        let inputs: Vec<Input> = files.split_whitespace().map(input).collect();
        let show = |(name, place): (String, Place)| match place {
            Place::One(number) => format!("{name}={}", inputs[number].path),
            Place::List(numbers) => {
                format!("{name}=[{}]", numbers.iter().map(|number| inputs[*number].path.as_str()).collect::<Vec<_>>().join(" "))
            }
        };
        match place(&model(name), &inputs, &Map::new()) {
            Ok(placed) => placed.into_iter().map(show).collect::<Vec<_>>().join(" "),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn files_go_where_the_schema_has_room_for_them() {
        for (model, files, expected) in [
            ("placeholder", "a.jpg", "image=a.jpg"),
            ("flux-kontext-pro", "a.png", "image=a.png"),
            ("nano-banana-edit", "a.jpg", "images=[a.jpg]"),
            ("nano-banana-edit", "a.jpg b.png", "images=[a.jpg b.png]"),
            ("edit", "a.jpg b.png", "images=[a.jpg b.png]"),
            ("video", "a.jpg", "image=a.jpg"),
            ("hailuo", "a.jpg", "first_frame=a.jpg"),
            ("hailuo-02", "a.jpg b.jpg", "first_frame=a.jpg last_frame=b.jpg"),
            ("minimax-h3", "a.jpg", "first_frame=a.jpg"),
            ("minimax-h3", "a.jpg b.jpg", "first_frame=a.jpg last_frame=b.jpg"),
            ("minimax-h3", "a.jpg b.jpg c.jpg", "images=[a.jpg b.jpg c.jpg]"),
            ("minimax-h3", "images=a.jpg", "images=[a.jpg]"),
            ("seedance", "a.jpg b.jpg", "images=[a.jpg b.jpg]"),
            ("face-swap", "a.jpg b.jpg", "image=a.jpg face=b.jpg"),
            ("face-swap", "face=b.jpg a.jpg", "image=a.jpg face=b.jpg"),
            ("inpaint", "a.jpg b.png", "image=a.jpg mask=b.png"),
            ("gpt-image-edit", "a.jpg b.png", "images=[a.jpg b.png]"),
            ("gpt-image-edit", "a.jpg mask=b.png", "images=[a.jpg] mask=b.png"),
            ("gemini/json", "a.mp4", "video=a.mp4"),
            ("flux-dev", "", ""),
        ] {
            assert_eq!(placed(model, files), expected, "{model} {files}");
        }
    }

    #[test]
    fn a_file_without_a_place_is_refused_before_anything_is_sent() {
        for (model, files, reason) in [
            ("flux-dev", "a.jpg", "takes no files; leave out `a.jpg`"),
            ("placeholder", "a.gif", "`a.gif` (image/gif) has no place"),
            ("placeholder", "a.jpg b.jpg", "`b.jpg` (image/jpeg) has no place"),
            ("seedance", "a.jpg b.jpg c.jpg", "at most 2 for `images`"),
            ("analyze", "a.jpg", "needs a file for `video` (video/mp4, video/quicktime, video/webm)"),
            ("face-swap", "a.jpg", "needs a file for `face`"),
            ("face-swap", "mask=a.jpg b.jpg", "takes no file for `mask`; it takes image, face"),
        ] {
            let answer = placed(model, files);
            assert!(answer.contains(reason), "{model} {files}: {answer}");
        }
    }

    #[test]
    fn a_parameter_that_was_written_out_is_left_alone() {
        let given = Map::from_iter([("first_frame".to_owned(), json!("asset_1"))]);
        let placed = place(&model("minimax-h3"), &[input("a.jpg")], &given).unwrap();
        assert_eq!(placed, [("last_frame".to_owned(), Place::One(0))]);
    }

    fn completed(name: &str, prompt: Option<&str>, duration_s: Option<u32>, params: Value) -> Result<Value> {
        let params = params.as_object().cloned().unwrap_or_default();
        let wishes = Wishes { prompt: prompt.map(str::to_owned), duration_s, params, make_up: true };
        complete(&model(name), Map::new(), &wishes).map(Value::Object)
    }

    #[test]
    fn what_a_model_needs_is_filled_in_and_wishes_win() {
        let prompt = "A lighthouse in the fog";
        assert_eq!(completed("flux-dev", None, None, json!({})).unwrap(), json!({"prompt": prompt}));
        let strong = completed("sd3/image-to-image", Some("x"), None, json!({"image": "asset_1"})).unwrap();
        assert_eq!(strong, json!({"prompt": "x", "image": "asset_1", "strength": 0.5}));
        let video = completed("video", Some("x"), Some(10), json!({"prompt": "y"})).unwrap();
        assert_eq!(video, json!({"prompt": "y", "duration": 10}));
        assert_eq!(completed("retoucher", None, None, json!({"image": "asset_1"})).unwrap(), json!({"image": "asset_1"}));
    }

    #[test]
    fn what_cannot_be_guessed_is_asked_for() {
        let refused = |name, prompt, duration| completed(name, prompt, duration, json!({})).unwrap_err().to_string();
        assert!(refused("upscale", Some("x"), None).contains("takes no prompt"));
        assert!(refused("flux-dev", None, Some(5)).contains("has no parameter `duration`"));
        assert!(refused("replicate/model", None, None).contains("needs `model`; give it with `--params '{\"model\": …}'`"));
    }
}
