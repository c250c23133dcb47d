//! The configurations that are accepted, and the errors of the others.

mod files;
mod garbage;
mod keys;
mod limits;
mod litellm;
mod variables;

use std::env::VarError;

use super::{Config, ConfigError};
use crate::params::{HttpParams, StdioParams, Transport};

fn no_variable(_: &str) -> Result<String, VarError> {
    Err(VarError::NotPresent)
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, no_variable)
}

fn valid(text: &str) -> Config {
    parse(text).unwrap_or_else(|e| panic!("{e}: {text}"))
}

fn refused(text: &str) -> String {
    parse(text).expect_err(text).to_string()
}

/// A configuration with one server called `a`, on one line.
fn one(entry: &str) -> String {
    format!(r#"{{"mcpServers": {{"a": {entry}}}}}"#)
}

fn names(config: &Config) -> Vec<&str> {
    config.servers.iter().map(|s| s.name.as_str()).collect()
}

fn http(config: &Config, at: usize) -> &HttpParams {
    match &config.servers[at].transport {
        Transport::Http(http) => http,
        other => panic!("expected http, got {other:?}"),
    }
}

fn stdio(config: &Config, at: usize) -> &StdioParams {
    match &config.servers[at].transport {
        Transport::Stdio(stdio) => stdio,
        other => panic!("expected stdio, got {other:?}"),
    }
}
