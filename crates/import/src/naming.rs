//! Which tensor of a file is which of the model's.
//!
//! By name where the names are those of an `nn.Sequential` of all layers; else layer by layer in order, if that is the
//! one way in which every layer finds tensors of its fields and shapes. If either leaves nothing of the file over, the
//! biases of weights may lack: PyTorch's `bias=False`. Anything left over may be one of them under another name.

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
    /// Biases of the model that the file has none of, in whose place zeros stand.
    pub(crate) zeros: Vec<Found>,
    /// What the user should know, one sentence each; none if names and tensors are the model's own.
    pub(crate) notes: Vec<String>,
}

/// What the user should know of biases that were not there.
pub(crate) fn zeros_note<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<String> = names.map(|name| format!("`{name}`")).collect();
    format!("zeros stand for biases that the file does not have: {}", names.join(", "))
}

/// Field of the biases.
const BIAS: &str = "bias";

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
    /// Whether a layer of the model finds its tensors in one of the file.
    fn takes(&self, theirs: &Self, biases: Biases) -> bool {
        let is_there = |(field, (shape, _)): (&String, &(Vec<usize>, usize))| match theirs.fields.get(field) {
            Some((found, _)) => found == shape,
            None => biases == Biases::MayLack && self.has_weights() && field == BIAS,
        };
        self.fields.iter().all(is_there) && theirs.fields.keys().all(|field| self.fields.contains_key(field))
    }

    /// Whether it is a fully connected layer or a convolution; a batch norm's `weight` is a vector.
    fn has_weights(&self) -> bool {
        self.fields.get("weight").is_some_and(|(shape, _)| shape.len() > 1)
    }

    /// What layers have in common that only names tell from one another: fields and shapes.
    fn likeness(&self, biases: Biases) -> Vec<(&str, &[usize])> {
        let may_lack = biases == Biases::MayLack && self.has_weights();
        let fields = self.fields.iter().filter(|(field, _)| !(may_lack && *field == BIAS));
        fields.map(|(field, (shape, _))| (field.as_str(), shape.as_slice())).collect()
    }
}

/// Whether each of the model's biases has to be in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Biases {
    AreThere,
    MayLack,
}

/// The model's names with positions in the file, and how the one was taken for the other.
type Taken = (Vec<(String, usize)>, Option<String>);

/// Finds the model's tensors among a file's.
///
/// # Errors
/// What does not fit, one line per tensor.
pub(crate) fn assign(architecture: &Architecture, found: &[Found], order: Order) -> Result<Assignment, String> {
    let expected: Vec<Found> = architecture.tensors().into_iter().map(|(name, shape)| Found { name, shape }).collect();
    // A file that has everything is never read as one that lacks something.
    let taken = matched(&expected, found, order, Biases::AreThere);
    let taken = taken.or_else(|| matched(&expected, found, order, Biases::MayLack));
    let Some((tensors, note)) = taken else { return Err(misfit(&expected, found)) };
    let names: BTreeSet<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    let zeros: Vec<Found> = expected.iter().filter(|tensor| !names.contains(tensor.name.as_str())).cloned().collect();
    let mut notes: Vec<String> = note.into_iter().collect();
    if !zeros.is_empty() {
        notes.push(zeros_note(zeros.iter().map(|tensor| tensor.name.as_str())));
    }
    Ok(Assignment { tensors, zeros, notes })
}

fn matched(expected: &[Found], found: &[Found], order: Order, biases: Biases) -> Option<Taken> {
    let (layers, modules) = (modules(expected), modules(found));
    if let Some(tensors) = by_name(&layers, found, "", biases) {
        return Some((tensors, None));
    }
    let prefix = common_prefix(found);
    if !prefix.is_empty()
        && let Some(tensors) = by_name(&layers, found, &prefix, biases)
    {
        return Some((tensors, Some(format!("names are the model's behind `{prefix}`"))));
    }
    let bare = without_wrappers(found);
    if let Some((bare, wrappers)) = &bare {
        let prefix = common_prefix(bare);
        let behind = if prefix.is_empty() { String::new() } else { format!(", behind `{prefix}`") };
        let tensors = by_name(&layers, bare, "", biases).map(|tensors| (tensors, String::new()));
        let tensors = tensors.or_else(|| Some((by_name(&layers, bare, &prefix, biases)?, behind)));
        if let Some((tensors, behind)) = tensors {
            return Some((tensors, Some(format!("names are the model's without {}{behind}", wrappers.join(", ")))));
        }
    }
    let bare_modules = bare.as_ref().map_or_else(Vec::new, |(bare, _)| self::modules(bare));
    let pairs = in_order(&layers, &modules, order, biases)
        .or_else(|| by_numbers(&layers, &modules, biases))
        .or_else(|| by_numbers(&layers, &bare_modules, biases))?;
    let mut tensors = Vec::new();
    for (layer, module) in &pairs {
        for (field, (_, position)) in &module.fields {
            tensors.push((join(&layer.path, field), *position));
        }
    }
    let texts: Vec<String> = pairs.iter().map(|(layer, module)| format!("{} → {}", module.path, layer.path)).collect();
    Some((tensors, Some(format!("names taken in order: {}", texts.join(", ")))))
}

fn join(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

fn is_counter(name: &str) -> bool {
    name.rsplit('.').next() == Some(COUNTER)
}

/// Every tensor under its own name; `None` if one is not there, or one of another shape or another name is.
fn by_name(layers: &[Module], found: &[Found], prefix: &str, biases: Biases) -> Option<Vec<(String, usize)>> {
    let named = |tensor: &Found| {
        Some(Found { name: tensor.name.strip_prefix(prefix)?.to_owned(), shape: tensor.shape.clone() })
    };
    let found: Vec<Found> = found.iter().map(named).collect::<Option<_>>()?;
    let theirs = modules(&found);
    let by_path: BTreeMap<&str, &Module> = theirs.iter().map(|module| (module.path.as_str(), module)).collect();
    if by_path.len() != layers.len() {
        return None;
    }
    let mut tensors = Vec::new();
    for layer in layers {
        let module = by_path.get(layer.path.as_str()).filter(|module| layer.takes(module, biases))?;
        tensors.extend(module.fields.iter().map(|(field, (_, position))| (join(&layer.path, field), *position)));
    }
    Some(tensors)
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

/// Parts of names that wrappers around a network or around layers of it add, and common names of a network's only member.
const WRAPPERS: [&str; 10] = [
    "module",
    "_orig_mod",
    "_fsdp_wrapped_module",
    "_checkpoint_wrapped_module",
    "model",
    "net",
    "network",
    "ema_model",
    "averaged_model",
    "swa_model",
];

/// Tensors by what their names are without wrappers, with those that there are; `None` if there are none, or names would no longer
/// tell tensors apart.
fn without_wrappers(found: &[Found]) -> Option<(Vec<Found>, Vec<String>)> {
    let mut wrappers: BTreeSet<&str> = BTreeSet::new();
    let mut bare = Vec::with_capacity(found.len());
    for tensor in found {
        let (path, field) = tensor.name.rsplit_once('.').unwrap_or(("", &tensor.name));
        let (taken, parts): (Vec<&str>, Vec<&str>) = path.split('.').partition(|part| WRAPPERS.contains(part));
        wrappers.extend(taken);
        bare.push(Found { name: join(&parts.join("."), field), shape: tensor.shape.clone() });
    }
    let names: BTreeSet<&str> = bare.iter().map(|tensor| tensor.name.as_str()).collect();
    let wrappers: Vec<String> = wrappers.into_iter().map(|wrapper| format!("`{wrapper}.`")).collect();
    (!wrappers.is_empty() && names.len() == bare.len()).then_some((bare, wrappers))
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
fn in_order<'a>(layers: &'a [Module], modules: &'a [Module], order: Order, biases: Biases) -> Option<Pairs<'a>> {
    let fits = order == Order::OfAppearance && layers.len() == modules.len();
    let pairs: Pairs = layers.iter().zip(modules).collect();
    (fits && pairs.iter().all(|(layer, module)| layer.takes(module, biases))).then_some(pairs)
}

/// Layers whose fields and shapes are those of no other by these; others by the numbers in their names, if they differ in
/// nothing else: `fc2` before `fc10`. Whether there is a bias tells layers apart only where none may lack.
fn by_numbers<'a>(layers: &'a [Module], modules: &'a [Module], biases: Biases) -> Option<Pairs<'a>> {
    if layers.len() != modules.len() {
        return None;
    }
    let mut pairs: Pairs = Vec::with_capacity(layers.len());
    for layer in layers {
        let likeness = layer.likeness(biases);
        let alike = layers.iter().filter(|other| other.likeness(biases) == likeness);
        let mut candidates: Vec<(String, Vec<u64>, &Module)> = modules
            .iter()
            .filter(|module| module.likeness(biases) == likeness)
            .map(|module| split_numbers(&module.path).map(|(text, numbers)| (text, numbers, module)))
            .collect::<Option<_>>()?;
        let texts: BTreeSet<&str> = candidates.iter().map(|(text, ..)| text.as_str()).collect();
        if texts.len() > 1 || candidates.len() != alike.clone().count() {
            return None;
        }
        candidates.sort_by(|a, b| a.1.cmp(&b.1));
        let place = alike.take_while(|other| other.path != layer.path).count();
        let (.., module) = candidates.get(place)?;
        pairs.push((layer, module));
    }
    pairs.iter().all(|(layer, module)| layer.takes(module, biases)).then_some(pairs)
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
    let layers = modules(expected);
    let may_lack = |tensor: &Found| {
        let path = tensor.name.strip_suffix(BIAS).and_then(|path| path.strip_suffix('.'));
        path.is_some_and(|path| layers.iter().any(|layer| layer.path == path && layer.has_weights()))
    };
    // What may be a bias under another name, which is why zeros do not stand for it.
    let is_other = |name: &str| ["weight", "running_mean", "running_var"].contains(&field(name).as_str());
    let unmatched = expected.iter().zip(&mut counterparts).filter(|(_, other)| other.is_none());
    for (tensor, counterpart) in unmatched.filter(|(tensor, _)| may_lack(tensor)) {
        *counterpart = take(&|other| !is_other(&other.name) && other.shape == tensor.shape);
    }
    for (tensor, counterpart) in expected.iter().zip(&mut counterparts).filter(|(_, other)| other.is_none()) {
        *counterpart =
            take(&|other| field(&other.name) == field(&tensor.name) && other.shape.len() == tensor.shape.len());
    }
    let cell = |tensor: &Found| format!("`{}` {:?}", tensor.name, tensor.shape);
    let mut likes = expected.iter().zip(&counterparts);
    // Then order and names are not what is wrong.
    let is_all_there =
        !left.is_empty() && likes.all(|(tensor, other)| other.is_some_and(|other| other.shape == tensor.shape));
    for (tensor, counterpart) in expected.iter().zip(&counterparts) {
        let (there, remark) = match counterpart {
            None if may_lack(tensor) => ("nothing like it".to_owned(), "zeros, once all else fits".to_owned()),
            None => ("nothing like it".to_owned(), "missing".to_owned()),
            Some(other) if other.shape != tensor.shape => {
                (cell(other), format!("found shape {:?}; the model needs {:?}", other.shape, tensor.shape))
            }
            Some(other) if other.name != tensor.name && !is_all_there => {
                (cell(other), "rename it, if it is the same".to_owned())
            }
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
    lines.join("\n") + "\n  describe in [model] the network that the file is of, or name another file with `--weights`"
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
        let Assignment { tensors, notes, zeros } = assign(&architecture(), &found, order)?;
        assert!(zeros.is_empty() && notes.len() < 2, "{zeros:?} {notes:?}");
        let note = notes.into_iter().next();
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
    fn wrappers_are_passed_over_wherever_they_stand() {
        let found =
            assigned(&[("net.5.module", 3), ("_orig_mod.3", 4), ("module._orig_mod.1", 4)], Order::Unknown).unwrap();
        assert_eq!(found.0, ["module._orig_mod.1", "_orig_mod.3", "net.5.module"]);
        assert_eq!(found.1.unwrap(), "names are the model's without `_orig_mod.`, `module.`, `net.`");
        let found = assigned(&[("a.5.module", 3), ("a.3", 4), ("a.model.1", 4)], Order::Unknown).unwrap();
        assert_eq!(found.1.unwrap(), "names are the model's without `model.`, `module.`, behind `a.`");
        // By numbers, where only wrappers make the names differ otherwise.
        let found = assigned(&[("fc10", 4), ("fc2._orig_mod", 4), ("head", 3)], Order::Unknown).unwrap();
        assert_eq!(found.0, ["fc2._orig_mod", "fc10", "head"]);
        // Names that would no longer tell two layers apart.
        assert!(assigned(&[("net.1", 4), ("model.1", 4), ("head", 3)], Order::Unknown).is_err());
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

    /// Tensors of a file.
    fn tensors(names: &[(&str, &[usize])]) -> Vec<Found> {
        names.iter().map(|(name, shape)| Found { name: (*name).to_owned(), shape: shape.to_vec() }).collect()
    }

    const W: [usize; 2] = [4, 4];

    /// The names of the file for those of the model, and which biases are zeros.
    fn lacking(found: &[(&str, &[usize])], order: Order) -> Result<(Vec<String>, Vec<String>, String), String> {
        let found = tensors(found);
        let Assignment { tensors, zeros, notes } = assign(&architecture(), &found, order)?;
        let text = |(own, position): &(String, usize)| format!("{} → {own}", found[*position].name);
        let mut taken: Vec<String> = tensors.iter().map(text).collect();
        taken.sort();
        Ok((taken, zeros.into_iter().map(|tensor| tensor.name).collect(), notes.join("; ")))
    }

    #[test]
    fn biases_that_the_file_has_none_of_are_zeros_and_are_told() {
        let own = [("1.weight", &W[..]), ("3.weight", &W), ("5.bias", &[3]), ("5.weight", &[3, 4])];
        let (taken, zeros, note) = lacking(&own, Order::Unknown).unwrap();
        assert_eq!(taken, ["1.weight → 1.weight", "3.weight → 3.weight", "5.bias → 5.bias", "5.weight → 5.weight"]);
        assert_eq!(zeros, ["1.bias", "3.bias"]);
        assert_eq!(note, "zeros stand for biases that the file does not have: `1.bias`, `3.bias`");

        let behind = [("net.1.weight", &W[..]), ("net.1.bias", &[4]), ("net.3.weight", &W), ("net.5.weight", &[3, 4])];
        let (_, zeros, note) = lacking(&behind, Order::Unknown).unwrap();
        assert_eq!(zeros, ["3.bias", "5.bias"]);
        assert!(note.starts_with("names are the model's behind `net.`; zeros stand"), "{note}");

        let in_order =
            [("stem.weight", &W[..]), ("middle.weight", &W), ("middle.bias", &[4]), ("head.weight", &[3, 4])];
        let (taken, zeros, note) = lacking(&in_order, Order::OfAppearance).unwrap();
        assert_eq!((taken[1].as_str(), taken[2].as_str()), ("middle.bias → 3.bias", "middle.weight → 3.weight"));
        assert_eq!(zeros, ["1.bias", "5.bias"]);
        assert!(note.starts_with("names taken in order: stem → 1, middle → 3, head → 5; zeros stand"), "{note}");

        // By numbers, though the biases are other layers' than those of the sorted file's first.
        let numbers = [("fc10.weight", &W[..]), ("fc2.bias", &[4]), ("fc2.weight", &W), ("head.weight", &[3, 4])];
        let (taken, zeros, _) = lacking(&numbers, Order::Unknown).unwrap();
        assert_eq!(taken[0], "fc10.weight → 3.weight");
        assert_eq!(zeros, ["3.bias", "5.bias"]);
    }

    #[test]
    fn a_bias_may_lack_only_where_nothing_is_left_over_that_could_be_it() {
        let refused = |found: &[(&str, &[usize])], expected: &str| {
            for order in [Order::OfAppearance, Order::Unknown] {
                let error = lacking(found, order).unwrap_err();
                assert!(error.contains(expected), "{expected}\n{error}");
            }
        };
        let rest = [("3.weight", &W[..]), ("5.weight", &[3, 4])];
        // Under another name, in another layer, without one, of another length.
        for (name, shape) in [("1.b", [4]), ("2.bias", [4]), ("bias_of_1", [4]), ("1.scale", [7])] {
            let found = [&[("1.weight", &W[..]), (name, &shape)], &rest[..]].concat();
            refused(&found, name);
        }
        let found = [&[("1.weight", &W[..]), ("1.b", &[4])], &rest[..]].concat();
        refused(&found, "`1.b` [4]          rename it, if it is the same");
        refused(&found, "nothing like it    zeros, once all else fits");
        // A weight may not lack, nor have another shape.
        refused(&[&[("1.bias", &[4][..])], &rest[..]].concat(), "`1.weight` [4, 4]  nothing like it    missing");
        refused(&[&[("1.weight", &[4, 5][..])], &rest[..]].concat(), "found shape [4, 5]; the model needs [4, 4]");
        // Alike but for the bias, and no order in their names.
        let unordered = [("middle.weight", &W[..]), ("stem.weight", &W), ("stem.bias", &[4]), ("x.weight", &[3, 4])];
        let error = lacking(&unordered, Order::Unknown).unwrap_err();
        assert!(error.contains("rename it, if it is the same"), "{error}");
    }

    #[test]
    fn a_batch_norm_lacks_nothing_and_a_convolution_without_bias_takes_none() {
        use LayerKind::{BatchNorm, Conv2d, Dense, Flatten, Relu};
        let conv =
            |bias| Conv2d(model::architecture::Conv2d { bias, ..model::architecture::Conv2d::square(1, 3, 1, 1) });
        let kinds = |bias| [conv(bias), BatchNorm { epsilon: 1e-5 }, Relu, Flatten, Dense { units: 3 }];
        let assign = |bias: bool, drop: &str| {
            let architecture = Architecture::new([1, 2, 2], &kinds(bias)).unwrap();
            let all = architecture.tensors().into_iter().map(|(name, shape)| Found { name, shape });
            let found: Vec<Found> = all.filter(|tensor| tensor.name != drop).collect();
            let own = Architecture::new([1, 2, 2], &kinds(true)).unwrap();
            super::assign(&own, &found, Order::OfAppearance).map(|assignment| assignment.zeros)
        };
        assert_eq!(assign(true, "").unwrap(), []);
        assert_eq!(assign(false, "").unwrap(), tensors(&[("0.bias", &[1])]));
        assert!(assign(false, "1.bias").unwrap_err().contains("`1.bias` [1]"));
        assert!(assign(true, "1.running_var").unwrap_err().contains("missing"));
        let without = Architecture::new([1, 2, 2], &kinds(false)).unwrap();
        let with: Vec<Found> = Architecture::new([1, 2, 2], &kinds(true))
            .unwrap()
            .tensors()
            .into_iter()
            .map(|(name, shape)| Found { name, shape })
            .collect();
        assert!(super::assign(&without, &with, Order::OfAppearance).unwrap_err().contains("left over"));
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
  describe in [model] the network that the file is of, or name another file with `--weights`";
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
            if let Ok(Assignment { tensors, zeros, .. }) = assign(&architecture(), &found, order) {
                prop_assert_eq!(zeros, []);
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
