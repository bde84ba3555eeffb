//! Weights that are stored as what they are computed from: weight norm, spectral norm, pruning masks.
//!
//! Each is computed as PyTorch does in evaluation mode, in both of the ways in which PyTorch has spelled it, and in 64 bits before
//! the result is rounded. Other parametrizations are refused by name.

use std::collections::BTreeMap;

use crate::entry::{Content, Entry, Kind};
use crate::floats::{Float, Format, Values};

/// How a weight is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// `w = g · v / ‖v‖`, with the norm over the dimensions in which g has one entry. Parts: g, v.
    WeightNorm,
    /// `w = w₀ · mask`. Parts: w₀, mask.
    Mask,
    /// `w = w₀ / (uᵀ W₀ v)`, with W₀ the matrix of w₀'s first dimension and all others. Parts: w₀, u, v.
    SpectralNorm,
}

impl Rule {
    const fn name(self) -> &'static str {
        match self {
            Self::WeightNorm => "weight norm",
            Self::Mask => "pruning masks",
            Self::SpectralNorm => "spectral norm",
        }
    }

    /// Computes a weight of a shape that the parts were checked against.
    ///
    /// - `parts`: their shapes and numbers
    ///
    /// # Errors
    /// If what is divided by is zero or no number, or the parts do not tell which dimension is meant.
    pub(crate) fn compute(self, shape: &[usize], parts: &[(Vec<usize>, Values)]) -> Result<Values, String> {
        let n_rounded = parts.iter().map(|(_, part)| part.n_rounded).sum();
        let values = match (self, parts) {
            (Self::WeightNorm, [(g_shape, g), (_, v)]) => weight_norm(g_shape, shape, &g.values, &v.values)?,
            (Self::Mask, [(_, w), (_, mask)]) => {
                w.values.iter().zip(&mask.values).map(|(&w, &mask)| w * mask).collect()
            }
            (Self::SpectralNorm, [(_, w), (_, u), (_, v)]) => {
                let sigma = sigma(shape, &w.values, &u.values, &v.values)?;
                w.values.iter().map(|&w| (f64::from(w) / sigma) as f32).collect()
            }
            _ => unreachable!("a rule is made with its parts"),
        };
        Ok(Values { values, n_rounded })
    }
}

/// - `g`: one entry, or one for each index of the one dimension in which it is longer
fn weight_norm(g_shape: &[usize], shape: &[usize], g: &[f32], v: &[f32]) -> Result<Vec<f32>, String> {
    let inner = match g_shape.iter().position(|&size| size > 1) {
        Some(dimension) => shape[dimension + 1..].iter().product::<usize>(),
        None => 1,
    };
    let group = |at: usize| at / inner % g.len();
    let mut squares = vec![0_f64; g.len()];
    for (at, &v) in v.iter().enumerate() {
        squares[group(at)] += f64::from(v) * f64::from(v);
    }
    if let Some(at) = squares.iter().position(|&square| square == 0.0 || !square.is_finite()) {
        return Err(format!("its weight norm divides by the norm of channel {at}, which is {}", squares[at].sqrt()));
    }
    let factors: Vec<f64> = g.iter().zip(&squares).map(|(&g, square)| f64::from(g) / square.sqrt()).collect();
    Ok(v.iter().enumerate().map(|(at, &v)| (f64::from(v) * factors[group(at)]) as f32).collect())
}

/// By how much the transposed product has to be larger: u and v are found by iteration, and differ from what they will be.
const MARGIN: f64 = 1.1;

/// `uᵀ W v`. Of a square matrix that was normed along its other dimension, the transposed product is the larger one, since u and v
/// are nearly what makes it largest.
fn sigma(shape: &[usize], w: &[f32], u: &[f32], v: &[f32]) -> Result<f64, String> {
    let product = |u: &[f32], v: &[f32]| -> f64 {
        let rows = w.chunks_exact(v.len().max(1)).zip(u);
        let dot = |row: &[f32]| row.iter().zip(v).map(|(&w, &v)| f64::from(w) * f64::from(v)).sum::<f64>();
        rows.map(|(row, &u)| f64::from(u) * dot(row)).sum()
    };
    let sigma = product(u, v);
    if sigma == 0.0 || !sigma.is_finite() {
        return Err(format!("its spectral norm divides by {sigma}"));
    }
    if u.len() == v.len() && shape.len() == 2 && product(v, u).abs() > MARGIN * sigma.abs() {
        return Err(
            "its spectral norm may be along another dimension than the first; supported: along the first".to_owned()
        );
    }
    Ok(sigma)
}

/// Tensors with weights in place of what they are computed from, and what the user should know.
///
/// # Errors
/// Parametrizations that are not known, by name.
pub(crate) fn resolve(entries: Vec<Entry>) -> Result<(Vec<Entry>, Vec<String>), String> {
    let mut notes = BTreeMap::<&str, Vec<String>>::new();
    let mut entries = entries;
    // A mask may lie on a part of another: more than three deep they are not nested by anything that there is.
    for _ in 0..3 {
        let (resolved, found) = resolve_once(&entries);
        entries = resolved;
        if found.is_empty() {
            break;
        }
        for (rule, name) in found {
            notes.entry(rule.name()).or_default().push(name);
        }
    }
    if let Some(entry) = entries.iter().find(|entry| entry.name.contains("parametrizations.")) {
        return Err(format!(
            "`{}` is part of a parametrization; supported: weight norm and spectral norm, one at a time",
            entry.name
        ));
    }
    let text = |(rule, names): (&str, Vec<String>)| format!("computed from their {rule}: {}", listed(&names));
    Ok((entries, notes.into_iter().map(text).collect()))
}

/// Up to five names, and the number of the others.
pub(crate) fn listed(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(5).map(|name| format!("`{name}`")).collect();
    let rest = names.len().saturating_sub(5);
    if rest == 0 { shown.join(", ") } else { format!("{} and {rest} more", shown.join(", ")) }
}

fn resolve_once(entries: &[Entry]) -> (Vec<Entry>, Vec<(Rule, String)>) {
    let places: BTreeMap<&str, usize> = entries.iter().enumerate().map(|(at, entry)| (&*entry.name, at)).collect();
    let mut found = Vec::new();
    // Place of the first part → rule, name, places of all parts.
    let mut made: BTreeMap<usize, (Rule, String, Vec<usize>)> = BTreeMap::new();
    let mut used = vec![false; entries.len()];
    for entry in entries {
        for (rule, weight, names) in candidates(&entry.name) {
            let Some(parts) = names.iter().map(|name| places.get(&**name).copied()).collect::<Option<Vec<_>>>() else {
                continue;
            };
            let is_free = parts.iter().all(|&part| !used[part]) && !places.contains_key(&*weight);
            if is_free && fits(rule, &parts.iter().map(|&part| &entries[part]).collect::<Vec<_>>()) {
                for &part in &parts {
                    used[part] = true;
                }
                let first = *parts.iter().min().expect("a rule has parts");
                found.push((rule, weight.clone()));
                made.insert(first, (rule, weight, parts));
                break;
            }
        }
    }
    let mut resolved = Vec::with_capacity(entries.len());
    for (at, entry) in entries.iter().enumerate() {
        if let Some((rule, name, parts)) = made.remove(&at) {
            let parts: Vec<Entry> = parts.iter().map(|&part| entries[part].clone()).collect();
            let shape = parts[usize::from(rule == Rule::WeightNorm)].shape.clone();
            resolved.push(Entry {
                name,
                shape,
                kind: Kind::Float(Format::Wide(Float::F32)),
                content: Content::Computed(rule, parts),
            });
        } else if !used[at] {
            resolved.push(entry.clone());
        }
    }
    (resolved, found)
}

/// What a tensor may be the decisive part of: the rule, the weight and the names of all parts.
fn candidates(name: &str) -> Vec<(Rule, String, Vec<String>)> {
    let (path, field) = name.rsplit_once('.').map_or(("", name), |(path, field)| (path, field));
    let join = |path: &str, field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let own = |field: &str, suffixes: &[&str]| {
        (join(path, field), suffixes.iter().map(|suffix| join(path, &format!("{field}{suffix}"))).collect())
    };
    let mut candidates = Vec::new();
    if let Some(of) = field.strip_suffix("_g") {
        let (weight, parts) = own(of, &["_g", "_v"]);
        candidates.push((Rule::WeightNorm, weight, parts));
    }
    if let Some(of) = field.strip_suffix("_orig") {
        let (weight, parts) = own(of, &["_orig", "_mask"]);
        candidates.push((Rule::Mask, weight, parts));
        let (weight, parts) = own(of, &["_orig", "_u", "_v"]);
        candidates.push((Rule::SpectralNorm, weight, parts));
    }
    // MODULE.parametrizations.weight.original0
    let split = path.rsplit_once("parametrizations.").filter(|(_, of)| !of.contains('.'));
    if let Some((module, of)) = split {
        let weight = format!("{module}{of}");
        let parts = |suffixes: &[&str]| suffixes.iter().map(|suffix| format!("{path}.{suffix}")).collect();
        match field {
            "original0" => candidates.push((Rule::WeightNorm, weight, parts(&["original0", "original1"]))),
            "original" => candidates.push((Rule::SpectralNorm, weight, parts(&["original", "0._u", "0._v"]))),
            _ => {}
        }
    }
    candidates
}

/// Whether tensors are shaped like a rule's parts.
fn fits(rule: Rule, parts: &[&Entry]) -> bool {
    if !parts.iter().all(|part| matches!(part.kind, Kind::Float(_))) {
        return false;
    }
    match (rule, parts) {
        (Rule::WeightNorm, [g, v]) => {
            let long = g.shape.iter().filter(|&&size| size > 1).count();
            let is_along = g.shape.iter().zip(&v.shape).all(|(&g, &v)| g == 1 || g == v);
            g.shape.is_empty() || (g.shape.len() == v.shape.len() && is_along && long <= 1)
        }
        (Rule::Mask, [w, mask]) => w.shape == mask.shape,
        (Rule::SpectralNorm, [w, u, v]) => {
            let rest = w.shape.iter().skip(1).try_fold(1_usize, |n, &size| n.checked_mul(size));
            w.shape.len() > 1
                && u.shape == w.shape[..1]
                && Some(v.shape.as_slice()) == rest.as_ref().map(std::slice::from_ref)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Storage;

    fn entry(name: &str, shape: &[usize], values: &[f32]) -> Entry {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let kind = Kind::Float(Format::Wide(Float::F32));
        Entry::contiguous(name.to_owned(), shape.to_vec(), kind, Storage::Memory(bytes))
    }

    fn values(entries: Vec<Entry>, name: &str) -> Result<Vec<f32>, String> {
        let (entries, _) = resolve(entries)?;
        assert_eq!(entries.len(), 1, "all parts are used");
        assert_eq!(entries[0].name, name);
        entries[0].values().map(|values| values.values).map_err(|flaw| format!("{flaw:?}"))
    }

    #[test]
    fn weight_norm_divides_by_the_norm_over_all_other_dimensions() {
        // Rows of norms 5 and 13, columns of norms √34 and √160, all of √194.
        let v = [3., 4., 5., 12.];
        let by = |g_shape: &[usize], g: &[f32]| {
            values(vec![entry("a.weight_g", g_shape, g), entry("a.weight_v", &[2, 2], &v)], "a.weight").unwrap()
        };
        assert_eq!(by(&[2, 1], &[10., 26.]), [6., 8., 10., 24.]);
        assert_eq!(by(&[1, 2], &[34_f32.sqrt(), 160_f32.sqrt()]), v);
        assert_eq!(by(&[], &[2. * 194_f32.sqrt()]), [6., 8., 10., 24.]);
        let new = vec![
            entry("parametrizations.weight.original0", &[2, 1], &[10., 26.]),
            entry("parametrizations.weight.original1", &[2, 2], &v),
        ];
        assert_eq!(values(new, "weight").unwrap(), [6., 8., 10., 24.]);
        let zero = vec![entry("weight_g", &[2, 1], &[1., 1.]), entry("weight_v", &[2, 2], &[3., 4., 0., 0.])];
        assert!(values(zero, "weight").unwrap_err().contains("norm of channel 1, which is 0"));
    }

    #[test]
    fn spectral_norm_divides_by_the_product_of_its_vectors() {
        let parts = |u: &[f32], v: &[f32]| {
            let w = [0., 4., 2., 0., 0., 0.];
            vec![entry("w_orig", &[2, 3], &w), entry("w_u", &[2], u), entry("w_v", &[3], v)]
        };
        assert_eq!(values(parts(&[1., 0.], &[0., 1., 0.]), "w").unwrap(), [0., 1., 0.5, 0., 0., 0.]);
        assert!(values(parts(&[0., 1.], &[0., 1., 0.]), "w").unwrap_err().contains("divides by 0"));
        // Of a square matrix whose first row is large, u is (1, 0) along the first dimension, and v is so along the other.
        let square = |u: &[f32], v: &[f32]| {
            vec![entry("w_orig", &[2, 2], &[4., 4., 0., 1.]), entry("w_u", &[2], u), entry("w_v", &[2], v)]
        };
        assert_eq!(values(square(&[1., 0.], &[0.5, 0.5]), "w").unwrap(), [1., 1., 0., 0.25]);
        let error = values(square(&[0.5, 0.5], &[1., 0.]), "w").unwrap_err();
        assert!(error.contains("along another dimension"), "{error}");
    }

    #[test]
    fn parts_that_are_not_shaped_like_any_stay_what_they_are() {
        for (first, second) in [
            (entry("w_g", &[2, 2], &[1.; 4]), entry("w_v", &[2, 2], &[1.; 4])),
            (entry("w_g", &[3, 1], &[1.; 3]), entry("w_v", &[2, 2], &[1.; 4])),
            (entry("w_orig", &[2, 2], &[1.; 4]), entry("w_mask", &[4], &[1.; 4])),
            (entry("w_orig", &[2, 2], &[1.; 4]), entry("w_u", &[2], &[1.; 2])),
        ] {
            let (entries, notes) = resolve(vec![first, second]).unwrap();
            assert_eq!((entries.len(), notes.len()), (2, 0));
        }
        let both = [entry("w", &[1], &[1.]), entry("w_orig", &[1], &[2.]), entry("w_mask", &[1], &[0.])];
        assert_eq!(resolve(both.to_vec()).unwrap().0.len(), 3, "what is there is not made a second time");
    }
}
