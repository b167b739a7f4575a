//! What the answers promise, as scenarios that an operator can read: `*.rpl` beside this file, in the
//! grammar of unbound's testbound and NLnet Labs' Stelline. README.md here says how they are written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

mod entry;
mod read;
mod run;
mod show;
mod wrong;

use read::Scenario;

/// All files by name.
fn files() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let scenarios = files.filter(|path| path.extension().is_some_and(|ending| ending == "rpl"));
    scenarios
        .map(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect()
}

/// Reads and plays a scenario; else says in which line what is wrong.
fn play(file: &str, text: &str) -> Result<(), String> {
    Scenario::read(text)
        .and_then(|scenario| run::run(&scenario))
        .map_err(|trouble| format!("{file}:{}: {}", trouble.line, trouble.what))
}

#[test]
fn every_scenario_comes_out_as_written() {
    let files = files();
    assert!(!files.is_empty());
    let failed = files
        .iter()
        .filter_map(|(file, text)| play(file, text).err());
    let failed: Vec<String> = failed.collect();
    assert!(failed.is_empty(), "\n{}", failed.join("\n"));
}

/// The comments at the head of a file as one line.
fn head(text: &str) -> String {
    let lines = text.lines().map_while(|line| line.strip_prefix(';'));
    lines.map(str::trim).collect::<Vec<_>>().join(" ")
}

/// What a file quotes of the README.
fn promises(text: &str) -> Vec<String> {
    let head = head(text);
    let quotes = head.split("promise: \"").skip(1);
    quotes
        .map(|quote| quote.split('"').next().unwrap_or_default().to_owned())
        .collect()
}

/// The sentences of the README's section.
fn sentences() -> Vec<String> {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = fs::read_to_string(readme).unwrap();
    let section = readme
        .split("\n## What the answers promise\n")
        .nth(1)
        .unwrap();
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut sentences = Vec::new();
    for point in section.split("\n- ").skip(1) {
        let words: Vec<&str> = point.split_whitespace().collect();
        for sentence in words.split_inclusive(|word| word.ends_with('.')) {
            sentences.push(sentence.join(" "));
        }
    }
    sentences
}

#[test]
fn every_sentence_of_the_readme_is_quoted_and_no_other() {
    let sentences = sentences();
    let files = files();
    let quoted: Vec<String> = files.values().flat_map(|text| promises(text)).collect();
    for sentence in &sentences {
        assert!(quoted.contains(sentence), "no scenario quotes: {sentence}");
    }
    for (file, text) in &files {
        let promises = promises(text);
        assert!(!promises.is_empty(), "{file} quotes no promise");
        for promise in promises {
            let known = sentences.contains(&promise);
            assert!(
                known,
                "{file} quotes what the README does not say: {promise}"
            );
        }
    }
}

#[test]
fn every_file_names_its_rfc_and_every_rfc_of_the_readme_has_a_file() {
    let heads: Vec<String> = files().values().map(|text| head(text)).collect();
    for head in &heads {
        assert!(head.contains("RFC "), "{head}");
    }
    let sentences = sentences();
    let rules = sentences
        .iter()
        .find(|sentence| sentence.starts_with("The rules are those of RFC "));
    let is_digit = |letter: char| letter.is_ascii_digit();
    let numbers = rules.unwrap().split(|letter| !is_digit(letter));
    let numbers: Vec<&str> = numbers.filter(|number| !number.is_empty()).collect();
    assert!(numbers.len() > 10, "{numbers:?}");
    for number in numbers {
        let rfc = format!("RFC {number}");
        let is_cited = |head: &String| {
            let mut ends = head.match_indices(&rfc).map(|(at, _)| at + rfc.len());
            ends.any(|end| !head[end..].starts_with(is_digit))
        };
        assert!(heads.iter().any(is_cited), "no scenario is about {rfc}");
    }
}
