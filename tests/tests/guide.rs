//! What the guide and the README name exists: attacks of the gauntlet, files, metrics.

#![cfg(target_os = "linux")]

use portcullis_tests::gauntlet::ATTACKS;
use portcullis_tokio::Config;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The texts between backquotes.
fn codes(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn attacks_and_tests_that_the_guide_names_exist() {
    let names: BTreeSet<_> = ATTACKS.iter().map(|attack| attack.name).collect();
    let chapter = read("adapters/tokio/src/guide/attacks.md");
    let mut shown = BTreeSet::new();
    for row in chapter.lines().filter(|line| line.starts_with("| ") && line.ends_with(" |")) {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
        let by = cells.last().expect("a cell");
        if *by == "shown by" {
            continue;
        }
        for name in codes(by) {
            assert!(names.contains(name), "{name} is no attack of the gauntlet: {row}");
            shown.insert(name.to_owned());
        }
        let files: Vec<_> = by.split(", ").filter(|it| it.ends_with(".rs")).collect();
        for file in &files {
            let places = [root().join(file), root().join("tests/tests").join(file)];
            assert!(places.iter().any(|place| place.is_file()), "there is no {file}: {row}");
        }
        assert!(codes(by).next().is_some() || !files.is_empty(), "nothing shows this: {row}");
    }
    let missing: Vec<_> = names.iter().filter(|name| !shown.contains(**name)).collect();
    assert!(missing.is_empty(), "attacks without a row: {missing:?}");
}

/// The defaults that a text tells as "`setting` (5 s)", with the text in the brackets.
fn told_defaults(text: &str) -> Vec<(&'static str, String)> {
    let mut told = Vec::new();
    for setting in Config::settings() {
        let before = format!("`{}` (", setting.name);
        for rest in text.split(&before).skip(1) {
            let value = rest.split([')', ',', ';', ':']).next().unwrap_or_default();
            let value: Vec<_> = value.split(' ').collect();
            // Units of rates, and what a percentage is of, are for people.
            let value = match value[..] {
                [number, "B/s", ..] => number.to_owned(),
                [number, unit @ ("s" | "ms" | "h" | "%" | "KiB" | "MiB"), ..] => {
                    format!("{number}{unit}")
                }
                [number, ..] => number.to_owned(),
                [] => continue,
            };
            if value.starts_with(|first: char| first.is_ascii_digit()) {
                told.push((setting.name, value));
            }
        }
    }
    told
}

#[test]
fn defaults_that_are_told_in_passing_are_the_defaults() {
    let mut texts: Vec<_> = ["README.md", "adapters/tokio/src/guide/attacks.md"].map(read).into();
    // The first column has the settings of other servers, some of them with the same names.
    let migrating = read("adapters/tokio/src/guide/migrating.md");
    let ours = migrating.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    texts.push(ours.map(|(_, ours)| format!("{ours}\n")).collect());
    let mut count = 0;
    for (name, value) in texts.iter().flat_map(|text| told_defaults(text)) {
        // A share of something is a number where nothing else can be meant.
        let plain = value.trim_end_matches('%');
        let told =
            Config::builder().set(name, &value).or_else(|_| Config::builder().set(name, plain));
        let told = told.unwrap_or_else(|error| panic!("{error}")).build().expect("in range");
        assert_eq!(told, Config::default(), "{name} is told as {value}");
        count += 1;
    }
    assert!(count > 60, "{count} defaults were found");
}

#[test]
fn metrics_that_the_guide_names_exist() {
    let source = read("adapters/driver/src/metrics.rs");
    let chapter = read("adapters/tokio/src/guide/tuning.md");
    let metrics = codes(&chapter).filter(|code| code.starts_with("portcullis_"));
    let metrics: Vec<_> = metrics.filter_map(|code| code.split('{').next()).collect();
    assert!(metrics.len() > 5, "{metrics:?}");
    for name in metrics.into_iter().filter(|name| !name.contains("::")) {
        assert!(source.contains(&format!("\"{name}\"")), "{name} is no metric");
    }
}

#[test]
fn links_of_the_readme_lead_to_files() {
    for document in ["README.md", "CONTRIBUTING.md", "tests/gauntlet.md"] {
        let text = read(document);
        let folder = root().join(document).parent().expect("a folder").to_owned();
        // Within code, brackets are no links.
        let prose: String = text.split("```").step_by(2).collect();
        for link in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or_default();
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(folder.join(path).exists(), "{document} links to {path}, which is not there");
        }
    }
}
