//! Files of what is expected, and what to say where something else is found.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

/// Set to anything, it has the files written instead of compared.
const WRITE: &str = "FROZEN_WRITE";

/// Hexadecimal digits of a hash in a file: 64 bits tell thousands of cases apart, and a change from none.
const DIGITS: usize = 16;

/// Cases that a message lists; of a change that is felt everywhere, more would not be read.
const LISTED: usize = 60;

/// Lines of a text around one that differs.
const CONTEXT: usize = 2;

/// Path of a file of this test.
pub fn path(file: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "frozen", file].iter().collect()
}

/// Whether files are to be written.
pub fn writes() -> bool {
    std::env::var_os(WRITE).is_some()
}

/// A hash of values that are put into it one after the other.
#[derive(Default)]
pub struct Hash(Sha256);

impl Hash {
    /// Adds bytes, and how many they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.size(bytes.len());
        self.0.update(bytes);
    }

    /// Adds a number.
    pub fn size(&mut self, n: usize) {
        self.0.update((n as u64).to_le_bytes());
    }

    /// Adds the bits of numbers, and how many they are.
    pub fn floats(&mut self, values: &[f32]) {
        self.bytes(&values.iter().flat_map(|value| value.to_bits().to_le_bytes()).collect::<Vec<u8>>());
    }

    /// The first digits of the SHA-256 of all that was added.
    pub fn finish(self) -> String {
        let digits: String = self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        digits[..DIGITS].to_owned()
    }
}

/// Hash of a text.
pub fn hash_of_text(text: &str) -> String {
    let mut hash = Hash::default();
    hash.bytes(text.as_bytes());
    hash.finish()
}

/// The cases of a file, each with its hash.
///
/// # Panics
/// If the file cannot be read.
pub fn expected(file: &str) -> BTreeMap<String, String> {
    let path = path(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(&text)
}

/// - `text`: a line for each case: its name, a space, its hash; lines that begin with `#` are for people
fn parse(text: &str) -> BTreeMap<String, String> {
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let case = |line: &str| {
        let (name, hash) = line.rsplit_once(' ').unwrap_or_else(|| panic!("a name and a hash, not `{line}`"));
        (name.to_owned(), hash.to_owned())
    };
    lines.map(case).collect()
}

/// Compares what was found with a file, or writes the file.
///
/// - `about`: what the hashes are of, for people who look into the file
/// - `found`: name and hash of each case
///
/// # Panics
/// If a case has another hash, is missing in the file, or is there and was not found; the message names all of them.
pub fn check(file: &str, about: &str, found: &[(String, String)]) {
    let by_name: BTreeMap<String, String> = found.iter().cloned().collect();
    assert_eq!(by_name.len(), found.len(), "{file}: two cases of one name");
    if writes() {
        let mut text = format!("# {about}\n# Written by `{WRITE}=1 cargo test --release --workspace --test frozen`.\n");
        for (name, hash) in found {
            _ = writeln!(text, "{name} {hash}");
        }
        return write(file, &text);
    }
    let differences = differences(&expected(file), &by_name);
    assert!(
        differences.is_empty(),
        "{file}: {} of {} cases are not as they were frozen ({WRITE}=1 writes the file anew, where that is meant):\n{}",
        differences.len(),
        found.len(),
        listed(&differences)
    );
}

/// The first lines, and how many more there are.
pub fn listed(lines: &[String]) -> String {
    let mut text = lines[..lines.len().min(LISTED)].join("\n");
    if lines.len() > LISTED {
        _ = write!(text, "\nand {} more", lines.len() - LISTED);
    }
    text
}

/// One line for each case that is not as expected.
fn differences(expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let names: std::collections::BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let of = |name: &String| match (expected.get(name), found.get(name)) {
        (Some(expected), Some(found)) if expected == found => None,
        (Some(expected), Some(found)) => Some(format!("{name}: expected {expected}, found {found}")),
        (Some(expected), None) => Some(format!("{name}: expected {expected}, but there is no such case any more")),
        (None, found) => Some(format!("{name}: expected nothing, found {}", found.map_or("nothing", String::as_str))),
    };
    names.into_iter().filter_map(of).collect()
}

/// Compares a text with a file, or writes the file.
///
/// # Panics
/// If a line differs; the message shows the lines that do.
pub fn check_text(file: &str, found: &str) {
    if writes() {
        return write(file, found);
    }
    let path = path(file);
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if expected != found {
        let difference = text_difference(&expected, found);
        panic!(
            "{file}: not the text that was frozen ({WRITE}=1 writes the file anew, where that is meant):\n{difference}"
        );
    }
}

fn write(file: &str, text: &str) {
    let path = path(file);
    std::fs::write(&path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    eprintln!("wrote {}", path.display());
}

/// The lines that are only expected (`-`), only found (`+`), and some around them.
fn text_difference(expected: &str, found: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), found.lines().collect());
    // Length of the longest common subsequence of what is left of both from each place on.
    let mut common = vec![vec![0; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] =
                if old[i] == new[j] { common[i + 1][j + 1] + 1 } else { common[i + 1][j].max(common[i][j + 1]) };
        }
    }
    let (mut i, mut j, mut lines) = (0, 0, Vec::new());
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            lines.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            lines.push(('-', old[i]));
            i += 1;
        } else {
            lines.push(('+', new[j]));
            j += 1;
        }
    }
    let differs = |at: usize| lines[at].0 != ' ';
    let is_near = |at: &usize| (at.saturating_sub(CONTEXT)..lines.len().min(at + CONTEXT + 1)).any(differs);
    let shown = (0..lines.len()).filter(is_near).map(|at| format!("{}{}\n", lines[at].0, lines[at].1));
    let shown: String = shown.collect();
    if shown.is_empty() { "only ends of lines differ\n".to_owned() } else { shown }
}

#[test]
fn every_case_that_differs_is_named_with_both_hashes() {
    let expected = parse("# for people\nconv floats poisson 01\ndense floats poisson 02\ngone 03\n");
    let found = parse("conv floats poisson 01\ndense floats poisson 0f\nnew 04\n");
    let lines = [
        "dense floats poisson: expected 02, found 0f",
        "gone: expected 03, but there is no such case any more",
        "new: expected nothing, found 04",
    ];
    assert_eq!(differences(&expected, &found), lines);
    assert_eq!(differences(&expected, &expected), [""; 0]);
    let many = vec!["x".to_owned(); LISTED + 2];
    assert!(listed(&many[..LISTED]).ends_with("x\nx") && listed(&many).ends_with("x\nx\nand 2 more"));
}

#[test]
fn the_lines_of_a_text_that_differ_are_shown_with_those_around_them() {
    let expected = "a\nb\nc\nd\ne\nf\ng\n";
    assert_eq!(text_difference(expected, "a\nb\nc\nd\nE\nf\ng\n"), " c\n d\n-e\n+E\n f\n g\n");
    assert_eq!(text_difference(expected, &format!("{expected}h\n")), " f\n g\n+h\n");
    assert_eq!(text_difference("a\n", "a"), "only ends of lines differ\n");
}
