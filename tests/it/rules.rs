//! Which tests stand for which rule, read from their names.

use std::collections::BTreeMap;
use std::path::Path;

/// The rules of docs/design.md.
const IN_FORCE: std::ops::RangeInclusive<u32> = 1..=19;

#[test]
fn every_rule_in_force_has_a_test() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut by_rule: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for folder in [tests.clone(), tests.join("it")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                for (rule, name) in names(&text) {
                    by_rule.entry(rule).or_default().push(name);
                }
            }
        }
    }
    for (rule, names) in &by_rule {
        println!("R{rule}: {}", names.len());
        names.iter().for_each(|name| println!("    {name}"));
    }
    let missing: Vec<_> = IN_FORCE.filter(|rule| !by_rule.contains_key(rule)).collect();
    assert!(missing.is_empty(), "no test stands for {missing:?}");
}

/// The tests in a file that are named after a rule: `r08_…` stands for R8.
fn names(text: &str) -> Vec<(u32, String)> {
    let mut found = Vec::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
            is_test = false;
            let name = rest.split('(').next().unwrap();
            let rule = name.strip_prefix('r').and_then(|name| name.split('_').next());
            if let Some(rule) = rule.and_then(|digits| digits.parse().ok()) {
                found.push((rule, name.to_owned()));
            }
        }
    }
    found
}

#[test]
fn a_name_tells_its_rule() {
    let text = "#[test]\nfn r08_a() {}\nfn r09_helper() {}\n#[tokio::test]\nasync fn r11_b() {}\n#[test]\nfn c() {}";
    assert_eq!(names(text), [(8, "r08_a".to_owned()), (11, "r11_b".to_owned())]);
}
