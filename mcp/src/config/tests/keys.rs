//! The keys of a server.

use super::{http, names, one, refused, stdio, valid};
use crate::params::Era;

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
    let child = stdio(&config, 0);
    assert_eq!(child.command, "run");
    assert_eq!(child.args, ["-x", ""]);
    assert_eq!(child.env["K"], "v");
    assert_eq!(child.cwd.as_deref(), Some(std::path::Path::new("/tmp")));
    assert_eq!(http(&config, 1).url, "http://127.0.0.1:9/mcp");
    assert_eq!(http(&config, 1).headers["Authorization"], "Bearer t");
}

#[test]
fn a_name_that_is_written_twice_is_kept_twice() {
    for text in [
        r#"{"mcpServers": {"a": {"command": "one"}, "b": {"command": "x"}, "a": {"command": "two"}}}"#,
        "mcpServers:\n  a: {command: one}\n  b: {command: x}\n  a: {command: two}\n",
    ] {
        let config = valid(text);
        assert_eq!(names(&config), ["a", "b", "a"]);
        let commands = [0, 1, 2].map(|at| stdio(&config, at).command.as_str());
        assert_eq!(commands, ["one", "x", "two"]);
    }
}

#[test]
fn every_name_of_an_address_is_read() {
    for key in ["url", "serverUrl", "httpUrl"] {
        let config = valid(&one(&format!(r#"{{"{key}": "http://h/"}}"#)));
        assert_eq!(http(&config, 0).url, "http://h/");
        assert_eq!(config.warnings, [""; 0]);
    }
    assert_eq!(
        valid(&one(r#"{"url": "http://h/", "httpUrl": "http://h/"}"#)).servers.len(),
        1,
        "both say the same"
    );
    assert_eq!(
        refused(&one(r#"{"url": "http://h/", "httpUrl": "http://i/"}"#)),
        r#"line 1: server "a": "httpUrl" says something else than "url", which means the same"#
    );
}

#[test]
fn a_nul_character_is_refused_wherever_the_operating_system_would_refuse_it() {
    for (entry, key) in [
        (r#"{"command": "x\u0000"}"#, "command"),
        (r#"{"command": "x", "args": ["a", "b\u0000"]}"#, "args[1]"),
        (r#"{"command": "x", "cwd": "\u0000"}"#, "cwd"),
        (r#"{"command": "x", "env": {"A": "\u0000"}}"#, "env.A"),
    ] {
        let why = format!(r#"line 1: server "a": "{key}" has a value with a NUL character in it"#);
        assert_eq!(refused(&one(entry)), why);
    }
}

#[test]
fn a_transport_that_is_named_must_fit() {
    for (entry, warnings) in [
        (r#"{"type": "stdio", "command": "x"}"#, 0),
        (r#"{"transport": "stdio", "command": "x"}"#, 0),
        (r#"{"type": "http", "url": "http://h/"}"#, 0),
        (r#"{"type": "http", "transport": "http", "url": "http://h/"}"#, 0),
        (r#"{"type": "streamable-http", "url": "http://h/"}"#, 0),
        (r#"{"type": "streamableHttp", "url": "http://h/"}"#, 0),
        (r#"{"transport": "streamable_http", "url": "http://h/"}"#, 0),
        (r#"{"type": "sse", "url": "http://h/"}"#, 1),
    ] {
        assert_eq!(valid(&one(entry)).warnings.len(), warnings, "{entry}");
    }
    for (entry, expected) in [
        (
            r#"{"type": "stdio", "url": "http://h/"}"#,
            r#""type" asks for stdio, which does not go with "url""#,
        ),
        (
            r#"{"transport": "sse", "command": "x"}"#,
            r#""transport" asks for HTTP, which does not go with "command""#,
        ),
        (
            r#"{"type": "ws", "url": "http://h/"}"#,
            r#""type" "ws": expected "stdio", "http" or "sse""#,
        ),
    ] {
        assert_eq!(refused(&one(entry)), format!("line 1: server \"a\": {expected}"));
    }
}

#[test]
fn a_server_that_is_switched_off_is_left_out_and_told() {
    for off in
        [r#""disabled": true"#, r#""enabled": false"#, r#""disabled": true, "enabled": true"#]
    {
        // The rest of it is not checked: its variables need not be set.
        let entry = format!(r#"{{"url": "${{NOT_SET}}", {off}}}"#);
        let config =
            valid(&format!(r#"{{"mcpServers": {{"off": {entry}, "on": {{"command": "x"}}}}}}"#));
        assert_eq!(names(&config), ["on"]);
        assert_eq!(
            config.warnings,
            [r#"server "off": it is switched off in the configuration and is not started"#]
        );
        assert!(refused(&one(&entry)).contains("so there is no server to connect to"));
    }
    for on in [r#""disabled": false"#, r#""enabled": true"#, r#""disabled": null"#] {
        let config = valid(&one(&format!(r#"{{"command": "x", {on}}}"#)));
        assert_eq!(names(&config), ["a"]);
        assert_eq!(config.warnings, [""; 0]);
    }
    let why = refused(&one(r#"{"command": "x", "disabled": "yes"}"#));
    assert!(why.contains(r#""disabled" must be true or false, not a string"#), "{why}");
}

#[test]
fn both_or_neither_of_command_and_url_are_refused() {
    assert_eq!(
        refused(&one(r#"{"command": "x", "url": "http://h/"}"#)),
        r#"line 1: server "a": both "command" and "url": a server has one of them"#
    );
    for entry in ["{}", r#"{"args": ["x"]}"#, r#"{"command": null}"#] {
        assert_eq!(
            refused(&one(entry)),
            r#"line 1: server "a": neither "command" nor "url": a server needs one of them"#
        );
    }
}

#[test]
fn a_mistake_in_a_later_duplicate_is_refused_as_well() {
    let why = refused(r#"{"mcpServers": {"a": {"command": "x"}, "a": {}}}"#);
    assert!(why.contains("neither"), "{why}");
}

#[test]
fn unknown_keys_are_warned_of_and_ignored() {
    let config = valid(
        r#"{"theme": "dark", "mcpServers": {
            "a": {"command": "x", "autoApprove": [], "headers": {}},
            "b": {"url": "http://h/", "type": "sse", "args": []}
        }}"#,
    );
    assert_eq!(config.servers.len(), 2);
    assert_eq!(
        config.warnings,
        [
            r#"unknown key "theme" is ignored"#,
            r#"server "a": unknown key "autoApprove" is ignored"#,
            r#"server "a": "headers" goes with "url" and is ignored"#,
            r#"server "b": "type" is "sse": the SSE transport was removed from the protocol, streamable HTTP is used"#,
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
        ("7", "expected an object, found a number"),
        (r#"{"command": ["x"]}"#, r#""command" must be a string, not a list"#),
        (r#"{"command": ""}"#, r#""command" is empty"#),
        (r#"{"command": "x", "args": "y"}"#, r#""args" must be a list, not a string"#),
        (r#"{"command": "x", "args": ["y", 1]}"#, r#""args[1]" must be a string, not a number"#),
        (r#"{"command": "x", "env": {"N": 5}}"#, r#""env.N" must be a string, not a number"#),
        (r#"{"command": "x", "env": {"N": null}}"#, r#""env.N" must be a string, not null"#),
        (
            r#"{"command": "x", "env": {"N": true}}"#,
            r#""env.N" must be a string, not a truth value"#,
        ),
        (r#"{"command": "x", "env": []}"#, r#""env" must be an object of strings, not a list"#),
        (r#"{"command": "x", "env": {"A=B": ""}}"#, r#""env.A=B" is no name of a variable"#),
        (r#"{"command": "x", "env": {"A": "1", "A": "2"}}"#, r#""env.A" stands there twice"#),
        (r#"{"command": "x", "command": "y"}"#, r#""command" stands there twice, first in line 1"#),
        (r#"{"url": "ftp://h/"}"#, r#""url" "ftp://h/": expected http or https, not ftp"#),
        (r#"{"url": "http://h/", "headers": {"a b": "c"}}"#, r#""headers.a b" is no header name"#),
        (
            r#"{"url": "http://h/", "headers": {"A": "c", "a": "c"}}"#,
            r#""headers.a" stands there twice: upper and lower case are the same in the name of a header"#,
        ),
    ] {
        assert_eq!(refused(&one(entry)), format!("line 1: server \"a\": {expected}"));
    }
    assert!(refused(&one(r#"{"url": "not a url"}"#)).contains("not a url"));
    assert!(refused(r#"{"mcpServers": {"": {}}}"#).contains("a name that is not empty"));
}

#[test]
fn a_header_that_cannot_be_sent_is_refused_without_showing_its_value() {
    let why = refused(&one(r#"{"url": "http://h/", "headers": {"k": "se\ncret"}}"#));
    assert!(why.contains("cannot be sent") && !why.contains("cret"), "{why}");
}
