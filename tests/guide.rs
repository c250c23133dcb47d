//! The guide as a text: the order of its pages, its links to rules, and its lists.

use std::fs;
use std::path::Path;

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The names of the pages, from `src/guide.rs`.
fn pages() -> Vec<String> {
    let source = read("src/guide.rs");
    let modules = source.lines().filter_map(|line| line.strip_prefix("pub mod "));
    modules.map(|rest| rest.trim_end_matches(" {}").to_owned()).collect()
}

/// The text of a page without its programs.
fn prose(page: &str) -> String {
    let text = read(&format!("src/guide/{page}.md"));
    text.split("```").step_by(2).collect()
}

#[test]
fn every_page_goes_from_the_concept_to_rules_to_pitfalls_to_recipes() {
    let pages = pages();
    assert!(pages.len() >= 13, "{pages:?}");
    for page in pages.iter().filter(|page| !["cheat_sheet", "rules"].contains(&&***page)) {
        let prose = prose(page);
        let at = |part: &str| prose.find(part).unwrap_or_else(|| panic!("{page} has no {part}"));
        let order =
            [at("# "), at("crate::guide::rules#r"), at("itfall"), at("# Recipe").max(at("ecipe"))];
        assert!(order.is_sorted(), "{page}: {order:?}");
    }
}

#[test]
fn every_number_of_a_rule_in_the_guide_is_a_link() {
    for page in pages().iter().filter(|page| *page != "rules") {
        for (line, text) in prose(page).lines().enumerate() {
            let words = text.split(|char: char| !char.is_alphanumeric());
            let rules = words.filter(|word| {
                word.strip_prefix('R').is_some_and(|rest| rest.parse::<u8>().is_ok_and(|n| n < 20))
            });
            for rule in rules {
                let link = format!("[{rule}](crate::guide::rules#{}-", rule.to_lowercase());
                assert!(text.contains(&link), "{page}, line {line}: {rule} is no link: {text}");
            }
        }
    }
}

#[test]
fn every_field_of_the_spans_and_events_is_in_the_guide() {
    let source = read("src/region/observe.rs");
    let listed = prose("hangs");
    let mut fields = 0;
    for call in ["debug_span!(", "debug!(", "trace!("] {
        for arguments in source.split(call).skip(1) {
            let arguments = arguments.split(';').next().unwrap();
            for word in arguments.split([',', '(']).filter_map(|part| part.split_once(" = ")) {
                let field = word.0.trim();
                assert!(listed.contains(&format!("`{field}`")), "hangs.md does not list {field}");
                fields += 1;
            }
        }
    }
    assert!(fields > 12, "{fields} fields found");
}

#[test]
fn every_example_is_listed_where_people_look_for_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let readme = read("README.md");
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(readme.contains(&format!("`{name}`")), "README.md does not list {name}");
    }
}

#[test]
fn the_glossary_explains_the_words_of_the_rules() {
    let glossary = read("src/guide.rs");
    for word in ["region", "enter", "leave", "owner", "exit", "abandon", "adopt", "lost", "stop"] {
        assert!(glossary.contains(&format!("**{word}**")), "{word}");
    }
}
