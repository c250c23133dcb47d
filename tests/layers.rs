//! The direction of the crate's imports, and the names that only some files may use.
//!
//! The floors are the table in docs/design.md, section 2. A room is a file of `src/` with the folder beside it, and may
//! import from its own floor and from those below; the ground floor is 0. Sources are read as text, without comments
//! and literals, because a rule about sources has to hold for every feature and every cfg.
//!
//! The room of regions has floors of its own: the table at the top of src/region.rs.

mod sources;

use sources::sources_in;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The names that only `src/sync.rs` may use, so that loom or shuttle can take their place.
const SHARED_MEMORY: [&str; 6] =
    ["std::sync", "core::sync", "alloc::sync", "parking_lot", "loom", "shuttle"];

#[test]
fn imports_go_down_and_shared_memory_has_one_door() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let design = std::fs::read_to_string(root.join("docs/design.md")).unwrap();
    let floors = floors(&design);
    let files = sources_in(&root.join("src"));
    assert!(files.len() > 20, "only {} files found: where is the crate?", files.len());
    let mut wrong = Vec::new();
    for file in files {
        let module: Vec<String> = file
            .strip_prefix(root.join("src"))
            .unwrap()
            .with_extension("")
            .iter()
            .map(|part| part.to_str().unwrap().to_owned())
            .collect();
        let source = std::fs::read_to_string(&file).unwrap();
        wrong.extend(violations(&module, &source, &floors));
    }
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[test]
fn the_check_bites() {
    let floors = floors("| 0 | `sync`, `reason` |\n| 2 | `region`: the node |\n| 3 | `scope` |\n");
    let found = |module: &[&str], source: &str| {
        let module: Vec<String> = module.iter().map(|part| (*part).to_owned()).collect();
        violations(&module, source, &floors)
    };
    let upward = "region imports from scope, which is above it: crate::scope::request";
    assert_eq!(found(&["region"], "use crate::scope::request;"), [upward]);
    assert_eq!(found(&["region"], "use crate::{reason::Reason, scope::request};"), [upward]);
    assert_eq!(found(&["region"], "fn f() { crate::scope::request(); }"), [upward]);
    assert_eq!(found(&["region", "frame"], "use super::super::scope::request;"), [upward]);
    assert_eq!(found(&["region"], "use super::scope::request;"), [upward]);
    assert_eq!(found(&["scope"], "use crate::region::Node; use crate::sync::Arc;"), [""; 0]);
    assert_eq!(found(&["region"], "// use crate::scope::request;\n/* std::sync */"), [""; 0]);
    assert_eq!(found(&["region"], "const X: &str = \"crate::scope \\\" loom\";"), [""; 0]);
    assert_eq!(found(&["region"], "const X: &str = r#\"crate::scope \" loom\"#;"), [""; 0]);
    assert_eq!(
        found(&["region"], "fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }"),
        [""; 0]
    );
    assert_eq!(
        found(&["scope"], "use crate::CancelScope;"),
        ["scope imports from the root instead of from a room: crate::CancelScope"]
    );
    assert_eq!(found(&["lib"], "pub use scope::CancelScope; pub use crate::scope::X;"), [""; 0]);
    assert_eq!(found(&["shed"], ""), ["shed is on no floor: name it in docs/design.md, section 2"]);
    for source in [
        "use std::sync::Arc;",
        "use std::{fmt, sync::{Arc, Mutex}};",
        "static X: std::sync::Mutex<()> = todo!();",
        "use parking_lot::Mutex;",
        "#[cfg(loom)] fn f() {}",
        "use shuttle::sync::Mutex;",
    ] {
        assert!(!found(&["region"], source).is_empty(), "{source}");
        assert!(found(&["sync"], source).is_empty(), "{source}");
    }
    assert_eq!(found(&["region"], "pub mod loom {}"), [""; 0]);
    assert!(!found(&["region"], "mod loom {} use loom::sync::Arc;").is_empty());
    assert_eq!(found(&["sync"], "unsafe fn f() {}"), ["sync says `unsafe`"]);
    assert_eq!(found(&["lib"], "#![forbid(unsafe_code)]"), [""; 0]);
}

#[test]
fn imports_inside_the_room_of_regions_go_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let plan = std::fs::read_to_string(src.join("region.rs")).unwrap();
    let floors = floors(&plan.replace("//!", ""));
    let paths = sources_in(&src.join("region"));
    let files: Vec<_> = paths
        .iter()
        .map(|path| {
            let name = path.strip_prefix(src.join("region")).unwrap().with_extension("");
            (name.to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
        })
        .collect();
    let wrong = violations_inside("region", &files, &floors);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    assert_eq!(rings_inside("region", &files, &floors), RINGS);
}

/// The most methods of one type, and the most lines of one file.
const METHODS: usize = 40;
const LINES: usize = 400;

#[test]
fn no_type_and_no_file_is_large() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let paths = sources_in(&root.join("src"));
    let mut large = Vec::new();
    let mut methods = BTreeMap::new();
    for path in paths {
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let source = std::fs::read_to_string(&path).unwrap();
        let lines = source.lines().count();
        if lines > LINES {
            large.push(format!("{name} has {lines} lines"));
        }
        // Types of different rooms may have one name.
        let room = path.strip_prefix(root.join("src")).unwrap().iter().next().unwrap();
        let room = Path::new(room).with_extension("").display().to_string();
        for name in types_of_methods(&tokens(&source)) {
            *methods.entry(format!("{name} of {room}")).or_insert(0) += 1;
        }
    }
    let many = methods.into_iter().filter(|(_, methods)| *methods > METHODS);
    large.extend(many.map(|(name, methods)| format!("{name} has {methods} methods")));
    assert!(large.is_empty(), "\n{}\n", large.join("\n"));
}

#[test]
fn the_methods_of_a_type_are_counted() {
    let source = "impl<F: Fn() -> bool, T> Run<F, T> where F: Send { fn a() { fn inner() {} } fn b() {} }
        impl<T> Drop for Run<T> { fn drop() {} } impl Run { pub(super) const fn c() -> impl Sized {} }
        fn f() -> impl Sized { fn g() {} }";
    assert_eq!(types_of_methods(&tokens(source)), ["Run", "Run", "Run"]);
}

/// For each method that an inherent `impl` defines, the name of the type.
fn types_of_methods(tokens: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut outside = 0;
    let mut at = 0;
    while at < tokens.len() {
        match &*tokens[at] {
            "{" => outside += 1,
            "}" => outside -= 1,
            "impl" if outside == 0 => {
                let open = at + tokens[at..].iter().position(|token| token == "{").unwrap();
                let head = &tokens[at + 1..open];
                let starts = at == 0 || matches!(&*tokens[at - 1], "}" | ";" | "]");
                if let Some(name) = own_type(head).filter(|_| starts) {
                    let mut depth = 0;
                    for token in &tokens[open..] {
                        match &**token {
                            "{" => depth += 1,
                            "}" => depth -= 1,
                            "fn" if depth == 1 => found.push(name.clone()),
                            _ => {}
                        }
                        if depth == 0 {
                            break;
                        }
                    }
                }
                at = open;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    found
}

/// The type of an inherent `impl`, from the tokens between `impl` and `{`.
fn own_type(head: &[String]) -> Option<String> {
    let mut depth = 0;
    let mut name = None;
    for (at, token) in head.iter().enumerate() {
        match &**token {
            "<" => depth += 1,
            // That of an arrow closes nothing.
            ">" if head[at - 1] != "-" => depth -= 1,
            "for" if depth == 0 => return None,
            "where" if depth == 0 => break,
            token if depth == 0 && is_name(token) => name = Some(token.to_owned()),
            _ => {}
        }
    }
    name
}

#[test]
fn a_ring_of_files_is_found() {
    let floors = floors("| 0 | `a`, `b`, `c`, `d` |\n");
    let source = |name: &str, uses: &str| (name.to_owned(), uses.to_owned());
    let files = [
        source("a", "use super::b::B;"),
        source("b", "use super::c::C;"),
        source("b/inner", "use crate::region::c::C;"),
        source("c", "use super::a::A; use super::d::D;"),
        source("d", ""),
    ];
    assert_eq!(rings_inside("region", &files, &floors), [["a", "b", "c"]]);
}

#[test]
fn the_check_inside_a_room_bites() {
    let floors = floors("| 0 | `node` | x |\n| 1 | `look` | x |\n| 2 | `frame` | x |\n");
    let found = |name: &str, source: &str| {
        violations_inside("region", &[(name.to_owned(), source.to_owned())], &floors)
    };
    assert_eq!(found("frame", "use super::look::Look; use super::node::Node;"), [""; 0]);
    assert_eq!(found("frame/leave", "use super::Stage; use crate::region::node::Node;"), [""; 0]);
    let upward = ["region/node uses look::Look, which is above it"];
    assert_eq!(found("node", "use super::look::Look;"), upward);
    assert_eq!(found("node", "use crate::region::look::Look;"), upward);
    assert_eq!(
        found("look", "use super::Node;"),
        ["region/look imports Node through the room instead of from a file"]
    );
    assert_eq!(
        found("shed", ""),
        ["region/shed is on no floor: name it at the top of src/region.rs"]
    );
}

/// The rings that the imports inside the room of regions may have; the table at the top of src/region.rs has the reasons.
const RINGS: [&[&str]; 4] = [
    &["inbox", "on_executor"],
    &["lone", "run"],
    &["node", "wave"],
    &["request", "shields", "time"],
];

/// The violations of the floors inside a room. `files` has the name of each file below the room, and its source.
fn violations_inside(
    room: &str,
    files: &[(String, String)],
    floors: &BTreeMap<String, usize>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, source) in files {
        let own: Vec<String> = name.split('/').map(str::to_owned).collect();
        let Some((_, floor)) = file_on_floor(&own, floors) else {
            wrong
                .push(format!("{room}/{name} is on no floor: name it at the top of src/{room}.rs"));
            continue;
        };
        for path in imports_inside(room, &own, source) {
            match file_on_floor(&path, floors) {
                Some((_, at)) if at <= floor => {}
                Some(_) => {
                    wrong.push(format!("{room}/{name} uses {}, which is above it", path.join("::")))
                }
                None => wrong.push(format!(
                    "{room}/{name} imports {} through the room instead of from a file",
                    path.join("::")
                )),
            }
        }
    }
    wrong
}

/// The files of a room that import one another, ring by ring.
fn rings_inside(
    room: &str,
    files: &[(String, String)],
    floors: &BTreeMap<String, usize>,
) -> Vec<Vec<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (name, source) in files {
        let own: Vec<String> = name.split('/').map(str::to_owned).collect();
        let Some((file, _)) = file_on_floor(&own, floors) else { continue };
        let imports = imports_inside(room, &own, source);
        let imports = imports.iter().filter_map(|path| Some(file_on_floor(path, floors)?.0));
        uses.entry(file).or_default().extend(imports);
    }
    let mut reached = uses.clone();
    while {
        let before: usize = reached.values().map(BTreeSet::len).sum();
        for (file, direct) in &uses {
            let far = direct.iter().flat_map(|file| reached.get(file).cloned().unwrap_or_default());
            let far: BTreeSet<String> = far.collect();
            reached.get_mut(file).unwrap().extend(far);
        }
        reached.values().map(BTreeSet::len).sum::<usize>() > before
    } {}
    let goes = |from: &String, to: &String| reached[from].contains(to);
    let ring = |file: &String| {
        uses.keys().filter(|other| goes(file, other) && goes(other, file)).cloned().collect()
    };
    let rings: BTreeSet<Vec<String>> = uses.keys().map(ring).collect();
    rings.into_iter().filter(|ring| ring.len() > 1).collect()
}

/// The file with a floor that a path leads to, itself or the file whose folder it is in, and the floor.
fn file_on_floor(path: &[String], floors: &BTreeMap<String, usize>) -> Option<(String, usize)> {
    let mut longest = (1..=path.len()).rev().map(|length| path[..length].join("/"));
    longest.find_map(|name| floors.get(&name).map(|floor| (name, *floor)))
}

/// The paths inside the room that the source of `own` names, from the room on.
fn imports_inside(room: &str, own: &[String], source: &str) -> Vec<Vec<String>> {
    let mut tokens = tokens(source);
    // In the tests inside a file, `super` is the file.
    if let Some(at) = tokens.windows(2).position(|pair| pair == ["mod", "tests"]) {
        tokens.truncate(at);
    }
    let inside = |path: Vec<String>| {
        let ups = path.iter().take_while(|part| *part == "super").count();
        // `pub(super)` leads to no file.
        if ups == path.len() {
            return None;
        }
        if ups > 0 && ups <= own.len() {
            return Some(own[..own.len() - ups].iter().chain(&path[ups..]).cloned().collect());
        }
        let here = path.len() > 1 && path[0] == "crate" && path[1] == room;
        here.then(|| path[2..].to_vec())
    };
    paths(&tokens).into_iter().filter_map(inside).filter(|path| !path.is_empty()).collect()
}

/// Room by room, from the rows `| floor | rooms |` with a number in the first cell.
fn floors(design: &str) -> BTreeMap<String, usize> {
    let mut floors = BTreeMap::new();
    for line in design.lines() {
        let mut cells = line.split('|').map(str::trim).skip(1);
        let Some(Ok(floor)) = cells.next().map(str::parse) else { continue };
        // Every second piece stands between backquotes.
        for room in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            floors.insert(room.to_owned(), floor);
        }
    }
    assert!(!floors.is_empty(), "no table of floors in docs/design.md");
    floors
}

/// `mod loom {}` declares a module, such as a page of the guide, and names nothing of another crate.
fn forget_declared_names(tokens: &mut Vec<String>) {
    let mut after_mod = false;
    tokens.retain(|token| !std::mem::replace(&mut after_mod, token == "mod"));
}

/// `module` is the path of the file from the root: `["region", "frame"]`.
fn violations(module: &[String], source: &str, floors: &BTreeMap<String, usize>) -> Vec<String> {
    let room = &*module[0];
    let mut tokens = tokens(source);
    let mut wrong = Vec::new();
    if tokens.iter().any(|token| token == "unsafe") {
        wrong.push(format!("{room} says `unsafe`"));
    }
    if room == "lib" {
        return wrong;
    }
    let Some(&floor) = floors.get(room) else {
        wrong.push(format!("{room} is on no floor: name it in docs/design.md, section 2"));
        return wrong;
    };
    forget_declared_names(&mut tokens);
    for path in paths(&tokens) {
        if let Some(target) = within_crate(module, &path) {
            match floors.get(target) {
                Some(&at) if at <= floor => {}
                Some(_) => wrong.push(format!(
                    "{room} imports from {target}, which is above it: {}",
                    shown(target, &path)
                )),
                None => wrong.push(format!(
                    "{room} imports from the root instead of from a room: {}",
                    path.join("::")
                )),
            }
        }
        let text = path.join("::");
        let named = SHARED_MEMORY.iter().find(|name| {
            text.strip_prefix(**name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
        });
        if let (Some(name), true) = (named, room != "sync") {
            wrong.push(format!("{room} names {name}, which only sync may: {text}"));
        }
    }
    wrong
}

/// The room that a path from `module` leads into, if it begins at the root or leaves the module upwards. Inside the
/// own room it is the room itself.
fn within_crate<'a>(module: &'a [String], path: &'a [String]) -> Option<&'a str> {
    let ups = path.iter().take_while(|part| *part == "super").count();
    if ups > 0 {
        return match module.len().checked_sub(ups) {
            Some(0) => path.get(ups).map(String::as_str),
            _ => Some(&module[0]),
        };
    }
    let first = path.first()?;
    (first == "crate").then(|| path.get(1).map(String::as_str)).flatten()
}

fn shown(target: &str, path: &[String]) -> String {
    let from = path.iter().position(|part| part == target).unwrap_or(0);
    format!("crate::{}", path[from..].join("::"))
}

/// Every path of the source; those of a `use` tree one by one. A single name is a path of one part.
fn paths(tokens: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        match is_name(&tokens[at]) {
            true => at = tree(tokens, at, &[], &mut found),
            false => at += 1,
        }
    }
    found
}

/// Reads `a::b::{c, d::e}` from `at` on; returns where it ends.
fn tree(
    tokens: &[String],
    mut at: usize,
    prefix: &[String],
    found: &mut Vec<Vec<String>>,
) -> usize {
    let mut path = prefix.to_vec();
    loop {
        match tokens.get(at).map(String::as_str) {
            Some("{") if !path.is_empty() => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token != "}") {
                    at = match tokens[at] == "," {
                        true => at + 1,
                        false => tree(tokens, at, &path, found),
                    };
                }
                return at + 1;
            }
            Some(name) if is_name(name) || name == "*" => {
                path.push(name.to_owned());
                at += 1;
            }
            _ => {
                // Something that is no path: a generic argument list after `::`, for one.
                found.push(path);
                return at + 1;
            }
        }
        if tokens.get(at).is_none_or(|token| token != "::") {
            found.push(path);
            // `name as other`, within a tree.
            return match tokens.get(at).is_some_and(|token| token == "as") {
                true => at + 2,
                false => at,
            };
        }
        at += 1;
    }
}

fn is_name(token: &str) -> bool {
    token.chars().next().is_some_and(|c| c.is_alphabetic() || c == '_')
}

/// Names, `::`, and single characters of punctuation; no comments, no literals, no lifetimes.
fn tokens(source: &str) -> Vec<String> {
    let chars: Vec<char> = source.chars().collect();
    let starts =
        |at: usize, text: &str| text.chars().eq(chars[at..].iter().copied().take(text.len()));
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if starts(at, "//") {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
        } else if starts(at, "/*") {
            let mut depth = 0;
            loop {
                if at >= chars.len() {
                    break;
                } else if starts(at, "/*") {
                    depth += 1;
                    at += 2;
                } else if starts(at, "*/") {
                    depth -= 1;
                    at += 2;
                } else {
                    at += 1;
                }
                if depth == 0 {
                    break;
                }
            }
        } else if c == '"' {
            at += 1;
            while at < chars.len() && chars[at] != '"' {
                at += if chars[at] == '\\' { 2 } else { 1 };
            }
            at += 1;
        } else if c == '\'' {
            // A character or a lifetime.
            if chars.get(at + 1) == Some(&'\\') {
                at += 3;
                while at < chars.len() && chars[at] != '\'' {
                    at += 1;
                }
                at += 1;
            } else if chars.get(at + 2) == Some(&'\'') {
                at += 3;
            } else {
                at += 1;
                while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                    at += 1;
                }
            }
        } else if c.is_alphanumeric() || c == '_' {
            let from = at;
            while at < chars.len() && (chars[at].is_alphanumeric() || chars[at] == '_') {
                at += 1;
            }
            let name: String = chars[from..at].iter().collect();
            let hashes = chars[at..].iter().take_while(|c| **c == '#').count();
            if matches!(&*name, "r" | "br" | "cr") && chars.get(at + hashes) == Some(&'"') {
                let end: String = std::iter::once('"').chain("#".repeat(hashes).chars()).collect();
                at += hashes + 1;
                while at < chars.len() && !starts(at, &end) {
                    at += 1;
                }
                at += end.len();
            } else {
                tokens.push(name);
            }
        } else if starts(at, "::") {
            tokens.push("::".to_owned());
            at += 2;
        } else {
            if !c.is_whitespace() {
                tokens.push(c.to_string());
            }
            at += 1;
        }
    }
    tokens
}
