//! Which tensor of a file is which of the model's.
//!
//! By name where the names are those of an `nn.Sequential` of all layers; else layer by layer in order, if that is the
//! one way in which every layer finds tensors of its fields and shapes.

use std::collections::{BTreeMap, BTreeSet};

use model::Architecture;

/// A tensor in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

/// What the order of tensors in a file tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// The order in which the network declares its layers.
    OfAppearance,
    /// Nothing: they are sorted.
    Unknown,
}

/// Which tensor of the file each of the model's is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The model's names with positions in the file.
    pub(crate) tensors: Vec<(String, usize)>,
    /// What the user should know; `None` if the names are the model's own.
    pub(crate) note: Option<String>,
}

/// Counts the batches that a batch norm has seen; of no use after training.
const COUNTER: &str = "num_batches_tracked";

/// A layer's tensors, in the file or in the model.
#[derive(Debug)]
struct Module {
    /// Prefix of its tensors' names.
    path: String,
    /// Shape and position of each tensor by its field.
    fields: BTreeMap<String, (Vec<usize>, usize)>,
}

impl Module {
    fn fits(&self, other: &Self) -> bool {
        self.fields.len() == other.fields.len()
            && self.fields.iter().zip(&other.fields).all(|(a, b)| a.0 == b.0 && a.1.0 == b.1.0)
    }
}

/// Finds the model's tensors among a file's.
///
/// # Errors
/// What does not fit, one line per tensor.
pub(crate) fn assign(architecture: &Architecture, found: &[Found], order: Order) -> Result<Assignment, String> {
    let expected: Vec<Found> = architecture.tensors().into_iter().map(|(name, shape)| Found { name, shape }).collect();
    if let Some(tensors) = by_name(&expected, found, "") {
        return Ok(Assignment { tensors, note: None });
    }
    let prefix = common_prefix(found);
    if !prefix.is_empty()
        && let Some(tensors) = by_name(&expected, found, &prefix)
    {
        let note = Some(format!("names are the model's behind `{prefix}`"));
        return Ok(Assignment { tensors, note });
    }
    let (layers, modules) = (modules(&expected), modules(found));
    let pairs = in_order(&layers, &modules, order).or_else(|| by_numbers(&layers, &modules));
    let Some(pairs) = pairs else { return Err(misfit(&expected, found)) };
    let mut tensors = Vec::new();
    for (layer, module) in &pairs {
        for (field, (_, position)) in &module.fields {
            tensors.push((join(&layer.path, field), *position));
        }
    }
    let texts: Vec<String> = pairs.iter().map(|(layer, module)| format!("{} → {}", module.path, layer.path)).collect();
    Ok(Assignment { tensors, note: Some(format!("names taken in order: {}", texts.join(", "))) })
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(COUNTER)
}

/// Every tensor under its own name; `None` if one is not there, or one of another shape or another name is.
fn by_name(expected: &[Found], found: &[Found], prefix: &str) -> Option<Vec<(String, usize)>> {
    let positions: BTreeMap<&str, usize> = found
        .iter()
        .enumerate()
        .filter(|(_, tensor)| !is_counter(&tensor.name))
        .map(|(position, tensor)| Some((tensor.name.strip_prefix(prefix)?, position)))
        .collect::<Option<_>>()?;
    if positions.len() != expected.len() {
        return None;
    }
    let position = |tensor: &Found| {
        let position = *positions.get(tensor.name.as_str())?;
        (found[position].shape == tensor.shape).then(|| (tensor.name.clone(), position))
    };
    expected.iter().map(position).collect()
}

/// What all names start with, up to a dot: `module.` of a `DataParallel`.
fn common_prefix(found: &[Found]) -> String {
    let mut parts: Option<Vec<&str>> = None;
    for tensor in found {
        let mut path: Vec<&str> = tensor.name.split('.').collect();
        path.pop();
        parts = Some(match parts {
            None => path,
            Some(known) => {
                let n = known.iter().zip(&path).take_while(|(a, b)| a == b).count();
                known[..n].to_vec()
            }
        });
    }
    parts.unwrap_or_default().iter().map(|part| format!("{part}.")).collect()
}

/// Tensors by layer, in the order of each layer's first.
fn modules(tensors: &[Found]) -> Vec<Module> {
    let mut modules: Vec<Module> = Vec::new();
    let mut places: BTreeMap<&str, usize> = BTreeMap::new();
    for (position, tensor) in tensors.iter().enumerate().filter(|(_, tensor)| !is_counter(&tensor.name)) {
        let (path, field) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
        let place = *places.entry(path).or_insert_with(|| {
            modules.push(Module { path: path.to_owned(), fields: BTreeMap::new() });
            modules.len() - 1
        });
        modules[place].fields.insert(field.to_owned(), (tensor.shape.clone(), position));
    }
    modules
}

type Pairs<'a> = Vec<(&'a Module, &'a Module)>;

/// Layer by layer in the order of the file.
fn in_order<'a>(layers: &'a [Module], modules: &'a [Module], order: Order) -> Option<Pairs<'a>> {
    let fits = order == Order::OfAppearance && layers.len() == modules.len();
    let pairs: Pairs = layers.iter().zip(modules).collect();
    (fits && pairs.iter().all(|(layer, module)| layer.fits(module))).then_some(pairs)
}

/// Layers whose fields and shapes are those of no other by these; others by the numbers in their names, if they differ in
/// nothing else: `fc2` before `fc10`.
fn by_numbers<'a>(layers: &'a [Module], modules: &'a [Module]) -> Option<Pairs<'a>> {
    if layers.len() != modules.len() {
        return None;
    }
    let mut pairs: Pairs = Vec::with_capacity(layers.len());
    for layer in layers {
        let alike = layers.iter().filter(|other| other.fits(layer));
        let mut candidates: Vec<(String, Vec<u64>, &Module)> = modules
            .iter()
            .filter(|module| module.fits(layer))
            .map(|module| split_numbers(&module.path).map(|(text, numbers)| (text, numbers, module)))
            .collect::<Option<_>>()?;
        let texts: BTreeSet<&str> = candidates.iter().map(|(text, ..)| text.as_str()).collect();
        if texts.len() > 1 || candidates.len() != alike.clone().count() {
            return None;
        }
        candidates.sort_by(|a, b| a.1.cmp(&b.1));
        let place = alike.take_while(|other| other.path != layer.path).count();
        pairs.push((layer, candidates.get(place)?.2));
    }
    Some(pairs)
}

/// `layer2.0.conv1` → `layer#.#.conv#` and 2, 0, 1; `None` if a number is too long to be one.
fn split_numbers(name: &str) -> Option<(String, Vec<u64>)> {
    let (mut text, mut numbers, mut digits) = (String::new(), Vec::new(), String::new());
    for c in name.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        if !digits.is_empty() {
            numbers.push(digits.parse().ok()?);
            digits.clear();
            text.push('#');
        }
        text.push(c);
    }
    Some((text, numbers))
}

/// A table of what the model needs and what the file has, with likely counterparts.
fn misfit(expected: &[Found], found: &[Found]) -> String {
    let mut left: Vec<&Found> = found.iter().filter(|tensor| !is_counter(&tensor.name)).collect();
    let field = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
    let mut rows = vec![["the model needs".to_owned(), "the file has".to_owned(), String::new()]];
    let mut take = |wanted: &dyn Fn(&Found) -> bool| {
        let place = left.iter().position(|tensor| wanted(tensor))?;
        Some(left.remove(place))
    };
    // Those of the same name first, so that no other tensor is given them.
    let mut counterparts: Vec<Option<&Found>> =
        expected.iter().map(|tensor| take(&|other: &Found| other.name == tensor.name)).collect();
    for (tensor, counterpart) in expected.iter().zip(&mut counterparts).filter(|(_, other)| other.is_none()) {
        *counterpart = take(&|other| field(&other.name) == field(&tensor.name) && other.shape == tensor.shape);
    }
    for (tensor, counterpart) in expected.iter().zip(&mut counterparts).filter(|(_, other)| other.is_none()) {
        *counterpart =
            take(&|other| field(&other.name) == field(&tensor.name) && other.shape.len() == tensor.shape.len());
    }
    let cell = |tensor: &Found| format!("`{}` {:?}", tensor.name, tensor.shape);
    for (tensor, counterpart) in expected.iter().zip(&counterparts) {
        let (there, remark) = match counterpart {
            None => ("nothing like it".to_owned(), "missing".to_owned()),
            Some(other) if other.shape != tensor.shape => {
                (cell(other), format!("found shape {:?}; the model needs {:?}", other.shape, tensor.shape))
            }
            Some(other) if other.name != tensor.name => (cell(other), "rename it, if it is the same".to_owned()),
            Some(other) => (cell(other), String::new()),
        };
        rows.push([cell(tensor), there, remark]);
    }
    rows.extend(left.iter().map(|tensor| ["–".to_owned(), cell(tensor), "left over".to_owned()]));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [width(0), width(1)];
    let lines: Vec<String> = rows
        .iter()
        .map(|row| {
            let text = format!("  {:<w0$}  {:<w1$}  {}", row[0], row[1], row[2], w0 = widths[0], w1 = widths[1]);
            text.trim_end().to_owned()
        })
        .collect();
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use model::architecture::LayerKind;
    use proptest::prelude::*;

    use super::*;

    /// Two layers of the same shape, then another.
    fn architecture() -> Architecture {
        use LayerKind::{Dense, Flatten, Relu};
        let kinds = [Flatten, Dense { units: 4 }, Relu, Dense { units: 4 }, Relu, Dense { units: 3 }];
        Architecture::new([1, 2, 2], &kinds).unwrap()
    }

    fn linear(path: &str, n_out: usize) -> [Found; 2] {
        let found = |field: &str, shape: Vec<usize>| Found { name: join(path, field), shape };
        [found("weight", vec![n_out, 4]), found("bias", vec![n_out])]
    }

    fn file(layers: &[(&str, usize)]) -> Vec<Found> {
        layers.iter().flat_map(|(path, n_out)| linear(path, *n_out)).collect()
    }

    /// Layers of the file in the order of the model's, with the note.
    fn assigned(layers: &[(&str, usize)], order: Order) -> Result<(Vec<String>, Option<String>), String> {
        let found = file(layers);
        let Assignment { tensors, note } = assign(&architecture(), &found, order)?;
        let path = |own: &str| {
            let position = tensors.iter().find(|(name, _)| name == own).unwrap().1;
            found[position].name.trim_end_matches(".weight").to_owned()
        };
        Ok((["1.weight", "3.weight", "5.weight"].map(path).to_vec(), note))
    }

    #[test]
    fn names_of_the_model_are_taken_as_they_are_in_any_order() {
        let found = assigned(&[("5", 3), ("3", 4), ("1", 4)], Order::Unknown).unwrap();
        assert_eq!(found, (vec!["1".to_owned(), "3".to_owned(), "5".to_owned()], None));
    }

    #[test]
    fn a_prefix_that_all_names_have_is_passed_over() {
        let (found, note) =
            assigned(&[("module.3", 4), ("module.1", 4), ("module.5", 3)], Order::OfAppearance).unwrap();
        assert_eq!(found, ["module.1", "module.3", "module.5"]);
        assert_eq!(note.unwrap(), "names are the model's behind `module.`");
    }

    #[test]
    fn other_names_are_taken_in_the_order_of_the_file() {
        let (found, note) = assigned(&[("stem", 4), ("middle", 4), ("head", 3)], Order::OfAppearance).unwrap();
        assert_eq!(found, ["stem", "middle", "head"]);
        assert_eq!(note.unwrap(), "names taken in order: stem → 1, middle → 3, head → 5");
    }

    #[test]
    fn where_a_file_has_no_order_numbers_in_names_give_it() {
        let sorted = [("fc10", 4), ("fc2", 4), ("head", 3)];
        assert_eq!(assigned(&sorted, Order::Unknown).unwrap().0, ["fc2", "fc10", "head"]);
        let deep = [("layer2.0.fc1", 4), ("layer1.1.fc2", 4), ("a", 3)];
        assert_eq!(assigned(&deep, Order::Unknown).unwrap().0, ["layer1.1.fc2", "layer2.0.fc1", "a"]);
    }

    #[test]
    fn layers_that_could_be_one_another_are_not_guessed() {
        let error = assigned(&[("middle", 4), ("stem", 4), ("head", 3)], Order::Unknown).unwrap_err();
        assert!(error.contains("`1.weight` [4, 4]  `middle.weight` [4, 4]  rename it, if it is the same"), "{error}");
    }

    #[test]
    fn counters_of_batch_norms_are_passed_over() {
        use LayerKind::{BatchNorm, Dense, Flatten, Relu};
        let kinds = [Flatten, Dense { units: 4 }, BatchNorm { epsilon: 1e-5 }, Relu, Dense { units: 3 }];
        let architecture = Architecture::new([1, 2, 2], &kinds).unwrap();
        let mut found = file(&[("a", 4), ("c", 3)]);
        let norm = ["weight", "bias", "running_mean", "running_var"];
        found.splice(2..2, norm.map(|field| Found { name: join("b", field), shape: vec![4] }));
        found.insert(6, Found { name: "b.num_batches_tracked".to_owned(), shape: vec![] });
        let assignment = assign(&architecture, &found, Order::OfAppearance).unwrap();
        assert!(assignment.tensors.contains(&("2.running_var".to_owned(), 5)));
        assert_eq!(assignment.tensors.len(), 8);
    }

    #[test]
    fn what_does_not_fit_is_a_table_with_likely_counterparts() {
        let mut found = file(&[("fc1", 4), ("fc2", 5), ("extra", 7)]);
        found.extend([Found { name: "5.weight".to_owned(), shape: vec![3, 4] }]);
        let table = assign(&architecture(), &found, Order::OfAppearance).unwrap_err();
        let expected = "\x20 the model needs    the file has
  `1.weight` [4, 4]  `fc1.weight` [4, 4]    rename it, if it is the same
  `1.bias` [4]       `fc1.bias` [4]         rename it, if it is the same
  `3.weight` [4, 4]  `fc2.weight` [5, 4]    found shape [5, 4]; the model needs [4, 4]
  `3.bias` [4]       `fc2.bias` [5]         found shape [5]; the model needs [4]
  `5.weight` [3, 4]  `5.weight` [3, 4]
  `5.bias` [3]       `extra.bias` [7]       found shape [7]; the model needs [3]
  –                  `extra.weight` [7, 4]  left over
";
        assert_eq!(table, expected);
    }

    proptest! {
        /// Whatever a file is called and shaped, an assignment gives each of the model's tensors one of its own shape.
        #[test]
        fn an_assignment_is_one_to_one_and_keeps_shapes(
            names in proptest::collection::vec("[a-c1-3]{1,2}(\\.[a-b1-5]{1,2})?", 3),
            units in proptest::collection::vec(3_usize..5, 3),
            ordered in any::<bool>(),
        ) {
            let layers: Vec<(&str, usize)> = names.iter().map(String::as_str).zip(units).collect();
            let found = file(&layers);
            let order = if ordered { Order::OfAppearance } else { Order::Unknown };
            if let Ok(Assignment { tensors, .. }) = assign(&architecture(), &found, order) {
                let shapes: BTreeMap<String, Vec<usize>> = architecture().tensors().into_iter().collect();
                let positions: BTreeSet<usize> = tensors.iter().map(|(_, position)| *position).collect();
                prop_assert_eq!((positions.len(), tensors.len()), (shapes.len(), shapes.len()));
                for (own, position) in tensors {
                    prop_assert_eq!(&shapes[&own], &found[position].shape);
                    prop_assert_eq!(own.rsplit('.').next(), found[position].name.rsplit('.').next());
                }
            }
        }
    }
}
