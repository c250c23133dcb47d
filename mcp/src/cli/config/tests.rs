//! What a configuration may say, and what it is told when it may not.

use std::time::Instant;

use moored_mcp::{Era, ServerParams, Transport};

use super::{Config, parse};

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

/// A configuration with one server called `a`.
fn one(entry: &str) -> String {
    format!(r#"{{"mcpServers": {{"a": {entry}}}}}"#)
}

fn names(config: &Config) -> Vec<&str> {
    config.servers.iter().map(|s| s.name.as_str()).collect()
}

#[test]
fn both_transports_are_read_with_all_they_take() {
    let config = valid(
        r#"{"mcpServers": {
            "z": {"command": "run", "args": ["-x", ""], "env": {"K": "v"}, "cwd": "/tmp"},
            "a": {"url": "http://127.0.0.1:9/mcp", "headers": {"Authorization": "Bearer t"}}
        }}"#,
    );
    assert_eq!(names(&config), ["z", "a"], "the order of the file");
    assert!(config.warnings.is_empty());
    match &config.servers[0].transport {
        Transport::Stdio(stdio) => {
            assert_eq!(stdio.command, "run");
            assert_eq!(stdio.args, ["-x", ""]);
            assert_eq!(stdio.env["K"], "v");
            assert_eq!(stdio.cwd.as_deref(), Some(std::path::Path::new("/tmp")));
        }
        other => panic!("expected stdio, got {other:?}"),
    }
    match &config.servers[1].transport {
        Transport::Http(http) => {
            assert_eq!(http.url, "http://127.0.0.1:9/mcp");
            assert_eq!(http.headers["Authorization"], "Bearer t");
        }
        other => panic!("expected http, got {other:?}"),
    }
}

#[test]
fn a_name_that_is_written_twice_is_kept_twice() {
    let config = valid(
        r#"{"mcpServers": {"a": {"command": "one"}, "b": {"command": "x"}, "a": {"command": "two"}}}"#,
    );
    assert_eq!(names(&config), ["a", "b", "a"]);
    let commands: Vec<&str> = config
        .servers
        .iter()
        .map(|ServerParams { transport, .. }| match transport {
            Transport::Stdio(stdio) => stdio.command.as_str(),
            other => panic!("expected stdio, got {other:?}"),
        })
        .collect();
    assert_eq!(commands, ["one", "x", "two"]);
}

#[test]
fn both_or_neither_of_command_and_url_are_refused() {
    assert_eq!(
        refused(&one(r#"{"command": "x", "url": "http://h/"}"#)),
        r#"server "a": both "command" and "url": a server has one of them"#
    );
    for entry in ["{}", r#"{"args": ["x"]}"#, r#"{"command": null}"#] {
        assert_eq!(
            refused(&one(entry)),
            r#"server "a": neither "command" nor "url": a server needs one of them"#
        );
    }
}

#[test]
fn a_mistake_in_a_later_duplicate_is_refused_as_well() {
    let why = refused(r#"{"mcpServers": {"a": {"command": "x"}, "a": {}}}"#);
    assert!(why.contains("neither"), "{why}");
}

#[test]
fn a_configuration_without_servers_is_refused() {
    for text in ["{}", r#"{"mcpServers": {}}"#, r#"{"servers": {"a": {}}}"#] {
        let why = refused(text);
        assert!(why.contains("no server to connect to"), "{text}: {why}");
    }
}

#[test]
fn unknown_keys_are_warned_of_and_ignored() {
    let config = valid(
        r#"{"theme": "dark", "mcpServers": {
            "a": {"command": "x", "timeout": 5, "headers": {}},
            "b": {"url": "http://h/", "type": "sse", "args": []}
        }}"#,
    );
    assert_eq!(config.servers.len(), 2);
    assert_eq!(
        config.warnings,
        [
            r#"unknown key "theme" is ignored"#,
            r#"server "a": unknown key "timeout" is ignored"#,
            r#"server "a": "headers" goes with "url" and is ignored"#,
            r#"server "b": unknown key "type" is ignored; the SSE transport was removed from the protocol, streamable HTTP is used"#,
            r#"server "b": "args" goes with "command" and is ignored"#,
        ]
    );
}

#[test]
fn an_era_is_read_and_a_wrong_one_refused() {
    let config = valid(
        r#"{"mcpServers": {
            "a": {"command": "x", "era": "legacy"},
            "b": {"url": "http://h/", "era": "modern"},
            "c": {"url": "http://h/", "era": "auto"},
            "d": {"url": "http://h/"}
        }}"#,
    );
    let eras: Vec<_> = config.servers.iter().map(|server| server.era).collect();
    assert_eq!(eras, [Era::Legacy, Era::Modern, Era::Auto, Era::Auto]);
    assert_eq!(config.warnings, [""; 0]);
    let why = refused(&one(r#"{"command": "x", "era": "old"}"#));
    assert!(why.contains(r#""era" "old": expected"#), "{why}");
}

#[test]
fn a_value_of_the_wrong_kind_is_named() {
    for (entry, expected) in [
        ("7", "expected an object, found 7"),
        (r#"{"command": ["x"]}"#, r#""command" must be a string, not a list"#),
        (r#"{"command": ""}"#, r#""command" is empty"#),
        (r#"{"command": "x", "args": "y"}"#, r#""args" must be a list, not a string"#),
        (r#"{"command": "x", "args": ["y", 1]}"#, r#""args[1]" must be a string, not 1"#),
        (r#"{"command": "x", "env": {"N": 5}}"#, r#""env.N" must be a string, not 5"#),
        (r#"{"command": "x", "command": "y"}"#, r#""command" stands there twice"#),
        (r#"{"url": "ftp://h/"}"#, r#""url" "ftp://h/": expected http or https, not ftp"#),
        (
            r#"{"url": "http://h/", "headers": {"a b": "c"}}"#,
            r#""headers": "a b" is no header name"#,
        ),
    ] {
        assert_eq!(refused(&one(entry)), format!("server \"a\": {expected}"));
    }
    assert!(refused(&one(r#"{"url": "not a url"}"#)).contains("not a url"));
    assert!(refused("[]").contains("found a list"));
    assert!(refused(r#"{"mcpServers": []}"#).contains("not a list"));
    assert!(refused("{").contains("not valid JSON"));
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_without_showing_its_value() {
    let why = refused(&one(r#"{"url": "http://h/", "headers": {"k": "se\ncret"}}"#));
    assert!(why.contains("cannot be sent") && !why.contains("cret"), "{why}");
}

#[test]
fn a_byte_order_mark_is_no_mistake() {
    assert_eq!(names(&valid(&format!("\u{feff}{}", one(r#"{"command": "x"}"#)))), ["a"]);
}

#[test]
fn deep_nesting_is_an_error_and_no_crash() {
    let started = Instant::now();
    let why = refused(&format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)));
    assert!(why.contains("not valid JSON"), "{why}");
    assert!(started.elapsed().as_secs() < 5);
}
