//! The documents hold together: every link, image and anchor leads somewhere, and nothing is left to be filled in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// Most lines of the README, which is an introduction: results and methods have documents of their own.
const README_LINES: usize = 250;

/// Mark of a text that its author has left to be filled in.
const LEFT_OPEN: &str = "@@";

/// What a Markdown file refers to, and what can be referred to in it.
#[derive(Debug, Default)]
struct Document {
    /// Targets of links, images and raw HTML, as they are written.
    targets: Vec<String>,
    /// Anchors of the headings.
    anchors: BTreeSet<String>,
}

impl Document {
    fn of(text: &str) -> Self {
        let mut document = Self::default();
        let mut repeated: BTreeMap<String, usize> = BTreeMap::new();
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    let slug = slug(&heading.take().unwrap_or_default());
                    let n = repeated.entry(slug.clone()).or_insert(0);
                    document.anchors.insert(if *n == 0 { slug } else { format!("{slug}-{n}") });
                    *n += 1;
                }
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    document.targets.push(dest_url.to_string());
                }
                Event::Html(html) | Event::InlineHtml(html) => document.targets.extend(html_targets(&html)),
                Event::Text(text) | Event::Code(text) => {
                    if let Some(title) = &mut heading {
                        title.push_str(&text);
                    }
                }
                _ => {}
            }
        }
        document
    }
}

/// The anchor that GitHub gives a heading: in lower case, hyphens in place of spaces, without punctuation.
fn slug(title: &str) -> String {
    let is_kept = |c: &char| c.is_alphabetic() || c.is_ascii_digit() || matches!(c, ' ' | '-' | '_');
    title.to_lowercase().chars().filter(is_kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Targets that stand in attributes of raw HTML.
fn html_targets(html: &str) -> Vec<String> {
    let mut targets: Vec<String> = ["src", "href"].iter().flat_map(|name| attributes(html, name)).collect();
    // A set lists several files, each with the size or density that it is for.
    for set in attributes(html, "srcset") {
        targets.extend(set.split(',').filter_map(|entry| entry.split_whitespace().next()).map(str::to_owned));
    }
    targets
}

/// Values of an HTML attribute, which are in double quotes.
fn attributes(html: &str, name: &str) -> Vec<String> {
    let opening = format!("{name}=\"");
    let mut values = Vec::new();
    for (position, _) in html.match_indices(opening.as_str()) {
        let is_whole_name = html[..position].chars().next_back().is_none_or(char::is_whitespace);
        let value = html[position + opening.len()..].split_once('"');
        values.extend(value.filter(|_| is_whole_name).map(|(value, _)| value.to_owned()));
    }
    values
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_owned()
}

/// Files that git tracks, as paths from the root of the repository.
fn tracked() -> BTreeSet<String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output();
    let output = output.unwrap_or_else(|error| panic!("git is needed to list the repository's files: {error}"));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "git cannot list the files of {}: {message}", root().display());
    String::from_utf8(output.stdout).unwrap().split_terminator('\0').map(str::to_owned).collect()
}

/// Texts of the Markdown files among these.
fn documents(tracked: &BTreeSet<String>) -> BTreeMap<String, String> {
    let is_markdown = |path: &&String| Path::new(path.as_str()).extension().is_some_and(|extension| extension == "md");
    let read = |path: &String| {
        let text = std::fs::read_to_string(root().join(path));
        (path.clone(), text.unwrap_or_else(|error| panic!("{path}: {error}")))
    };
    let documents: BTreeMap<String, String> = tracked.iter().filter(is_markdown).map(read).collect();
    assert!(documents.contains_key("README.md"), "no README.md is tracked below {}", root().display());
    documents
}

/// The path from the root that a path in a document means; `None` if it is outside of the repository.
fn resolved(document: &str, path: &str) -> Option<String> {
    if path.is_empty() {
        return Some(document.to_owned());
    }
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

/// Why a target leads nowhere; `None` if it leads to a tracked file or folder, to a heading, or to another site.
fn problem(
    target: &str,
    document: &str,
    documents: &BTreeMap<String, Document>,
    tracked: &BTreeSet<String>,
) -> Option<String> {
    if target.contains("://") || target.starts_with("mailto:") {
        return None;
    }
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    if path.starts_with('/') {
        return Some("begins at the root; write it from the document's own folder".to_owned());
    }
    let Some(file) = resolved(document, path) else {
        return Some("lies outside of the repository".to_owned());
    };
    let folder = format!("{file}/");
    let is_folder = file.is_empty() || tracked.iter().any(|tracked| tracked.starts_with(&folder));
    if !is_folder && !tracked.contains(&file) {
        return Some(format!("git tracks no `{file}`"));
    }
    let anchor = anchor?;
    let Some(referred) = documents.get(&file) else {
        return Some(format!("`{file}` is no document, so it has no headings"));
    };
    if referred.anchors.contains(anchor) {
        return None;
    }
    let known: Vec<&str> = referred.anchors.iter().map(String::as_str).collect();
    Some(format!("`{file}` has no heading for it; its anchors are {}", known.join(", ")))
}

#[test]
fn every_link_image_and_anchor_leads_somewhere() {
    let tracked = tracked();
    let documents: BTreeMap<String, Document> =
        documents(&tracked).into_iter().map(|(path, text)| (path, Document::of(&text))).collect();
    let readme = &documents["README.md"];
    assert!(!readme.targets.is_empty() && !readme.anchors.is_empty(), "nothing is found in README.md: {readme:?}");
    let mut problems = Vec::new();
    for (path, document) in &documents {
        for target in &document.targets {
            let found = problem(target, path, &documents, &tracked);
            problems.extend(found.map(|problem| format!("{path}: {target}: {problem}")));
        }
    }
    assert!(problems.is_empty(), "links that lead nowhere:\n{}", problems.join("\n"));
}

#[test]
fn the_readme_stays_short() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    let n_lines = readme.lines().count();
    assert!(
        n_lines <= README_LINES,
        "README.md: {n_lines} lines, at most {README_LINES}; move details to the document of the folder they describe"
    );
}

#[test]
fn no_document_has_a_place_left_to_be_filled_in() {
    let mut found = Vec::new();
    for (path, text) in documents(&tracked()) {
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(LEFT_OPEN));
        found.extend(lines.map(|(line_idx, line)| format!("{path}:{}: {line}", line_idx + 1)));
    }
    assert!(found.is_empty(), "places marked with {LEFT_OPEN}:\n{}", found.join("\n"));
}

#[test]
fn targets_and_anchors_are_read_as_github_reads_them() {
    let text = r#"
# What does κ cost, `T = 4`?

A [link](a.md), ![an image](b.svg) and `[no](link)`.

| a | b |
|---|---|
| [in a table](c.md#d) | `x` |

<picture>
  <source media="(prefers-color-scheme: dark)" srcset="dark.svg 1x, darker.svg 2x">
  <img data-src="no.svg" src="light.svg" alt="src of a figure">
</picture>

An <a href="e.md">inline tag</a>.

## Again
## Again
"#;
    let document = Document::of(text);
    let targets = ["a.md", "b.svg", "c.md#d", "dark.svg", "darker.svg", "light.svg", "e.md"];
    assert_eq!(document.targets, targets);
    let anchors: Vec<&str> = document.anchors.iter().map(String::as_str).collect();
    assert_eq!(anchors, ["again", "again-1", "what-does-κ-cost-t--4"]);
}

#[test]
fn paths_are_followed_from_the_document_s_folder() {
    let of = |path| resolved("crates/snn/README.md", path);
    assert_eq!(of("").as_deref(), Some("crates/snn/README.md"));
    assert_eq!(of("src/lib.rs").as_deref(), Some("crates/snn/src/lib.rs"));
    assert_eq!(of("../README.md").as_deref(), Some("crates/README.md"));
    assert_eq!(of("../../configs/paper/").as_deref(), Some("configs/paper"));
    assert_eq!(of("../..").as_deref(), Some(""));
    assert_eq!(of("../../../elsewhere.md"), None);
}

#[test]
fn targets_that_lead_nowhere_are_told_with_the_reason() {
    let tracked: BTreeSet<String> = ["README.md", "crates/README.md", "configs/a.toml"].map(str::to_owned).into();
    let documents: BTreeMap<String, Document> = [("README.md", "# Start\n"), ("crates/README.md", "## Map\n")]
        .map(|(path, text)| (path.to_owned(), Document::of(text)))
        .into();
    let of = |target| problem(target, "README.md", &documents, &tracked);
    for target in
        ["https://burn.dev", "crates/README.md", "crates/README.md#map", "#start", "configs", "configs/a.toml"]
    {
        assert_eq!(of(target), None, "{target}");
    }
    let cases = [
        ("crates/readme.md", "git tracks no `crates/readme.md`"),
        ("crates/README.md#maps", "has no heading for it; its anchors are map"),
        ("configs/a.toml#start", "is no document"),
        ("/README.md", "begins at the root"),
        ("../other/README.md", "outside of the repository"),
    ];
    for (target, reason) in cases {
        let found = of(target).unwrap_or_default();
        assert!(found.contains(reason), "{target}: {found}");
    }
}
