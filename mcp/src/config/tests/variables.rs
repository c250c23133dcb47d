//! Variables: the places in which they are filled in, and the error for a missing one. Their forms are in
//! `expand`.

use std::env::VarError;
use std::path::Path;

use super::{http, stdio};
use crate::config::{Config, ConfigErrorKind};

fn env(name: &str) -> Result<String, VarError> {
    match name {
        "V" => Ok("secret".to_owned()),
        "HOST" => Ok("h.example".to_owned()),
        "BROKEN" => Ok("se\ncret".to_owned()),
        "BYTES" => Err(VarError::NotUnicode("secret".into())),
        _ => Err(VarError::NotPresent),
    }
}

#[test]
fn variables_are_filled_in_everywhere_a_value_is_used() {
    let config = Config::parse(
        r#"{"mcpServers": {
            "c": {"command": "${V}", "args": ["-${env:V}", "os.environ/V"], "env": {"K": "${V}", "L": "$${V}"}, "cwd": "/${V}"},
            "h": {"serverUrl": "https://${HOST}/${V}", "headers": {"A": "Bearer ${V}", "B": "os.environ/V", "C": "${NONE:-d}"}}
        }}"#,
        env,
    )
    .expect("valid");
    let child = stdio(&config, 0);
    assert_eq!(child.command, "secret");
    assert_eq!(child.args, ["-secret", "secret"]);
    assert_eq!((&*child.env["K"], &*child.env["L"]), ("secret", "${V}"));
    assert_eq!(child.cwd.as_deref(), Some(Path::new("/secret")));
    assert_eq!(http(&config, 1).url, "https://h.example/secret");
    let headers: Vec<_> = http(&config, 1).headers.values().collect();
    assert_eq!(headers, ["Bearer secret", "secret", "d"]);
}

#[test]
fn a_missing_variable_is_named_with_its_server_its_key_its_line_and_its_file() {
    let place = tempfile::tempdir().expect("a directory");
    for (name, text, key, line) in [
        (
            "a.json",
            "{\"mcpServers\": {\n\"ok\": {\"command\": \"x\"},\n\"web\": {\"url\": \"http://h/\",\n\"headers\": {\n\"A\": \"${TOKEN}\"}}}}",
            "headers.A",
            5,
        ),
        (
            "b.yaml",
            "mcp_servers:\n  web:\n    url: http://h/\n    headers:\n      B: x\n      A: os.environ/TOKEN\n",
            "headers.A",
            6,
        ),
        (
            // An alias is corrected where its value is written.
            "c.yaml",
            "x: &token ${TOKEN}\nmcp_servers:\n  web:\n    url: http://h/\n    headers:\n      A: *token\n",
            "headers.A",
            1,
        ),
        (
            "d.json",
            "{\"servers\": {\"web\": {\"command\": \"x\",\n\"args\": [\"a\",\n\"${env:TOKEN}\"]}}}",
            "args[1]",
            3,
        ),
        ("e.json", "{\"servers\": {\"web\": {\n\"httpUrl\": \"http://${TOKEN}\"}}}", "httpUrl", 2),
    ] {
        let path = place.path().join(name);
        std::fs::write(&path, text).expect("written");
        let error = Config::load(&path, env).expect_err(name);
        assert_eq!(error.kind(), ConfigErrorKind::Variable);
        assert_eq!(error.variable(), Some("TOKEN"));
        assert_eq!(error.server(), Some("web"));
        assert_eq!(error.key(), Some(key));
        assert_eq!(error.line(), Some(line), "{name}");
        assert_eq!(
            error.to_string(),
            format!(
                "{}:{line}: server \"web\": {key:?} needs the environment variable TOKEN, which is not set; \
                 set it, or write a default: ${{TOKEN:-..}}",
                path.display()
            )
        );
    }
}

#[test]
fn no_error_shows_what_a_variable_holds() {
    for entry in [
        r#"{"url": "${V}"}"#,
        r#"{"url": "${V}://h/"}"#,
        r#"{"url": "http://h:${V}/"}"#,
        r#"{"url": "ftp://${V}@h/${V}"}"#,
        r#"{"url": "http://h/", "headers": {"A": "${BROKEN}"}}"#,
        r#"{"url": "http://h/", "headers": {"A": "${BYTES}"}}"#,
        r#"{"url": "http://h/", "auth_type": "basic", "headers": {"authorization": "x"}, "auth_value": "${V}"}"#,
        r#"{"url": "http://h/", "headers": {"A": "${V} ${NONE}"}}"#,
        r#"{"url": "http://h/", "headers": {"A": "secret ${"}}"#,
        r#"{"url": "http://h/", "headers": {"A": "${secret"}}"#,
        r#"{"url": "http://h/", "headers": {"A": ["secret"]}}"#,
        r#"{"url": "http://user:secret@h:x/secret?key=secret"}"#,
        r#"{"command": "x", "env": {"A": "${V} ${NONE}"}}"#,
        r#"{"url": "http://h/", "headers": {"A:secret": null}}"#,
    ] {
        let text = format!(r#"{{"mcpServers": {{"a": {entry}}}}}"#);
        let error = Config::parse(&text, env).expect_err(entry);
        for shown in [error.to_string(), format!("{error:?}")] {
            assert!(!shown.contains("cret"), "{entry}: {shown}");
        }
    }
}

#[test]
fn values_that_were_filled_in_are_secrets_of_their_server() {
    let text = r#"{"mcpServers": {
        "a": {"command": "x", "args": ["--key=${KEY}", "--root=${HOME}", "${NONE:-default-word}"], "env": {"LOG": "${SHORT}"}},
        "b": {"url": "https://h.example/${KEY}/mcp"},
        "c": {"command": "${KEY}", "disabled": true},
        "d": {"command": "x", "args": ["--key=sk-123456"]}
    }}"#;
    let config = Config::parse(text, |name| match name {
        "KEY" => Ok("sk-123456".to_owned()),
        "HOME" => Ok("/home/somebody".to_owned()),
        "SHORT" => Ok("abc".to_owned()),
        _ => Err(VarError::NotPresent),
    })
    .expect("valid");
    let [a, b, d] = &config.servers[..] else { panic!("{config:?}") };
    assert_eq!(a.endpoint(), "x --key=(hidden) --root=/home/somebody default-word");
    assert_eq!(b.endpoint(), "https://h.example/(hidden)/mcp");
    assert_eq!(d.endpoint(), "x --key=sk-123456", "it is written there for everybody to read");
}
