//! The guide's tables against the code: every setting has its row and its figures, and names that the guide uses
//! are names that there are.

use portcullis_tokio::Config;
use portcullis_tokio::portcullis::gate::{Denied, Step};
use portcullis_tokio::portcullis::{CloseReason, Phase, ResetReason};
use std::collections::{BTreeMap, BTreeSet};

const SETTINGS: &str = include_str!("../src/guide/settings.md");
/// Names in the text that are neither settings nor labels.
const OTHER: [&str; 4] = ["bytes_held", "reset_causes", "spawn_blocking", "with_graceful_shutdown"];
const CHAPTERS: [(&str, &str); 10] = [
    ("quick_start", include_str!("../src/guide/quick_start.md")),
    ("tls", include_str!("../src/guide/tls.md")),
    ("websockets", include_str!("../src/guide/websockets.md")),
    ("tunnels", include_str!("../src/guide/tunnels.md")),
    ("shutdown", include_str!("../src/guide/shutdown.md")),
    ("limits_by_route", include_str!("../src/guide/limits_by_route.md")),
    ("settings", SETTINGS),
    ("attacks", include_str!("../src/guide/attacks.md")),
    ("tuning", include_str!("../src/guide/tuning.md")),
    ("behind_a_proxy", include_str!("../src/guide/behind_a_proxy.md")),
];

fn chapter(wanted: &str) -> &'static str {
    let found = CHAPTERS.into_iter().find(|(name, _)| *name == wanted);
    found.expect("a chapter of this name").1
}

/// The cells of the rows of all tables, without the heads and the lines below them.
fn rows(chapter: &str) -> impl Iterator<Item = Vec<&str>> {
    let lines: Vec<_> = chapter.lines().collect();
    let is_head = |place: usize| lines.get(place + 1).is_some_and(|next| next.starts_with("|---"));
    let kept = (0..lines.len()).filter(|place| {
        lines[*place].starts_with('|') && !lines[*place].starts_with("|---") && !is_head(*place)
    });
    let kept: Vec<_> = kept.map(|place| lines[place]).collect();
    kept.into_iter().map(|line| {
        let line = line.trim_start_matches('|').trim_end_matches('|');
        line.split('|').map(str::trim).collect()
    })
}

/// The names in a text that are written as code, as far as they look like names of settings or labels.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let codes = text.split('`').skip(1).step_by(2);
    codes.filter(|code| {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        code.bytes().all(is_name) && code.contains('_')
    })
}

fn labels() -> BTreeSet<&'static str> {
    let reasons = CloseReason::all().map(CloseReason::label);
    let denied = Denied::ALL.into_iter().map(Denied::label);
    reasons.chain(denied).chain(Step::ALL.into_iter().map(Step::label)).collect()
}

#[test]
fn every_setting_has_one_row_with_its_figures() {
    let mut documented = BTreeMap::new();
    for row in rows(SETTINGS) {
        let [setting, _, default, strict, proxied, _, _] = row[..] else {
            panic!("not seven cells: {row:?}")
        };
        let name = setting.split('`').nth(1).expect("the name as code");
        assert_eq!(setting, format!("[`{name}`](Config::{name})"));
        let twice = documented.insert(name, [default, strict, proxied]);
        assert_eq!(twice, None, "{name} has two rows");
    }
    let profiles = [Config::default(), Config::strict(), Config::proxied()];
    for setting in Config::settings() {
        let row = documented.remove(setting.name);
        let row = row.unwrap_or_else(|| panic!("{} has no row", setting.name));
        let values = profiles.each_ref().map(|profile| setting.value(profile));
        assert_eq!(values, row, "{}: the figures of the profiles", setting.name);
    }
    assert!(documented.is_empty(), "rows of no setting: {documented:?}");
}

#[test]
fn what_happens_then_is_told_by_reasons_that_there_are() {
    let labels = labels();
    for row in rows(SETTINGS) {
        for name in names(row[5]) {
            assert!(labels.contains(name), "{}: {name} is no label", row[0]);
        }
    }
}

#[test]
fn close_reasons_of_attacks_and_of_the_advice_are_those_that_there_are() {
    let attacks = rows(chapter("attacks")).filter(|row| row.len() == 4).map(|row| row[2]);
    let (_, advice) = chapter("tuning").split_once("I see a reason often").expect("the advice");
    let advice = rows(advice).map(|row| row[0]);
    let labels = labels();
    let mut count = 0;
    for cell in attacks.chain(advice) {
        for reason in cell.split('`').skip(1).step_by(2) {
            assert!(labels.contains(reason), "{reason} is no close reason: {cell}");
            count += 1;
        }
    }
    assert!(count > 50, "{count} reasons were found");
}

/// A setting or a label that was renamed would leave its old name in the text.
#[test]
fn names_in_the_text_are_settings_labels_or_other_names_that_there_are() {
    let settings = Config::settings().iter().map(|setting| setting.name);
    let phases = Phase::ALL.into_iter().map(Phase::label);
    let chapters = CHAPTERS.into_iter().map(|(name, _)| name);
    let known = settings.chain(labels()).chain(phases).chain(ResetReason::LABELS).chain(chapters);
    let known: BTreeSet<_> = known.chain(OTHER).collect();
    for (chapter, text) in CHAPTERS {
        // Examples are compiled, or are configurations of other programs.
        for text in text.split("```").step_by(2) {
            for name in names(text).filter(|name| !name.starts_with("portcullis_")) {
                assert!(known.contains(name), "{chapter}: what is {name}?");
            }
        }
    }
}
