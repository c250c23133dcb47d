//! The configuration file: the `mcpServers` object that desktop clients keep.
//!
//! Everything is read and checked before anything is started, so that a mistake in the last entry
//! does not leave the first ones running.

mod entry;
mod ordered;

use std::fmt;
use std::path::Path;

use moored_mcp::{HttpParams, ServerParams};

use ordered::Json;

/// A configuration that can be started.
#[derive(Debug)]
pub(crate) struct Config {
    /// The servers in the order of the file. A name that was written twice is here twice.
    pub servers: Vec<ServerParams>,
    /// What was passed over, one sentence each, for stderr.
    pub warnings: Vec<String>,
}

/// Why a configuration cannot be used: one sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigError(String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// Reads and checks the file at `path`.
///
/// # Errors
///
/// A sentence that names the file, the server and the key at fault.
pub(crate) fn load(path: &Path) -> Result<Config, ConfigError> {
    let shown = path.display();
    let bytes =
        std::fs::read(path).map_err(|e| ConfigError(format!("cannot read {shown}: {e}")))?;
    let text =
        String::from_utf8(bytes).map_err(|_| ConfigError(format!("{shown} is not UTF-8 text")))?;
    parse(&text).map_err(|ConfigError(why)| ConfigError(format!("{shown}: {why}")))
}

/// The one server at an address that was typed, with a name that is as good as any.
pub(crate) fn at(url: &str) -> ServerParams {
    ServerParams::http("server", HttpParams::new(url))
}

/// Reads and checks a configuration's text.
fn parse(text: &str) -> Result<Config, ConfigError> {
    // Some editors put a byte order mark first; it is no part of the JSON.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let root: Json =
        serde_json::from_str(text).map_err(|e| ConfigError(format!("not valid JSON: {e}")))?;
    let Json::Object(pairs) = root else {
        return Err(ConfigError(format!(
            "expected an object with \"mcpServers\", found {}",
            root.kind()
        )));
    };

    let mut warnings = Vec::new();
    let mut listed = None;
    for (key, value) in pairs {
        if key != "mcpServers" {
            warnings.push(format!("unknown key {key:?} is ignored"));
        } else if listed.replace(value).is_some() {
            return Err(ConfigError("\"mcpServers\" stands there twice".to_owned()));
        }
    }
    let entries = match listed {
        Some(Json::Object(entries)) => entries,
        Some(other) => {
            return Err(ConfigError(format!(
                "\"mcpServers\" must be an object of servers by name, not {}",
                other.kind()
            )));
        }
        None => {
            return Err(ConfigError(
                "no \"mcpServers\" object, so there is no server to connect to".to_owned(),
            ));
        }
    };
    if entries.is_empty() {
        return Err(ConfigError(
            "\"mcpServers\" is empty, so there is no server to connect to".to_owned(),
        ));
    }

    let servers = entries
        .into_iter()
        .map(|(name, value)| {
            entry::read(&name, value, &mut warnings)
                .map_err(|why| ConfigError(format!("server {name:?}: {why}")))
        })
        .collect::<Result<_, _>>()?;
    Ok(Config { servers, warnings })
}

#[cfg(test)]
mod tests;
