//! Configurations: the servers that other programs keep in a file, read and checked before anything is started.
//!
//! ```
//! use moored_mcp::config::Config;
//!
//! let text = r#"{
//!     // Comments and trailing commas are welcome.
//!     "mcpServers": {
//!         "files": {"command": "files-server", "args": ["--root", "${ROOT:-.}"]},
//!         "web": {"url": "https://docs.example/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}},
//!     },
//! }"#;
//! // `Config::load(path, |name| std::env::var(name))` reads a file with the variables of the process.
//! let config = Config::parse(text, |name| match name {
//!     "TOKEN" => Ok("secret".to_owned()),
//!     _ => Err(std::env::VarError::NotPresent),
//! })?;
//! assert_eq!(config.servers[0].name, "files");
//! assert!(!format!("{config:?}").contains("secret"));
//! # Ok::<(), moored_mcp::config::ConfigError>(())
//! ```
//!
//! # Files
//!
//! JSON with comments and trailing commas, or YAML. The content decides which: a text that begins with a brace, a bracket or
//! a comment of JSON's kind is JSON, everything else is YAML. If such a text is not JSON and its file's name ends in `.yaml`
//! or `.yml`, it is read as YAML. A byte order mark is passed over. A file is 16 MiB long at most; JSON is nested 512 deep at
//! most, YAML 24.
//!
//! The servers are in one object, by name, under one of these keys at the top of the file:
//!
//! | key | written by |
//! |---|---|
//! | `mcpServers` | Claude, Cursor, and most others |
//! | `servers` | VS Code (`mcp.json`) |
//! | `mcp_servers` | LiteLLM (`config.yaml`) |
//!
//! Other keys at the top are named in a warning. A server with a name that is there twice is kept twice, so that the
//! group reports it; a key that is there twice in one server is an error. Merge keys (`<<`) and aliases of YAML work.
//!
//! # The keys of a server
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `command` | string | the program of a stdio server |
//! | `args` | list of strings | its arguments |
//! | `env` | object of strings | variables set for it; it inherits only [safe ones](crate::StdioParams::inherited) |
//! | `cwd` | string | the directory it starts in |
//! | `url`, `serverUrl`, `httpUrl` | string | the address of a streamable HTTP server; a server has a `command` or one of these |
//! | `headers`, `static_headers` | object of strings | sent with every request |
//! | `auth_type`, with `auth_value` or `authentication_token` | strings | LiteLLM's way to write one header, see below |
//! | `type`, `transport` | `stdio`, `http`, `sse` | checked against the other keys, and not needed; `streamable-http`, `streamableHttp`, `local` and `remote` are read too |
//! | `disabled`, `enabled` | true or false | a server that is switched off is not started, and nothing else of its entry is checked |
//! | `timeout` | number or string | the limit of one call, see below |
//! | `era` | `auto`, `legacy`, `modern` | [which era](crate::Era) of the protocol it speaks |
//! | `restart` | `never`, `on-failure`, `always` | whether the server is [started again](crate::Restart) after its session was lost; `never` by default |
//! | `descendants` | `kill`, `leave` | the fate of [the processes that a stdio server has started](crate::Descendants) when it is left; `kill` by default |
//! | `allow_all_keys` | | LiteLLM's, ignored with a warning |
//!
//! `null` counts as a missing key. Two names of one key may stand side by side if their values are the same. Every
//! other key, and a key that belongs to the other transport, is named in a warning and ignored. In YAML a number or a
//! truth value is read as a string if a string is expected, exactly as it is written; in JSON a string has quotes.
//!
//! **`timeout`**: a number is milliseconds, as in Claude Code and Gemini; a string has its unit: `"250ms"`, `"30s"`, `"2m"`. Some
//! programs write seconds: a number under 1000 is taken as it is, with a warning. It becomes
//! [`ServerParams::call_timeout`](crate::ServerParams::call_timeout).
//!
//! **`auth_type`**: `api_key` sends `X-API-Key`; `bearer_token`, `basic` (the value is encoded), `token` and `authorization` (the
//! value as it is) send `Authorization`; `none` sends nothing. Any other is ignored with a warning.
//!
//! **`sse`**: the HTTP+SSE transport was removed from the protocol in 2025, and this crate does not speak it, because
//! it has no session that could be ended, so nothing could be promised about leaving it. A server of the type `sse` is
//! contacted over streamable HTTP, with a warning, because most of them support that by now; a server that does not is
//! reported as a protocol error.
//!
//! # Variables
//!
//! In `command`, `args`, `env`, `cwd`, the address, `headers` and `auth_value`:
//!
//! | written | becomes |
//! |---|---|
//! | `${NAME}`, `${env:NAME}` | the variable; an error if it is not set |
//! | `${NAME:-default}` | the variable; the default if it is not set or empty. A default may contain placeholders |
//! | `os.environ/NAME` | the variable, if this is a word of its own: at the beginning or after white space, and up to white space or the end |
//! | `$${` | `${`, which is the one way to write it. Every other dollar, `$$` too, stands for itself |
//!
//! No error, warning or report of the server shows the value of a variable that was filled in, unless it is an ordinary one;
//! see [`ServerParams::secret`](crate::ServerParams::secret).
//!
//! The value of a variable is not searched for placeholders. A placeholder of another form (`${input:..}`, `${NAME%x}`)
//! is an error. The error for a missing variable names it, the server, the key, the file and the line.

mod address;
mod auth;
mod document;
mod duration;
mod entry;
mod error;
mod expand;
mod fields;
mod jsonc;
mod tree;
mod values;
mod yaml;

use std::cell::RefCell;
use std::env::VarError;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use document::{Named, Pair, Value};
use values::Values;

pub use document::Document;
pub use duration::parse_duration;
pub use error::{ConfigError, ConfigErrorKind};

pub use crate::duration::show_duration;
use crate::params::{Origin, ServerParams, is_secret};

/// Longer than any configuration: a longer file was given by mistake.
const LONGEST: u64 = 16 * 1024 * 1024;
/// The keys under which servers are looked for.
const LISTS: [&str; 3] = ["mcpServers", "servers", "mcp_servers"];
/// The number of names of keys that one sentence shows.
const SHOWN: usize = 8;

/// A configuration that has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The servers in the order of the file, without the disabled ones. A name that was written twice is here twice.
    pub servers: Vec<ServerParams>,
    /// The parts that were ignored, one sentence each, for a person to read.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads and checks the file at `path`, with variables from `env`: [`std::env::var`] for the process's own.
    ///
    /// # Errors
    ///
    /// A mistake anywhere in the file, also in its last server: no server has been started
    /// then.
    pub fn load(
        path: impl AsRef<Path>,
        env: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, ConfigError> {
        let path = path.as_ref();
        let text = read(path).map_err(|error| ConfigError::unreadable(path, error))?;
        let extension = path.extension().and_then(|extension| extension.to_str());
        let named = match extension.unwrap_or_default().to_ascii_lowercase().as_str() {
            "json" | "jsonc" => Named::Json,
            "yaml" | "yml" => Named::Yaml,
            _ => Named::Otherwise,
        };
        Document::parse_named(&text, named)
            .and_then(|document| document.read(env))
            .map_err(|error| error.in_file(path))
    }

    /// Reads and checks a text, with variables from `env`.
    ///
    /// # Errors
    ///
    /// As for [`load`](Self::load), without the file's name.
    pub fn parse(
        text: &str,
        env: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Self, ConfigError> {
        Document::parse(text)?.read(env)
    }
}

impl Document {
    /// Fills in the variables, asking `env` for each, and checks every server.
    ///
    /// # Errors
    ///
    /// The first mistake.
    pub fn read(
        self,
        env: impl Fn(&str) -> Result<String, VarError>,
    ) -> Result<Config, ConfigError> {
        let mut warnings = Vec::new();
        // The values with which placeholders of the server under way were filled in, and that no text may show.
        let secrets = RefCell::new(Vec::new());
        let env = |name: &str| {
            let value = env(name)?;
            if is_secret(name, &value, Origin::FilledIn) {
                secrets.borrow_mut().push(value.clone());
            }
            Ok(value)
        };
        let values = Values { env: &env, format: self.format };
        let entries = entries(self.root, &mut warnings)?;
        let mut servers = Vec::new();
        for Pair { key: name, line, node } in entries {
            let mut warn = |why| warnings.push(format!("server {name:?}: {why}"));
            let server = entry::read(&name, node, values, &mut warn)
                .map_err(|error| error.of_server(&name).at_line(line))?;
            let secrets = secrets.take();
            servers.extend(server.map(|it| secrets.into_iter().fold(it, ServerParams::secret)));
        }
        if servers.is_empty() {
            return Err(ConfigError::shape(
                "every server is switched off, so there is no server to connect to",
            ));
        }
        Ok(Config { servers, warnings })
    }
}

fn read(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 16 MiB"));
    }
    String::from_utf8(bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}

/// The servers of the list, under any of the keys.
fn entries(root: document::Node, warnings: &mut Vec<String>) -> Result<Vec<Pair>, ConfigError> {
    let Value::Object(pairs) = root.value else {
        let why = match root.value {
            Value::Null => "the file is empty".to_owned(),
            other => format!("found {}", other.kind()),
        };
        return Err(ConfigError::shape(format!("expected an object with {}, {why}", lists())));
    };
    let (listed, others): (Vec<Pair>, Vec<Pair>) =
        pairs.into_iter().partition(|pair| LISTS.contains(&pair.key.as_str()));
    let others: Vec<&str> = others.iter().map(|pair| pair.key.as_str()).collect();
    let mut listed = listed.into_iter();
    let Some(list) = listed.next() else {
        let found = match others[..] {
            [] => "nothing".to_owned(),
            _ => format!("the keys {}", names(&others)),
        };
        return Err(ConfigError::shape(format!(
            "no {} object, so there is no server to connect to; found {found}",
            lists()
        )));
    };
    if let Some(second) = listed.next() {
        let why = if second.key == list.key {
            format!("{:?} stands there twice", list.key)
        } else {
            format!("{:?} beside {:?}: one of them lists the servers", second.key, list.key)
        };
        return Err(ConfigError::shape(why).at_line(second.line));
    }
    match others[..] {
        [] => {}
        [one] => warnings.push(format!("unknown key {:?} is ignored", error::shown(one))),
        _ => warnings.push(format!("unknown keys {} are ignored", names(&others))),
    }
    match list.node.value {
        Value::Object(entries) if entries.is_empty() => Err(ConfigError::shape(format!(
            "{:?} is empty, so there is no server to connect to",
            list.key
        ))
        .at_line(list.line)),
        Value::Object(entries) => Ok(entries),
        other => Err(ConfigError::shape(format!(
            "{:?} must be an object of servers by name, not {}",
            list.key,
            other.kind()
        ))
        .at_line(list.line)),
    }
}

fn lists() -> String {
    let [claude, code, litellm] = LISTS;
    format!("{claude:?} (Claude, Cursor), {code:?} (VS Code) or {litellm:?} (LiteLLM)")
}

/// The first of these names, and the number of further ones.
fn names(keys: &[&str]) -> String {
    let shown: Vec<String> =
        keys.iter().take(SHOWN).map(|key| format!("{:?}", error::shown(key))).collect();
    let more = keys.len().saturating_sub(SHOWN);
    match more {
        0 => shown.join(", "),
        _ => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
