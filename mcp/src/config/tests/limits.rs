//! `timeout`.

use std::time::Duration;

use super::{one, refused, valid};

fn with(timeout: &str) -> String {
    one(&format!(r#"{{"command": "x", "timeout": {timeout}}}"#))
}

#[test]
fn a_number_is_milliseconds_and_a_string_has_its_unit() {
    for (timeout, expected) in [
        ("30000", Some(30_000)),
        ("1000", Some(1_000)),
        (r#""250ms""#, Some(250)),
        (r#""30s""#, Some(30_000)),
        (r#""2m""#, Some(120_000)),
        ("null", None),
    ] {
        let config = valid(&with(timeout));
        assert_eq!(
            config.servers[0].call_timeout,
            expected.map(Duration::from_millis),
            "{timeout}"
        );
        assert_eq!(config.warnings, [""; 0], "{timeout}");
    }
    let config = valid("mcp_servers:\n  a:\n    command: x\n    timeout: 30s\n");
    assert_eq!(config.servers[0].call_timeout, Some(Duration::from_secs(30)));
}

#[test]
fn a_number_that_looks_like_seconds_is_warned_of() {
    let config = valid(&with("60"));
    assert_eq!(config.servers[0].call_timeout, Some(Duration::from_millis(60)));
    assert_eq!(
        config.warnings,
        [r#"server "a": "timeout" 60 is read as milliseconds; seconds are written "60s""#]
    );
}

#[test]
fn other_limits_are_refused() {
    for (timeout, word) in [
        ("0", "zero"),
        (r#""0s""#, "zero"),
        ("-1", "whole number of milliseconds"),
        ("1.5", "whole number of milliseconds"),
        ("3e4", "whole number of milliseconds"),
        ("99999999999999999999", "whole number of milliseconds"),
        (r#""30""#, "a unit is missing"),
        (r#""soon""#, "250ms, 10s or 2m"),
        ("true", "not a truth value"),
        ("[]", "not a list"),
    ] {
        let why = refused(&with(timeout));
        assert!(why.contains(r#"server "a": "timeout""#) && why.contains(word), "{timeout}: {why}");
    }
}
