//! The numbered invariants at the head of a file, and the places that rely on them: each one is cited.
//!
//! A citation is "invariant 2" in the same file, "invariant 2 of `frame`" in any file, or "invariant 2 of the room" for
//! src/region.rs.

mod sources;

use sources::sources_in;
use std::path::Path;

#[test]
fn each_invariant_is_cited() {
    let paths = sources_in(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let files: Vec<_> = paths
        .iter()
        .map(|path| {
            let room = path.file_stem().unwrap().to_str().unwrap();
            (room, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    assert!(files.iter().filter(|(_, source)| invariants(source) > 0).count() > 20);
    assert_eq!(uncited(&files), [""; 0]);
}

#[test]
fn the_check_bites() {
    let head = "//! # Invariants\n//!\n//! 1. One.\n//!    More.\n//! 2. Two.\n//! 3. Three\n";
    let found = |source: &str, other: &str| {
        uncited(&[("frame", format!("{head}{source}")), ("leave", other.to_owned())])
    };
    let all = ["frame: invariant 1", "frame: invariant 2", "frame: invariant 3"];
    assert_eq!(found("", "// Invariants 1 and 2."), all);
    assert_eq!(found("// (invariants 1 and 2)\n// Invariant\n// 3.", ""), [""; 0]);
    assert_eq!(found("/// invariant 1", "// invariant 2 of\n    // `frame`"), all[2..]);
    assert_eq!(found("// invariant 1 of the room, invariant 2 of `leave`", ""), all);
}

/// The invariants without a citation, each with its room.
fn uncited(files: &[(&str, String)]) -> Vec<String> {
    let mut cited = Vec::new();
    for (room, source) in files {
        let below_head = source.lines().filter(|line| !line.starts_with("//!"));
        let here = citations(below_head).into_iter().filter(|(_, of)| of.is_none());
        cited.extend(here.map(|(number, _)| (number, (*room).to_owned())));
        cited.extend(citations(source.lines()).into_iter().filter_map(|(n, of)| Some((n, of?))));
    }
    let all = files.iter().flat_map(|(room, source)| {
        (1..=invariants(source)).map(move |number| (number, (*room).to_owned()))
    });
    let uncited = all.filter(|invariant| !cited.contains(invariant));
    uncited.map(|(number, room)| format!("{room}: invariant {number}")).collect()
}

/// The number of invariants at the head of a source.
fn invariants(source: &str) -> usize {
    let lines = source.lines().skip_while(|line| *line != "//! # Invariants").skip(1);
    let section = lines.take_while(|line| line.starts_with("//!") && !line.starts_with("//! #"));
    section
        .filter_map(|line| line.strip_prefix("//! ")?.split_once(". ")?.0.parse().ok())
        .max()
        .unwrap_or(0)
}

/// The invariants that a text names, each with the room, if that is named.
fn citations<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<(usize, Option<String>)> {
    let words: Vec<_> =
        lines.map(|line| line.trim_start().trim_start_matches(['/', '!'])).collect();
    let text = words.join(" ").split_whitespace().collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for after in text.split("nvariant").skip(1) {
        let Some((first, rest)) = number(after.trim_start_matches('s').trim_start()) else {
            continue;
        };
        let (second, rest) = match rest.strip_prefix(" and ").and_then(number) {
            Some((second, rest)) => (Some(second), rest),
            None => (None, rest),
        };
        let room = match rest.strip_prefix(" of ") {
            Some(of) if of.starts_with("the room") => Some("region".to_owned()),
            Some(of) => of.strip_prefix('`').and_then(|of| Some(of.split_once('`')?.0.to_owned())),
            None => None,
        };
        found.extend([Some(first), second].into_iter().flatten().map(|n| (n, room.clone())));
    }
    found
}

fn number(text: &str) -> Option<(usize, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}
