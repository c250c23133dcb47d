//! The texts that are configurations, and the errors of the others.

use std::error::Error;

use super::{names, no_variable, one, parse, refused, valid};
use crate::config::{Config, ConfigErrorKind, Document};

const ENTRIES: &str = r#"{"a": {"command": "x"}, "b": {"url": "http://h/"}}"#;

#[test]
fn every_key_that_lists_servers_is_found_in_either_format() {
    for key in ["mcpServers", "servers", "mcp_servers"] {
        assert_eq!(names(&valid(&format!(r#"{{"{key}": {ENTRIES}}}"#))), ["a", "b"]);
        assert_eq!(names(&valid(&format!("{key}: {ENTRIES}\n"))), ["a", "b"]);
        assert_eq!(names(&valid(&format!("---\n# x\n{key}:\n  a:\n    command: x\n"))), ["a"]);
    }
}

#[test]
fn comments_and_trailing_commas_are_no_mistake_and_other_inventions_are() {
    let config = valid(
        "// first\n/* second\n */ {\"servers\": { // third\n \"a\": {\"command\": \"x\", \"args\": [\"//\", \"/*\",],},\n},}\n// last",
    );
    assert_eq!(names(&config), ["a"]);
    for text in [
        "{mcpServers: {}}",
        "{'mcpServers': {}}",
        r#"{"mcpServers" {}}"#,
        r#"{"mcpServers": {"a": {"command": "x" "args": []}}}"#,
        r#"{"mcpServers": {"a": {"timeout": 0x10}}}"#,
        r#"{"mcpServers": {"a": {"timeout": +1}}}"#,
        r#"{"mcpServers": {"a": {"timeout": NaN}}}"#,
        r#"{"mcpServers": {"a": {"timeout": .5}}}"#,
        r#"{"mcpServers": {"a": {"command": "\x41"}}}"#,
        r#"{"mcpServers": {}} {}"#,
        r#"{,}"#,
        "{",
        "/* ",
        "// nothing else",
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.kind(), ConfigErrorKind::Syntax, "{text}: {error}");
        assert!(error.to_string().contains("not valid JSON"), "{text}: {error}");
    }
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    assert_eq!(names(&valid(&format!("\u{feff}{}", one(r#"{"command": "x"}"#)))), ["a"]);
    assert_eq!(names(&valid("\u{feff}servers: {a: {command: x}}")), ["a"]);
}

#[test]
fn a_file_of_another_shape_is_told_what_was_found_and_what_was_expected() {
    let lists = r#""mcpServers" (Claude, Cursor), "servers" (VS Code) or "mcp_servers" (LiteLLM)"#;
    for (text, found) in [
        ("[]", "found a list"),
        ("hello", "found a string"),
        ("7", "found a number"),
        ("", "the file is empty"),
        ("# a comment\n", "the file is empty"),
        ("{}", "found nothing"),
        (r#"{"command": "x", "args": []}"#, r#"found the keys "command", "args""#),
        ("[mcp_servers.a]\ncommand = \"x\"", "not valid JSON"),
    ] {
        let why = refused(text);
        assert!(why.contains(found), "{text}: {why}");
        assert!(why.contains(lists) || found == "not valid JSON", "{text}: {why}");
    }
    let many: Vec<String> = (0..40).map(|n| format!("\"k{n}\": 1")).collect();
    let why = refused(&format!("{{{}}}", many.join(", ")));
    assert!(why.ends_with(r#""k6", "k7" and 32 more"#), "{why}");
    for (text, expected) in [
        (
            r#"{"mcpServers": []}"#,
            r#"line 1: "mcpServers" must be an object of servers by name, not a list"#,
        ),
        (
            r#"{"mcpServers": {}}"#,
            r#"line 1: "mcpServers" is empty, so there is no server to connect to"#,
        ),
        ("{\"servers\": {},\n\"servers\": {}}", r#"line 2: "servers" stands there twice"#),
        (
            "{\"mcpServers\": {},\n\"servers\": {}}",
            r#"line 2: "servers" beside "mcpServers": one of them lists the servers"#,
        ),
    ] {
        assert_eq!(refused(text), expected);
        assert_eq!(parse(text).expect_err(text).kind(), ConfigErrorKind::Shape);
    }
}

#[test]
fn an_error_says_the_line() {
    for (text, line) in [
        ("{\n\"mcpServers\": {\n\"a\": {\n\"command\": \"x\",\n\"args\": [\n\"y\",\n7]}}}", 7),
        ("{\n\"mcpServers\": {\n\"a\": {}}}", 3),
        ("{\r\n\"mcpServers\": {\r\n\"a\": 7}}", 3),
        ("{\n\"mcpServers\": {\n\"a\": {\"command\": \"x\",\n\"command\": \"x\"}}}", 4),
        ("{\n\n,", 3),
        ("mcp_servers:\n  a:\n    command: x\n    args:\n      - y\n      - [z]\n", 6),
        ("mcp_servers:\n  a:\n    args: []\n", 2),
        ("mcp_servers:\n  a: {command: x}\n  b:\n    command: x\n    env:\n      N: []\n", 6),
        ("mcp_servers:\n  a:\n   - b\n  c\n d", 4),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!(error.line(), Some(line), "{error}\n{text}");
    }
}

#[test]
fn files_are_read_by_content_and_their_name_helps_where_both_are_possible() {
    let place = tempfile::tempdir().expect("a directory");
    let json = one(r#"{"command": "x"}"#);
    let yaml = "servers:\n  a: {command: x}\n";
    for (name, text, well) in [
        ("a.json", json.as_str(), true),
        ("a.jsonc", &format!("// x\n{json}"), true),
        ("b.yaml", &json, true),
        ("c.yml", yaml, true),
        ("c.json", yaml, true),
        ("noname", yaml, true),
        ("noname", &json, true),
        // YAML that begins like JSON.
        ("d.yaml", "{servers: {a: {command: x}}}", true),
        ("d.json", "{servers: {a: {command: x}}}", false),
        ("d", "{servers: {a: {command: x}}}", false),
    ] {
        let path = place.path().join(name);
        std::fs::write(&path, text).expect("written");
        match Config::load(&path, no_variable) {
            Ok(config) => assert!(well && names(&config) == ["a"], "{name}: {text}"),
            Err(error) => {
                assert!(!well, "{error}");
                assert_eq!(error.file(), Some(&*path));
                assert!(
                    error.to_string().starts_with(&format!("{}:1: ", path.display())),
                    "{error}"
                );
            }
        }
    }
}

#[test]
fn a_file_that_cannot_be_read_has_its_cause() {
    let place = tempfile::tempdir().expect("a directory");
    for (name, bytes, word) in [
        ("missing.json", None, "No such file"),
        ("latin1.json", Some(b"{\"\xe9\": 1}".to_vec()), "not UTF-8"),
        ("huge.json", Some(vec![b' '; 16 * 1024 * 1024 + 1]), "longer than 16 MiB"),
    ] {
        let path = place.path().join(name);
        if let Some(bytes) = bytes {
            std::fs::write(&path, bytes).expect("written");
        }
        let error = Config::load(&path, no_variable).expect_err(name);
        assert_eq!(error.kind(), ConfigErrorKind::Unreadable);
        assert!(error.to_string().contains(name), "{error}");
        let cause = error.source().expect("a cause").to_string();
        assert!(cause.contains(word), "{cause}");
    }
}

#[test]
fn a_document_goes_through_serde_with_its_order_its_repetitions_and_its_placeholders() {
    let text = r#"{"mcpServers":{"b":{"url":"http://h/","headers":{"k":"${T}"},"timeout":5000,"disabled":false},"a":{"command":"x","cwd":null},"b":{"command":"y"}}}"#;
    let document: Document = serde_json::from_str(text).expect("valid");
    assert_eq!(serde_json::to_string(&document).expect("written"), text);
    assert!(!format!("{document:?}").contains("http"), "{document:?}");
    assert!(document == Document::parse(text).expect("valid"));
    let config = document.clone().read(|_| Ok("t".to_owned())).expect("valid");
    assert_eq!(names(&config), ["b", "a", "b"]);
    let error = document.read(no_variable).expect_err("T is not set");
    assert_eq!((error.line(), error.variable()), (None, Some("T")));
}
