//! What the table of keys ([`KEYS`]) is used for: it checks a file, fills in the defaults, suggests the nearest key for an
//! unknown one and is printed as the reference (`--keys`). `[[model.layers]]` and `[sweep]` have shapes of their own and are
//! checked beside it.

use std::fmt::Write as _;

use toml::{Table, Value};

pub use super::keys::{Condition, KEYS, Key, Matters};
use super::{Problem, number};
use crate::Backend;

/// What a key's value must be.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Any text.
    Text,
    /// A name for files and folders: letters, digits, `-`, `_`, `.`, not starting with a dot.
    Slug,
    /// `true` or `false`.
    Bool,
    /// A whole number between two bounds, both included.
    Integer(i64, i64),
    /// A number between two bounds, both included.
    Float(f64, f64),
    /// A number above the first bound, up to the second.
    Above(f64, f64),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A number above the first bound up to the second, or this word.
    AboveOr(f64, f64, &'static str),
    /// A whole number between two bounds, both included, or this word.
    IntegerOr(i64, i64, &'static str),
    /// A list of whole numbers within bounds, without repetition.
    Integers(i64, i64),
    /// A list of numbers above the first bound up to the second, without repetition.
    Floats(f64, f64),
    /// The same, or this word.
    FloatsOr(f64, f64, &'static str),
    /// A list of numbers between two bounds, both included.
    Reals(f64, f64),
    /// A list of numbers above the first bound up to the second.
    Positives(f64, f64),
    /// Two numbers between two bounds, the first below the second.
    Range(f64, f64),
    /// Image shape `[C, H, W]`.
    Shape,
    /// The list of layers; checked beside the table.
    Layers,
}

/// Checks every key of a file and fills in the defaults; returns the resolved file, without `[sweep]`.
///
/// Problems are added to `problems`; the result can be relied on only if none was.
pub(super) fn check(raw: &Table, problems: &mut Vec<Problem>) -> Table {
    refuse_unknown(raw, "", problems);
    let mut resolved = Table::new();
    for key in KEYS {
        let given = lookup(raw, key.path);
        let value = match (given, key.default) {
            (Some(value), _) => match key.kind.check(value) {
                Ok(()) => value.clone(),
                Err(wanted) => {
                    problems.push(Problem::new(key.path, format!("found {}; use {wanted}", brief(value))));
                    continue;
                }
            },
            (None, None) => {
                problems.push(Problem::new(key.path, format!("missing; give {} ({})", key.kind.wanted(), key.doc)));
                continue;
            }
            (None, Some("")) => continue,
            (None, Some(default)) => parse_value(default).expect("defaults are valid TOML"),
        };
        insert(&mut resolved, key.path, value);
    }
    resolved
}

/// The row of a key.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether a key of a resolved file has its default.
pub(super) fn is_default(resolved: &Table, key: &Key) -> bool {
    // Of keys that are left out where they are not given.
    let default = key.default.filter(|text| !text.is_empty());
    let default = default.map(|text| parse_value(text).expect("defaults are valid TOML"));
    lookup(resolved, key.path) == default.as_ref()
}

/// The value at a dotted path.
pub(super) fn lookup<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    match path.split_once('.') {
        None => table.get(path),
        Some((section, rest)) => table.get(section)?.as_table().and_then(|table| lookup(table, rest)),
    }
}

/// Puts a value at a dotted path, making tables on the way (and replacing what is no table).
pub(super) fn insert(table: &mut Table, path: &str, value: Value) {
    match path.split_once('.') {
        None => _ = table.insert(path.to_owned(), value),
        Some((section, rest)) => {
            let entry = table.entry(section).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            insert(entry.as_table_mut().expect("made a table just now"), rest, value);
        }
    }
}

/// One TOML value from text: `0.3`, `"abc"`, `[1, 2]`.
pub(super) fn parse_value(text: &str) -> Result<Value, toml::de::Error> {
    let table: Table = format!("value = {text}").parse()?;
    Ok(table["value"].clone())
}

/// A value for an error message: in TOML, shortened.
pub(super) fn brief(value: &Value) -> String {
    brief_text(&value.to_string())
}

/// A text, shortened.
pub(super) fn brief_text(text: &str) -> String {
    const LONGEST: usize = 60;
    if text.chars().count() <= LONGEST {
        text.to_owned()
    } else {
        text.chars().take(LONGEST).chain("…".chars()).collect()
    }
}

/// Whether a dotted path is a section: something that keys lie in.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Keys of a section, or the key itself.
pub(super) fn keys_below(path: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter()
        .filter(move |key| key.path.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// Why neither a key nor any other of a section can be swept, if they all cannot.
pub(super) fn never_swept(path: &str) -> Option<&'static str> {
    let mut whys = keys_below(path).map(|key| key.never_swept);
    let first = whys.next()??;
    whys.all(|why| why == Some(first)).then_some(first)
}

/// Whether a dotted path is a key.
pub(super) fn is_key(path: &str) -> bool {
    find(path).is_some()
}

/// Whether a text is fit to name files and folders.
pub(super) fn is_slug(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with('.')
        && text.len() <= 100
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// The problem of a path that is neither key nor section, with the nearest key that exists.
pub(super) fn unknown(path: &str) -> Problem {
    // A key may stand in the wrong section: compare both the whole path and its last part.
    let distance = |known: &str| {
        let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
        strsim::damerau_levenshtein(path, known).min(strsim::damerau_levenshtein(&last(path), &last(known)) + 1)
    };
    let sections = KEYS.iter().filter_map(|key| key.path.rsplit_once('.').map(|(section, _)| section));
    let nearest = KEYS.iter().map(|key| key.path).chain(sections).chain(["sweep"]).min_by_key(|known| distance(known));
    let remedy = match nearest {
        Some(nearest) if distance(nearest) <= path.len().max(6) / 3 + 1 => format!("did you mean `{nearest}`?"),
        _ => "remove it, or see `--keys` for the keys there are".to_owned(),
    };
    Problem::new(path, format!("unknown key; {remedy}"))
}

fn refuse_unknown(table: &Table, prefix: &str, problems: &mut Vec<Problem>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match value {
            _ if is_key(&path) || path == "sweep" => {}
            Value::Table(inner) if is_section(&path) => refuse_unknown(inner, &path, problems),
            _ if is_section(&path) => {
                problems.push(Problem::new(
                    &path,
                    format!("found {}; it is a section, give a table `[{path}]`", brief(value)),
                ));
            }
            _ => problems.push(unknown(&path)),
        }
    }
}

impl Kind {
    /// `Err` says what is wanted instead.
    fn check(self, value: &Value) -> Result<(), String> {
        let number = || value.as_float().or_else(|| value.as_integer().map(|whole| whole as f64));
        let list = || value.as_array().filter(|list| (1..list.len()).all(|i| !list[..i].contains(&list[i])));
        let good = match self {
            Self::Text => value.is_str(),
            Self::Slug => value.as_str().is_some_and(is_slug),
            Self::Bool => value.is_bool(),
            Self::Integer(low, high) => value.as_integer().is_some_and(|found| (low..=high).contains(&found)),
            Self::Float(low, high) => number().is_some_and(|found| (low..=high).contains(&found)),
            Self::Above(low, high) => number().is_some_and(|found| found > low && found <= high),
            Self::AboveOr(low, high, word) => {
                value.as_str() == Some(word) || number().is_some_and(|found| found > low && found <= high)
            }
            Self::IntegerOr(low, high, word) => {
                value.as_str() == Some(word) || Self::Integer(low, high).check(value).is_ok()
            }
            Self::Choice(words) => value.as_str().is_some_and(|found| words.contains(&found)),
            Self::Integers(low, high) => list().is_some_and(|list| {
                list.iter().all(|item| item.as_integer().is_some_and(|found| (low..=high).contains(&found)))
            }),
            Self::Floats(low, high) => list().is_some_and(|list| {
                !list.is_empty() && list.iter().all(|item| Self::Above(low, high).check(item).is_ok())
            }),
            Self::FloatsOr(low, high, word) => {
                value.as_str() == Some(word) || Self::Floats(low, high).check(value).is_ok()
            }
            Self::Reals(low, high) => list_of(value, Self::Float(low, high)).is_some(),
            Self::Positives(low, high) => list_of(value, Self::Above(low, high)).is_some(),
            Self::Range(low, high) => {
                matches!(list_of(value, Self::Float(low, high)).as_deref(), Some([from, to]) if from < to)
            }
            Self::Shape => value.as_array().is_some_and(|list| {
                list.len() == 3
                    && list.iter().all(|item| item.as_integer().is_some_and(|size| (1..=4096).contains(&size)))
            }),
            Self::Layers => value.as_array().is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_table)),
        };
        if good { Ok(()) } else { Err(self.wanted()) }
    }

    fn wanted(self) -> String {
        let high_text = |high: i64| if high == i64::MAX { "2^63 - 1".to_owned() } else { high.to_string() };
        match self {
            Self::Text => "a text in quotes".to_owned(),
            Self::Slug => "a short text of letters, digits, `-`, `_` and `.`, not starting with a dot".to_owned(),
            Self::Bool => "true or false".to_owned(),
            Self::Integer(low, high) => format!("a whole number from {low} to {}", high_text(high)),
            Self::Float(low, high) => format!("a number from {low} to {high}"),
            Self::Above(low, high) => format!("a number above {low} and up to {high}"),
            Self::Choice(words) => {
                format!("one of {}", words.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", "))
            }
            Self::AboveOr(low, high, word) => format!("a number above {low} and up to {high}, or \"{word}\""),
            Self::IntegerOr(low, high, word) => format!("a whole number from {low} to {high}, or \"{word}\""),
            Self::Integers(low, high) => format!("a list of different whole numbers from {low} to {}", high_text(high)),
            Self::Floats(low, high) => format!("a list of different numbers above {low} and up to {high}"),
            Self::FloatsOr(low, high, word) => format!("{}, or \"{word}\"", Self::Floats(low, high).wanted()),
            Self::Reals(low, high) => format!("a list of numbers from {low} to {high}"),
            Self::Positives(low, high) => format!("a list of numbers above {low} and up to {high}"),
            Self::Range(low, high) => {
                format!("two numbers [LOW, HIGH] from {low} to {high}, the first below the second")
            }
            Self::Shape => "three whole numbers [C, H, W] from 1 to 4096".to_owned(),
            Self::Layers => {
                "a list of tables, such as [{ kind = \"flatten\" }, { kind = \"dense\", units = 10 }]".to_owned()
            }
        }
    }
}

/// The numbers of a list that is not empty and holds nothing else.
fn list_of(value: &Value, item: Kind) -> Option<Vec<f64>> {
    let list = value.as_array().filter(|list| !list.is_empty())?;
    list.iter().map(|value| item.check(value).ok().and_then(|()| number(value))).collect()
}

/// The reference of every key, for `--keys`.
pub fn reference(built_in: &[Backend]) -> String {
    let mut text = String::from("Keys of an experiment file (--set KEY=VALUE overrides any of them)\n");
    let mut section = "";
    for key in KEYS {
        let (of, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if of != section {
            _ = writeln!(text, "\n[{of}]");
            section = of;
        }
        let default = match key.default {
            None => "required".to_owned(),
            Some("") => "optional".to_owned(),
            Some(default) => format!("default {default}"),
        };
        _ = writeln!(text, "{name}: {}\n    {}; {default}", key.doc, key.kind.wanted());
    }
    _ = writeln!(
        text,
        "\n[[model.layers]] kinds\n{}",
        crate::LayerKind::KINDS
            .iter()
            .map(|(kind, keys)| if keys.is_empty() {
                (*kind).to_owned()
            } else {
                let key =
                    |key: &&str| key.strip_suffix('?').map_or_else(|| (*key).to_owned(), |key| format!("[{key}]"));
                format!("{kind} ({})", keys.iter().map(key).collect::<Vec<_>>().join(", "))
            })
            .collect::<Vec<_>>()
            .join("\n")
    );
    text.push_str(
        "\n[sweep]\nKEY = [VALUES]: lists over any key above; tables over any section, as in\n    \
         convert = [{ method = \"percentile\" }, { method = \"norm\", kappa = 0.3 }]\n    \
         A table may have a `label`, which names it; a network without one is called by its architecture.\n    \
         `reproduce` runs every combination and reports them side by side.\n",
    );
    let built_in: Vec<_> = built_in.iter().map(ToString::to_string).collect();
    _ = writeln!(text, "\nBackends built in: {}", built_in.join(", "));
    text
}
