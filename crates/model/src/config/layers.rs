//! `[[model.layers]]`: each table to a [`LayerKind`], then all of them to an [`Architecture`].

use toml::{Table, Value};

use super::Problem;
use super::schema::brief;
use crate::architecture::{Architecture, LayerKind};

/// Most units of a dense layer that a configuration may ask for.
const MAX_UNITS: i64 = 1 << 20;

/// The checked network; `None` if a problem was added.
pub(super) fn architecture(model: &Table, problems: &mut Vec<Problem>) -> Option<Architecture> {
    let before = problems.len();
    let kinds: Vec<_> =
        model.get("layers")?.as_array()?.iter().enumerate().map(|(idx, layer)| kind(idx, layer, problems)).collect();
    let sizes: Vec<usize> =
        model.get("input")?.as_array()?.iter().filter_map(|size| size.as_integer().map(|size| size as usize)).collect();
    if problems.len() > before {
        return None;
    }
    let kinds: Vec<_> = kinds.into_iter().flatten().collect();
    match Architecture::new(sizes.try_into().ok()?, &kinds) {
        Ok(architecture) => Some(architecture),
        Err(found) => {
            problems.extend(found.into_iter().map(|problem| match problem.layer_idx {
                Some(idx) => Problem::new(&place(idx), problem.message),
                None => Problem::new("model.layers", problem.message),
            }));
            None
        }
    }
}

fn place(idx: usize) -> String {
    format!("model.layers.{idx}")
}

fn kind(idx: usize, layer: &Value, problems: &mut Vec<Problem>) -> Option<LayerKind> {
    let table = layer.as_table()?;
    let known = || LayerKind::KINDS.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let Some(name) = table.get("kind").and_then(Value::as_str) else {
        problems.push(Problem::new(&place(idx), format!("`kind` is missing or no text; give one of {}", known())));
        return None;
    };
    let Some((_, keys)) = LayerKind::KINDS.iter().find(|(kind, _)| *kind == name) else {
        let nearest =
            LayerKind::KINDS.iter().map(|(kind, _)| *kind).min_by_key(|kind| strsim::damerau_levenshtein(kind, name));
        let hint = nearest.filter(|kind| strsim::damerau_levenshtein(kind, name) <= 2);
        let hint = hint.map_or_else(|| format!("use one of {}", known()), |kind| format!("did you mean `{kind}`?"));
        problems.push(Problem::new(&place(idx), format!("unknown kind `{name}`; {hint}")));
        return None;
    };
    let before = problems.len();
    for key in table.keys().filter(|key| *key != "kind" && !keys.contains(&key.as_str())) {
        let remedy =
            if keys.is_empty() { "it takes no keys".to_owned() } else { format!("it takes {}", keys.join(", ")) };
        problems.push(Problem::new(&place(idx), format!("{name}: unknown key `{key}`; {remedy}")));
    }
    let mut refuse = |key: &str, wanted: String| {
        let found = table.get(key).map_or_else(|| "missing".to_owned(), |value| format!("found {}", brief(value)));
        problems.push(Problem::new(&format!("{}.{key}", place(idx)), format!("{name}: {found}; give {wanted}")));
    };
    let kind = match name {
        "flatten" => LayerKind::Flatten,
        "relu" => LayerKind::Relu,
        "dense" => {
            let units = table.get("units").and_then(Value::as_integer).filter(|units| (1..=MAX_UNITS).contains(units));
            if units.is_none() {
                refuse("units", format!("a whole number from 1 to {MAX_UNITS}"));
            }
            LayerKind::Dense { units: units.unwrap_or(1) as usize }
        }
        "dropout" => {
            let rate = table
                .get("rate")
                .and_then(|rate| rate.as_float().or_else(|| rate.as_integer().map(|whole| whole as f64)));
            let rate = rate.filter(|rate| (0.0..1.0).contains(rate));
            if rate.is_none() {
                refuse("rate", "a number from 0 to below 1".to_owned());
            }
            LayerKind::Dropout { rate: rate.unwrap_or(0.0) }
        }
        other => unreachable!("kind `{other}` is in LayerKind::KINDS but is not read here"),
    };
    (problems.len() == before).then_some(kind)
}
