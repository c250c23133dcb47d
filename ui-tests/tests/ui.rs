//! Programs that must not compile are rejected, for the reason that is pinned beside each; its good
//! twin compiles.

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn what_must_not_compile_does_not_and_its_good_twin_does() {
    let tests = trybuild::TestCases::new();
    tests.pass("tests/pass/*.rs");
    tests.compile_fail("tests/fail/*.rs");
}

#[test]
fn every_program_has_a_twin_and_a_pinned_error() {
    let names = |folder: &str, extension: &str| -> BTreeSet<String> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder);
        let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        entries
            .filter(|path| path.extension().is_some_and(|found| found == extension))
            .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names("fail", "rs"), names("pass", "rs"));
    assert_eq!(names("fail", "rs"), names("fail", "stderr"));
}
