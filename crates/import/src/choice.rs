//! Which of a file's tensors are the network: one of its state dicts, chosen by what fits the model or by `--key`.
//!
//! A checkpoint may hold several networks (a model and its moving average), parts of one, and tensors that belong to none. The model
//! of the configuration tells them apart: if the tensors under one key fit it and no others do, they are it. Where several fit, the
//! user is asked.

use std::collections::{BTreeMap, BTreeSet};

use model::Architecture;

use crate::entry::{Entry, Kind};
use crate::naming::{self, Assignment, Found, Order};
use crate::reparametrization::{self, listed};

/// All tensors that a file holds.
#[derive(Debug, Clone)]
pub(crate) struct Holding {
    pub(crate) placed: Vec<Placed>,
    pub(crate) order: Order,
}

/// A tensor, and the keys of the dictionaries that it lies in; the last one is its name in the innermost of them.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    pub(crate) keys: Vec<String>,
    pub(crate) entry: Entry,
}

/// The tensors of a network.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) entries: Vec<Entry>,
    pub(crate) assignment: Assignment,
    /// What the user should know of the choice, one sentence each.
    pub(crate) notes: Vec<String>,
}

/// Why none was chosen.
#[derive(Debug, PartialEq)]
pub(crate) enum Refusal {
    /// A table of what does not fit.
    Unfit(String),
    /// What was found, and what to do.
    Other { found: String, remedy: String },
}

/// Under what checkpoints commonly keep their state dict, the likeliest first: if none fits, the table is about that.
const USUAL: [&str; 7] = ["state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"];

/// First parts of names that belong to what a network is trained with.
const OF_TRAINING: [&str; 6] = ["criterion", "criteria", "loss", "loss_fn", "loss_func", "loss_function"];

/// Parts of the keys under which training keeps a number about each weight.
const ABOUT_WEIGHTS: [&str; 4] = ["grad", "optim", "exp_avg", "momentum"];

/// A state dict: the keys that lead to it, and which of the tensors lie in it.
struct Candidate {
    keys: Vec<String>,
    places: Vec<usize>,
}

impl Holding {
    /// Finds the network.
    ///
    /// - `key`: that of its state dict, if the user says it, or what the names of its tensors start with
    ///
    /// # Errors
    /// What does not fit, or between what the user must choose.
    pub(crate) fn choose(&self, architecture: &Architecture, key: Option<&str>) -> Result<Chosen, Refusal> {
        match key {
            Some(key) => self.of_key(architecture, key),
            None => self.by_fit(architecture),
        }
    }

    /// Dictionaries with all tensors in them and below, in the order of their first tensors, outer ones first.
    fn candidates(&self) -> Vec<Candidate> {
        let mut at: BTreeMap<&[String], usize> = BTreeMap::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        for (place, placed) in self.placed.iter().enumerate() {
            for depth in 0..placed.keys.len() {
                let keys = &placed.keys[..depth];
                let candidate = *at.entry(keys).or_insert_with(|| {
                    candidates.push(Candidate { keys: keys.to_vec(), places: Vec::new() });
                    candidates.len() - 1
                });
                candidates[candidate].places.push(place);
            }
        }
        candidates
    }

    /// The tensors of a candidate, named as in it.
    fn entries(&self, candidate: &Candidate) -> Vec<Entry> {
        let named = |&place: &usize| {
            let Placed { keys, entry } = &self.placed[place];
            Entry { name: keys[candidate.keys.len()..].join("."), ..entry.clone() }
        };
        candidate.places.iter().map(named).collect()
    }

    fn by_fit(&self, architecture: &Architecture) -> Result<Chosen, Refusal> {
        let candidates = self.candidates();
        let mut fitting: Vec<(&Candidate, Chosen)> = Vec::new();
        let n_needed = architecture.tensors().iter().filter(|(name, _)| !name.ends_with("bias")).count();
        for candidate in candidates.iter().filter(|candidate| candidate.places.len() >= n_needed) {
            if let Ok(chosen) = fit(architecture, self.entries(candidate), self.order) {
                fitting.push((candidate, chosen));
            }
        }
        // Of dictionaries in one another the innermost: what is around it adds nothing.
        let inner: BTreeSet<&[String]> = fitting.iter().map(|(candidate, _)| candidate.keys.as_slice()).collect();
        let is_innermost =
            |keys: &[String]| !inner.iter().any(|other| other.len() > keys.len() && other.starts_with(keys));
        fitting.retain(|(candidate, _)| is_innermost(&candidate.keys));
        // What has the names and shapes of weights, but is kept about them.
        let is_about = |keys: &[String]| keys.iter().any(|key| ABOUT_WEIGHTS.iter().any(|word| key.contains(word)));
        if fitting.iter().any(|(candidate, _)| !is_about(&candidate.keys)) {
            fitting.retain(|(candidate, _)| !is_about(&candidate.keys));
        }
        if fitting.len() > 1 && fitting.iter().skip(1).all(|(other, _)| self.is_same(fitting[0].0, other)) {
            fitting.truncate(1);
        }
        match fitting.len() {
            0 => self.by_names(architecture, &candidates),
            1 => {
                let (candidate, chosen) = fitting.pop().expect("there is one");
                self.checked(candidate, chosen)
            }
            _ => Err(ask(&fitting.iter().map(|(candidate, _)| candidate.keys.join(".")).collect::<Vec<_>>())),
        }
    }

    /// Whether two state dicts are the same tensors twice.
    fn is_same(&self, a: &Candidate, b: &Candidate) -> bool {
        let entry = |&place: &usize| &self.placed[place].entry;
        a.places.len() == b.places.len() && a.places.iter().zip(&b.places).all(|(a, b)| entry(a).is_same_as(entry(b)))
    }

    /// A state dict that fits, with notes on where it lies and what is left aside.
    fn checked(&self, candidate: &Candidate, mut chosen: Chosen) -> Result<Chosen, Refusal> {
        let inside: BTreeSet<usize> = candidate.places.iter().copied().collect();
        let outside =
            self.placed.iter().enumerate().filter(|(place, _)| !inside.contains(place)).map(|(_, placed)| placed);
        let outside: Vec<&Placed> = outside.filter(|placed| matches!(placed.entry.kind, Kind::Float(_))).collect();
        for zero in &chosen.assignment.zeros {
            let bias = outside.iter().find(|placed| placed.entry.shape == zero.shape);
            if let (Some(bias), false) = (bias, candidate.keys.is_empty()) {
                return Err(Refusal::Other {
                    found: format!(
                        "the state dict under `{}` has nothing for `{}`, which `{}` might be",
                        candidate.keys.join("."),
                        zero.name,
                        bias.keys.join(".")
                    ),
                    remedy: format!("take zeros for it with `--key {}`", candidate.keys.join(".")),
                });
            }
        }
        if !candidate.keys.is_empty() {
            chosen.notes.insert(0, format!("the state dict is that under `{}`", candidate.keys.join(".")));
        }
        let others: BTreeSet<String> = outside
            .iter()
            .filter(|placed| !placed.entry.shape.is_empty() && placed.keys.len() > 1)
            .map(|placed| {
                let shared = placed.keys.iter().zip(&candidate.keys).take_while(|(a, b)| a == b).count();
                placed.keys[..(shared + 1).min(placed.keys.len())].join(".")
            })
            .collect();
        if !others.is_empty() {
            let others: Vec<String> = others.into_iter().collect();
            chosen.notes.insert(1.min(chosen.notes.len()), format!("tensors left aside: {}", listed(&others)));
        }
        Ok(chosen)
    }

    /// Where no dictionary fits as it is: without what a network is trained with, or by the first parts of names.
    fn by_names(&self, architecture: &Architecture, candidates: &[Candidate]) -> Result<Chosen, Refusal> {
        for candidate in candidates {
            let (of_training, rest): (Vec<usize>, Vec<usize>) = candidate.places.iter().partition(|&&place| {
                let keys = &self.placed[place].keys[candidate.keys.len()..];
                let first = keys[0].split('.').next().unwrap_or_default();
                OF_TRAINING.contains(&first)
            });
            let rest = Candidate { keys: candidate.keys.clone(), places: rest };
            if !of_training.is_empty()
                && let Ok(mut chosen) = fit(architecture, self.entries(&rest), self.order)
            {
                let names: Vec<String> =
                    of_training.iter().map(|&place| self.placed[place].entry.name.clone()).collect();
                chosen.notes.push(format!("left aside, as parts of the training: {}", listed(&names)));
                return self.checked(candidate, chosen);
            }
        }
        let prefixes = self.fitting_prefixes(architecture, candidates);
        if prefixes.is_empty() { Err(self.misfit(architecture, candidates)) } else { Err(ask(&prefixes)) }
    }

    /// First parts of names behind which tensors fit, if they are not all that a dictionary has.
    fn fitting_prefixes(&self, architecture: &Architecture, candidates: &[Candidate]) -> Vec<String> {
        let mut prefixes: Vec<String> = Vec::new();
        for candidate in candidates.iter().take(MAX_PREFIXES) {
            let mut groups: BTreeMap<String, Vec<Entry>> = BTreeMap::new();
            for entry in self.entries(candidate) {
                if let Some((first, rest)) = entry.name.split_once('.') {
                    let (first, name) = (first.to_owned(), rest.to_owned());
                    groups.entry(first).or_default().push(Entry { name, ..entry });
                }
            }
            for (first, entries) in groups.into_iter().take(MAX_PREFIXES) {
                let path = [&candidate.keys[..], &[first]].concat().join(".");
                if !prefixes.contains(&path) && fit(architecture, entries, self.order).is_ok() {
                    prefixes.push(path);
                }
            }
        }
        prefixes
    }

    /// The table for the likeliest state dict.
    fn misfit(&self, architecture: &Architecture, candidates: &[Candidate]) -> Refusal {
        let likeliness = |candidate: &&Candidate| {
            let last = candidate.keys.last().map_or("", String::as_str);
            let usual = USUAL.iter().rev().position(|usual| *usual == last).map_or(0, |at| at + 1);
            (usual, candidate.places.len(), candidate.keys.len())
        };
        let candidate = candidates.iter().max_by_key(likeliness).expect("there are tensors, so there is a dictionary");
        match fit(architecture, self.entries(candidate), self.order) {
            Err(Refusal::Unfit(table)) if !candidate.keys.is_empty() => Refusal::Unfit(format!(
                "{table}\n  this is the state dict under `{}`; another one is chosen by `--key KEY`",
                candidate.keys.join(".")
            )),
            Err(refusal) => refusal,
            Ok(_) => unreachable!("no candidate fits"),
        }
    }

    fn of_key(&self, architecture: &Architecture, key: &str) -> Result<Chosen, Refusal> {
        let candidates = self.candidates();
        let named = |candidate: &&Candidate| {
            candidate.keys.join(".") == key || candidate.keys.last().is_some_and(|last| last == key)
        };
        let exact = candidates.iter().find(|candidate| candidate.keys.join(".") == key && !candidate.keys.is_empty());
        let found: Vec<&Candidate> = match exact {
            Some(exact) => vec![exact],
            None => candidates.iter().filter(named).collect(),
        };
        let mut found: Vec<(Vec<String>, Vec<Entry>)> =
            found.into_iter().map(|candidate| (candidate.keys.clone(), self.entries(candidate))).collect();
        if found.is_empty() {
            found = self.behind(key);
        }
        if found.len() > 1 {
            let keys: Vec<String> = found.iter().map(|(keys, _)| keys.join(".")).collect();
            let options: Vec<String> = keys.iter().take(5).map(|key| format!("`--key {key}`")).collect();
            let found = format!("several state dicts are called `{key}`: {}", listed(&keys));
            return Err(Refusal::Other { found, remedy: format!("choose by {}", options.join(" or ")) });
        }
        let (keys, entries) = found.pop().ok_or_else(|| self.no_such(key, &candidates))?;
        let keys = keys.join(".");
        let mut chosen = fit(architecture, entries, self.order)?;
        chosen.notes.insert(0, format!("the state dict is that under `{keys}`, as asked for"));
        Ok(chosen)
    }

    /// Tensors whose names start with a key, in the outermost dictionary that has such; the keys of all such where there are several.
    fn behind(&self, key: &str) -> Vec<(Vec<String>, Vec<Entry>)> {
        let start = format!("{key}.");
        let mut by_depth: BTreeMap<(usize, &[String]), Vec<Entry>> = BTreeMap::new();
        for Placed { keys, entry } in &self.placed {
            let names = (0..keys.len()).map(|depth| (depth, keys[depth..].join(".")));
            let mut behind = names.filter_map(|(depth, name)| Some((depth, name.strip_prefix(&start)?.to_owned())));
            if let Some((depth, name)) = behind.next() {
                by_depth.entry((depth, &keys[..depth])).or_default().push(Entry { name, ..entry.clone() });
            }
        }
        let outermost = by_depth.keys().next().map_or(0, |(depth, _)| *depth);
        let found = by_depth.into_iter().filter(|((depth, _), _)| *depth == outermost);
        found.map(|((_, keys), entries)| ([keys, &[key.to_owned()]].concat(), entries)).collect()
    }

    fn no_such(&self, key: &str, candidates: &[Candidate]) -> Refusal {
        let mut keys: Vec<String> = candidates.iter().map(|candidate| candidate.keys.join(".")).collect();
        let firsts =
            self.placed.iter().filter_map(|placed| placed.keys.last()?.split_once('.').map(|(first, _)| first));
        keys.extend(firsts.map(str::to_owned));
        let mut seen = BTreeSet::new();
        keys.retain(|key| !key.is_empty() && seen.insert(key.clone()));
        let there = if keys.is_empty() { "leave `--key` out".to_owned() } else { format!("found: {}", listed(&keys)) };
        Refusal::Other { found: format!("no tensors under the key `{key}`"), remedy: there }
    }
}

/// Most dictionaries, and most first parts of names in each, that are tried: parts of a network, of which there are few.
const MAX_PREFIXES: usize = 64;

fn ask(keys: &[String]) -> Refusal {
    let shown: Vec<String> =
        keys.iter().map(|key| if key.is_empty() { "the whole".to_owned() } else { key.clone() }).collect();
    let options: Vec<String> = shown.iter().take(5).map(|key| format!("`--key {key}`")).collect();
    let found = match &shown[..] {
        [key] => format!("the tensors behind `{key}` alone fit the model, and others are left over"),
        _ => format!("several state dicts fit the model: {}", listed(&shown)),
    };
    Refusal::Other { found, remedy: format!("choose by {}", options.join(" or ")) }
}

/// Finds the model's tensors among those of a state dict.
fn fit(architecture: &Architecture, entries: Vec<Entry>, order: Order) -> Result<Chosen, Refusal> {
    if let Some(Entry { name, kind: Kind::Opaque(reason), .. }) =
        entries.iter().find(|entry| matches!(entry.kind, Kind::Opaque(_)))
    {
        let remedy = "save it as a dense tensor of 32-bit floats".to_owned();
        return Err(Refusal::Other { found: format!("`{name}` is {reason}"), remedy });
    }
    let (entries, mut notes) = reparametrization::resolve(entries).map_err(|found| Refusal::Other {
        found,
        remedy: "save after torch.nn.utils.parametrize.remove_parametrizations(layer, \"weight\")".to_owned(),
    })?;
    let (entries, aside) = set_aside(entries);
    let table = match assign(architecture, &entries, order) {
        Ok(assignment) => return Ok(Chosen { entries, assignment, notes: with_aside(notes, &aside) }),
        Err(table) => table,
    };
    // One tensor under two names, as where a layer is a part of two modules; a few layers are, not many times all.
    if entries.len() > 4 * architecture.tensors().len() + MAX_PREFIXES {
        return Err(Refusal::Unfit(table));
    }
    let mut unique: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut doubles = Vec::new();
    for entry in entries {
        match unique.iter().find(|other| other.is_same_as(&entry)) {
            Some(other) => doubles.push(format!("{} = {}", entry.name, other.name)),
            None => unique.push(entry),
        }
    }
    match assign(architecture, &unique, order) {
        Ok(assignment) if !doubles.is_empty() => {
            notes.push(format!("taken once, as one tensor under two names: {}", listed(&doubles)));
            Ok(Chosen { entries: unique, assignment, notes: with_aside(notes, &aside) })
        }
        _ => Err(Refusal::Unfit(table)),
    }
}

fn with_aside(mut notes: Vec<String>, aside: &[String]) -> Vec<String> {
    if !aside.is_empty() {
        notes.push(format!("left aside, as no weights but whole numbers or truth values: {}", listed(aside)));
    }
    notes
}

fn assign(architecture: &Architecture, entries: &[Entry], order: Order) -> Result<Assignment, String> {
    let found: Vec<Found> =
        entries.iter().map(|entry| Found { name: entry.name.clone(), shape: entry.shape.clone() }).collect();
    naming::assign(architecture, &found, order)
}

/// Fields whose numbers the model needs, whatever they are: that they are no floats is said by name.
const NEEDED: [&str; 4] = ["weight", "bias", "running_mean", "running_var"];

/// Takes out what no layer computes with: whole numbers and truth values, such as counters.
fn set_aside(entries: Vec<Entry>) -> (Vec<Entry>, Vec<String>) {
    let (aside, kept): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(|entry| {
        let field = entry.name.rsplit('.').next().unwrap_or_default();
        matches!(entry.kind, Kind::Other(_)) && (entry.shape.is_empty() || !NEEDED.contains(&field))
    });
    let told = aside
        .into_iter()
        .map(|entry| entry.name)
        .filter(|name| !COUNTERS.iter().any(|counter| name.ends_with(counter)));
    (kept, told.collect())
}

/// Counters that PyTorch itself keeps, which are not worth a word.
const COUNTERS: [&str; 2] = ["num_batches_tracked", "n_averaged"];
