//! Meaningless texts: none panics, none takes long, and no error shows a part that may be a
//! credential.

use std::time::{Duration, Instant};

use super::{no_variable, parse};
use crate::config::{Config, ConfigErrorKind};

/// The longest that one text may take, on a busy machine.
const SOON: Duration = Duration::from_secs(5);

fn soon(text: &str) -> Result<Config, crate::config::ConfigError> {
    let started = Instant::now();
    let read = parse(text);
    assert!(started.elapsed() < SOON, "{:?} for {} bytes", started.elapsed(), text.len());
    read
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    const DEEP: usize = 20_000;
    for (open, close) in [
        ("[", "]"),
        ("{\"a\":", "}"),
        ("{\"mcpServers\":", "}"),
        // As YAML, from the second line on.
        ("a: [", "]"),
        ("- ", ""),
        ("? ", ""),
        ("!t ", ""),
        ("&a [", "]"),
    ] {
        for text in [
            format!("{}{}", open.repeat(DEEP), close.repeat(DEEP)),
            open.repeat(DEEP),
            format!("a:\n {}{}", open.repeat(DEEP), close.repeat(DEEP)),
        ] {
            assert!(soon(&text).is_err(), "{open}");
        }
    }
    let steps: String = (0..2_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
    let error = soon(&steps).expect_err("too deep");
    assert_eq!(error.kind(), ConfigErrorKind::Syntax, "{error}");
}

#[test]
fn aliases_that_grow_without_end_are_an_error() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for step in 1..12 {
        let aliases = vec![format!("*a{}", step - 1); 9].join(", ");
        bomb.push_str(&format!("a{step}: &a{step} [{aliases}]\n"));
    }
    bomb.push_str("mcp_servers: {a: {command: x, args: *a11}}\n");
    let error = soon(&bomb).expect_err("a bomb");
    assert_eq!(error.kind(), ConfigErrorKind::Syntax, "{error}");
    for text in ["a: &a [*a]\n", "a: &a {<<: *a}\n", "a: *b\n", "<<: *a\n", "&a a: *a\n"] {
        let _ = soon(text);
    }
}

/// Numbers that look random and are the same in every run.
fn next(state: &mut u64) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap_or(0)
}

const SEEDS: [&str; 3] = [
    "{\n// c\n\"mcpServers\": {\n\"a\": {\"command\": \"x\", \"args\": [\"s3cret\", \"${NONE:-s3cret}\"], \"env\": {\"K\": \"s3cret\"}, \"timeout\": 1000},\n\"b\": {\"url\": \"https://u:s3cret@h/s3cret?k=s3cret\", \"headers\": {\"A\": \"Bearer s3cret\"},},\n},}\n",
    "mcp_servers:\n  a: &a\n    url: https://h/mcp\n    transport: http\n    headers: {A: 's3cret', B: \"s3cret\", C: s3cret}\n    auth_type: basic\n    auth_value: u:s3cret\n  b:\n    <<: *a\n    headers:\n      D: |\n        s3cret\n      E: >-\n        s3cret\n",
    "servers: {a: {command: x, args: [-k, s3cret], env: {K: s3cret}}}\n",
];
const PIECES: [&str; 40] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    ": ",
    "\"",
    "'",
    "\n",
    "\n  ",
    "\t",
    "- ",
    "? ",
    "&",
    "*",
    "!",
    "!!int ",
    "!!binary ",
    "%",
    "|",
    ">",
    "@",
    "`",
    "#",
    "//",
    "/*",
    "*/",
    "\\",
    "\\u12",
    "\\ud800",
    "${",
    "}",
    "$",
    "null",
    "true",
    "1e999",
    ".nan",
    "\u{feff}",
    "é\u{0}\u{7f}\u{2028}",
];

#[test]
fn texts_with_mistakes_in_them_neither_panic_nor_show_a_credential() {
    let mut state = 7;
    let started = Instant::now();
    let mut wrong = 0;
    for round in 0..6_000 {
        let mut text: Vec<char> = SEEDS[round % SEEDS.len()].chars().collect();
        for _ in 0..=next(&mut state) % 3 {
            let at = next(&mut state) % text.len();
            let piece = PIECES[next(&mut state) % PIECES.len()].chars();
            let until = (at + [0, 0, 1, 5][next(&mut state) % 4]).min(text.len());
            text.splice(at..until, piece);
        }
        let text: String = text.into_iter().collect();
        if let Err(error) = Config::parse(&text, no_variable) {
            wrong += 1;
            let shown = format!("{error} {error:?}");
            // A mistake may make a key of a value, or the name of a variable, and errors show
            // these.
            let told = [error.key(), error.server(), error.variable()];
            let named = told.into_iter().flatten().any(|name| name.contains("s3cret"));
            assert!(named || !shown.contains("s3cret"), "{shown}\n{text}");
        }
    }
    assert!(wrong > 1_000, "{wrong} of 6000 texts were refused");
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

#[test]
fn pieces_of_syntax_in_any_order_neither_panic_nor_take_long() {
    let mut state = 11;
    for _ in 0..4_000 {
        let length = next(&mut state) % 30;
        let text: String = (0..length).map(|_| PIECES[next(&mut state) % PIECES.len()]).collect();
        let _ = soon(&text);
        let _ = soon(&format!("{{\"servers\": {{\"a\": {text}"));
        let _ = soon(&format!("servers:\n  a:\n    command: {text}"));
    }
}

#[test]
fn long_texts_end_soon() {
    for text in [
        format!(
            "{{\"mcpServers\": {{{}\"z\": 1}}}}",
            "\"a\": {\"command\": \"x\"},".repeat(20_000)
        ),
        format!(
            "{{\"mcpServers\": {{\"a\": {{{}\"z\": 1}}}}}}",
            (0..20_000).map(|n| format!("\"k{n}\": 1,")).collect::<String>()
        ),
        format!("{{\"servers\": {{\"a\": {{\"command\": \"{}\"}}}}}}", "${".repeat(100_000)),
        format!("{{\"servers\": {{\"a\": {{\"command\": \"{}\"}}}}}}", "$${".repeat(100_000)),
        format!(
            "{{\"servers\": {{\"a\": {{\"command\": \"{}\"}}}}}}",
            "os.environ/".repeat(100_000)
        ),
        format!("{{\"servers\": {{\"a\": {{\"url\": \"{}\"}}}}}}", "@".repeat(100_000)),
        format!("servers:\n{}", "  a: {command: x}\n".repeat(5_000)),
        format!("servers: {}", "x".repeat(1_000_000)),
        "#\n".repeat(200_000),
        "\n".repeat(1_000_000),
    ] {
        let _ = soon(&text);
    }
}
