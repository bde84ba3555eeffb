//! The rules of the workspace's architecture, as `crates/README.md` states them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{Metadata, MetadataCommand, Package};

/// Which crates of the workspace each crate may depend on, tests and build scripts included.
const ALLOWED: [(&str, &[&str]); 21] = [
    ("workspace-hack", &[]),
    ("model", &["workspace-hack"]),
    ("results", &["workspace-hack"]),
    ("datasets", &["model"]),
    ("cli", &["model"]),
    ("snn", &["model", "results"]),
    ("specimens", &["model", "snn"]),
    ("engine-event", &["model", "cli", "snn", "specimens"]),
    ("analysis", &["model", "results", "snn", "engine-event"]),
    ("methods", &["model", "results", "datasets", "cli", "snn", "specimens", "engine-event", "analysis", "report"]),
    ("report", &["results"]),
    ("import", &["model", "datasets"]),
    ("export", &["model", "snn", "engine-event"]),
    ("inspect", &["model", "results", "snn", "report", "export"]),
    ("ann", &["model"]),
    ("engine-dense", &["model", "snn", "specimens", "engine-event", "ann"]),
    ("train", &["model", "results", "datasets", "cli", "snn", "methods", "report", "ann"]),
    (
        "convert",
        &[
            "model",
            "results",
            "datasets",
            "cli",
            "snn",
            "specimens",
            "engine-event",
            "analysis",
            "methods",
            "report",
            "import",
            "export",
            "ann",
        ],
    ),
    (
        "simulate",
        &[
            "model",
            "results",
            "datasets",
            "cli",
            "snn",
            "engine-event",
            "analysis",
            "report",
            "export",
            "ann",
            "engine-dense",
        ],
    ),
    (
        "reproduce",
        &[
            "model",
            "results",
            "datasets",
            "cli",
            "snn",
            "engine-event",
            "methods",
            "report",
            "ann",
            "train",
            "convert",
            "simulate",
        ],
    ),
    (
        "system-tests",
        &[
            "workspace-hack",
            "model",
            "results",
            "datasets",
            "cli",
            "snn",
            "specimens",
            "engine-event",
            "analysis",
            "methods",
            "report",
            "import",
            "export",
            "inspect",
            "ann",
            "engine-dense",
            "train",
            "convert",
            "simulate",
            "reproduce",
        ],
    ),
];

/// The only folder whose sources may name a concrete burn backend.
const BACKEND_MODULE: &str = "crates/ann/src/backend";

/// burn's backends, as constructors of its `Device`, as crates and as cargo features.
const BACKENDS: [&str; 12] =
    ["flex", "ndarray", "wgpu", "vulkan", "metal", "webgpu", "cpu", "cuda", "rocm", "tch", "libtorch", "candle"];

/// What prints to the standard streams or ends the process.
const PRINTS_OR_EXITS: [&str; 7] = ["print!", "println!", "eprint!", "eprintln!", "dbg!", "process::exit", "stdout()"];

/// Everything that may lie at the top of the repository, besides dotfiles.
const TOP_LEVEL: [&str; 8] =
    ["Cargo.lock", "Cargo.toml", "LICENSE", "README.md", "configs", "crates", "scripts", "tests"];

/// What may lie there too: surprises of other libraries, as scripts that show them.
const ALLOWED_AT_THE_TOP: &str = "findings";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec().unwrap()
}

/// Names of the workspace's crates that a crate declares as dependencies of any kind.
fn inner_dependencies<'a>(package: &'a Package, members: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    package
        .dependencies
        .iter()
        .map(|dependency| dependency.name.as_str())
        .filter(|name| members.contains(name))
        .collect()
}

/// Rust files below a folder, in a fixed order.
fn sources_below(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let is_rust = |path: &Path| path.extension().is_some_and(|extension| extension == "rs");
    paths
        .into_iter()
        .flat_map(|path| if path.is_dir() { sources_below(&path) } else { vec![path] })
        .filter(|path| is_rust(path))
        .collect()
}

/// Lines of code with their numbers: no comments, and no tests at the end of a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let code = text.split_once("#[cfg(test)]\nmod tests {").map_or(text, |(code, _)| code);
    let without_comment = |line| str::split_once(line, "//").map_or(line, |(code, _comment)| code);
    code.lines().map(without_comment).enumerate().map(|(line_idx, line)| (line_idx + 1, line))
}

/// Whether a word stands in a line on its own and not as the end of a longer one.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(position, _)| {
        let before = line[..position].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

/// Places in the sources of the crates where one of the words stands.
fn places(sources: &[PathBuf], words: &[String]) -> Vec<String> {
    let root = root();
    let mut places = Vec::new();
    for path in sources {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display();
        for (number, line) in code(&text) {
            let found = words.iter().filter(|word| holds(line, word));
            places.extend(found.map(|word| format!("{name}:{number}: `{word}`")));
        }
    }
    places
}

/// Sources of every crate but for its separate test files.
fn crate_sources() -> Vec<PathBuf> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let mut folders: Vec<PathBuf> = crates.map(|entry| entry.unwrap().path().join("src")).collect();
    folders.sort();
    let sources: Vec<PathBuf> = folders.iter().flat_map(|folder| sources_below(folder)).collect();
    assert!(sources.len() > folders.len(), "no sources found below {}", root().display());
    sources.into_iter().filter(|path| !path.ends_with("tests.rs")).collect()
}

#[test]
fn crates_depend_on_each_other_along_the_allowed_arrows_only() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let members: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.into();
    assert_eq!(members, allowed.keys().copied().collect(), "a crate came or went: give it its arrows in ALLOWED");
    let refused: Vec<String> = packages
        .iter()
        .flat_map(|package| {
            let (from, allowed) = (package.name.as_str(), allowed[package.name.as_str()]);
            let wanted = inner_dependencies(package, &members).into_iter();
            wanted.filter(|to| !allowed.contains(to)).map(move |to| format!("{from} -> {to}"))
        })
        .collect();
    assert!(refused.is_empty(), "dependencies against the architecture: {}", refused.join(", "));
}

#[test]
fn only_the_backend_module_names_a_concrete_backend() {
    let words: Vec<String> = BACKENDS
        .iter()
        .flat_map(|backend| [format!("Device::{backend}"), format!("burn_{backend}"), format!("burn::{backend}")])
        .chain(["burn::backend".to_owned()])
        .collect();
    let backend_module = root().join(BACKEND_MODULE);
    let (allowed, others): (Vec<_>, Vec<_>) =
        crate_sources().into_iter().partition(|path| path.starts_with(&backend_module));
    assert!(
        !places(&allowed, &words).is_empty(),
        "{BACKEND_MODULE} names no backend: this test looks for the wrong words"
    );
    let found = places(&others, &words);
    assert!(found.is_empty(), "backends are named outside {BACKEND_MODULE}:\n{}", found.join("\n"));
}

#[test]
fn only_ann_chooses_which_backends_are_built_in() {
    let mut found = Vec::new();
    for package in metadata().workspace_packages().into_iter().filter(|package| package.name.as_str() != "ann") {
        for (feature, enables) in &package.features {
            let of_burn =
                enables.iter().filter(|enabled| enabled.starts_with("burn/") || enabled.starts_with("burn?/"));
            found.extend(of_burn.map(|enabled| format!("{}: feature {feature} enables {enabled}", package.name)));
        }
        for dependency in &package.dependencies {
            if BACKENDS.iter().any(|backend| dependency.name == format!("burn-{backend}")) {
                found.push(format!("{} depends on {}", package.name, dependency.name));
            }
            if dependency.name == "burn" && dependency.uses_default_features {
                found.push(format!("{} takes the default features of burn", package.name));
            }
            let backends = dependency.features.iter().filter(|feature| BACKENDS.contains(&feature.as_str()));
            if dependency.name == "burn" {
                found.extend(backends.map(|backend| format!("{} depends on burn with {backend}", package.name)));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn libraries_never_print_and_never_exit() {
    let words = PRINTS_OR_EXITS.map(str::to_owned);
    let (mains, libraries): (Vec<_>, Vec<_>) = crate_sources()
        .into_iter()
        .partition(|path| path.ends_with("src/main.rs") || path.parent().unwrap().ends_with("src/bin"));
    assert!(!places(&mains, &words).is_empty(), "no command prints: this test looks for the wrong words");
    let found = places(&libraries, &words);
    assert!(found.is_empty(), "libraries return what they have to say; these print or exit:\n{}", found.join("\n"));
}

#[test]
fn every_crate_inherits_the_lints_of_the_workspace() {
    for package in metadata().workspace_packages() {
        let manifest: toml::Table = std::fs::read_to_string(&package.manifest_path).unwrap().parse().unwrap();
        let inherits = manifest.get("lints").and_then(|lints| lints.get("workspace")).and_then(toml::Value::as_bool);
        assert_eq!(inherits, Some(true), "{}: write `[lints]` with `workspace = true`", package.manifest_path);
    }
}

#[test]
fn the_top_of_the_repository_holds_what_it_should_and_nothing_else() {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("git is needed to list the repository's files: {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git cannot list the files of {}: {message}", root().display());
    let listed = String::from_utf8(output.stdout).unwrap();
    let top: BTreeSet<&str> =
        listed.split_terminator('\0').map(|path| path.split('/').next().unwrap_or(path)).collect();
    let without_dotfiles: BTreeSet<&str> =
        top.into_iter().filter(|name| !name.starts_with('.') && *name != ALLOWED_AT_THE_TOP).collect();
    assert_eq!(without_dotfiles, TOP_LEVEL.into(), "tracked files at the top of the repository");
}

/// Crates that need burn: the network in burn, the dense engine, and the commands that train, convert and simulate. All others are the
/// core, which `scripts/check-core` builds and tests on its own.
const ON_BURN: [&str; 7] = ["ann", "convert", "engine-dense", "reproduce", "simulate", "system-tests", "train"];

#[test]
fn the_core_needs_no_burn() {
    let metadata = metadata();
    let packages = metadata.workspace_packages();
    let members: BTreeSet<&str> = packages.iter().map(|package| package.name.as_str()).collect();
    for package in packages {
        let name = package.name.as_str();
        let needs = inner_dependencies(package, &members).into_iter().filter(|inner| ON_BURN.contains(inner));
        // The interface of data sets stands on nothing else of burn.
        let burn = package.dependencies.iter().map(|dependency| dependency.name.as_str());
        let burn = burn.filter(|outer| outer.starts_with("burn") && *outer != "burn-dataset");
        let found: Vec<&str> = needs.chain(burn).collect();
        assert!(ON_BURN.contains(&name) || found.is_empty(), "{name} is part of the core and depends on {found:?}");
    }
    let script = std::fs::read_to_string(root().join("scripts/check-core")).unwrap();
    let line = script.lines().find_map(|line| line.strip_prefix("core=(")).expect("a list of the core's packages");
    let listed: BTreeSet<&str> = line.trim_end_matches(')').split_whitespace().collect();
    let core: BTreeSet<&str> =
        members.into_iter().filter(|name| !ON_BURN.contains(name) && *name != "workspace-hack").collect();
    assert_eq!(listed, core, "scripts/check-core tests the core");
}
