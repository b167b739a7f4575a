//! Every input that is kept, those that once broke something among them, without libFuzzer.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use fuzz::{TARGETS, replay};

#[test]
fn what_is_kept_of_each_target_breaks_nothing() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for (target, body) in TARGETS {
        let files = fs::read_dir(corpus.join(target)).unwrap();
        let files: BTreeSet<_> = files.map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "{target} has no corpus");
        for file in files {
            replay(body, &file);
        }
    }
}

#[test]
fn each_target_has_a_program() {
    let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("targets");
    let programs: BTreeSet<_> = fs::read_dir(targets)
        .unwrap()
        .map(|file| file.unwrap().path().with_extension(""))
        .collect();
    let programs: Vec<_> = programs
        .iter()
        .filter_map(|path| path.file_name())
        .collect();
    assert_eq!(programs, TARGETS.map(|(target, _)| target));
}
