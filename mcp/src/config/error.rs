//! The reason why a configuration cannot be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The kind of a mistake in a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConfigErrorKind {
    /// The file cannot be read, or is larger than a configuration may be.
    Unreadable,
    /// The text is neither JSON with comments nor YAML, or is nested too deep.
    Syntax,
    /// The text is well formed, but contains no servers under the known keys.
    Shape,
    /// A key of a server has a value that it cannot have, or keys contradict each other.
    Value,
    /// A variable that a value names is not in the environment.
    Variable,
}

/// The reason why a configuration cannot be used, and its place.
///
/// No text of this error contains a value of `headers` or `env`, or the value of a variable, because they are often
/// credentials.
#[derive(Debug)]
pub struct ConfigError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ConfigErrorKind,
    file: Option<PathBuf>,
    line: Option<usize>,
    server: Option<String>,
    key: Option<String>,
    variable: Option<String>,
    why: String,
    cause: Option<io::Error>,
}

impl ConfigError {
    pub(super) fn new(kind: ConfigErrorKind, why: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            file: None,
            line: None,
            server: None,
            key: None,
            variable: None,
            why: why.into(),
            cause: None,
        }))
    }

    pub(super) fn shape(why: impl Into<String>) -> Self {
        Self::new(ConfigErrorKind::Shape, why)
    }

    pub(super) fn value(why: impl Into<String>) -> Self {
        Self::new(ConfigErrorKind::Value, why)
    }

    pub(super) fn unreadable(path: &Path, cause: io::Error) -> Self {
        let mut error = Self::new(ConfigErrorKind::Unreadable, "cannot be read").in_file(path);
        error.0.cause = Some(cause);
        error
    }

    /// Sets the line, if it is not known yet. Lines count from 1; 0 means that there is none.
    pub(super) fn at_line(mut self, line: usize) -> Self {
        self.0.line = self.0.line.or((line > 0).then_some(line));
        self
    }

    /// Sets the key, if it is not known yet.
    pub(super) fn of_key(mut self, key: impl Into<String>) -> Self {
        self.0.key.get_or_insert_with(|| shown(&key.into()));
        self
    }

    pub(super) fn of_server(mut self, name: &str) -> Self {
        self.0.server = Some(name.to_owned());
        self
    }

    pub(super) fn of_variable(mut self, name: &str) -> Self {
        self.0.variable = Some(name.to_owned());
        self
    }

    pub(super) fn in_file(mut self, path: &Path) -> Self {
        self.0.file = Some(path.to_owned());
        self
    }

    /// The kind of the mistake.
    pub fn kind(&self) -> ConfigErrorKind {
        self.0.kind
    }

    /// The file; `None` for a text that came without one.
    pub fn file(&self) -> Option<&Path> {
        self.0.file.as_deref()
    }

    /// The line, counted from 1; `None` if the whole file is meant, or the document came through serde.
    pub fn line(&self) -> Option<usize> {
        self.0.line
    }

    /// The server with the wrong entry.
    pub fn server(&self) -> Option<&str> {
        self.0.server.as_deref()
    }

    /// The key of the wrong value, with its place inside: `args[1]`, `headers.Authorization`.
    pub fn key(&self) -> Option<&str> {
        self.0.key.as_deref()
    }

    /// The variable that is missing.
    pub fn variable(&self) -> Option<&str> {
        self.0.variable.as_deref()
    }
}

/// A key, as far as it looks like one, because YAML that lacks a space (`Authorization:secret`) makes a key of the
/// value too.
pub(super) fn shown(key: &str) -> String {
    let usual = |char: char| char.is_alphanumeric() || "_-./@$=[] ".contains(char);
    let end = key.find(|char| !usual(char)).unwrap_or(key.len());
    if end == key.len() { key.to_owned() } else { format!("{}..", &key[..end]) }
}

/// The places from the outside in, then the reason: `servers.json:7: server "web": "headers.Authorization" needs ..`.
impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &*self.0;
        match (&inner.file, inner.line) {
            (Some(file), Some(line)) => write!(f, "{}:{line}: ", file.display())?,
            (Some(file), None) => write!(f, "{}: ", file.display())?,
            (None, Some(line)) => write!(f, "line {line}: ")?,
            (None, None) => {}
        }
        if let Some(server) = &inner.server {
            write!(f, "server {server:?}: ")?;
        }
        if let Some(key) = &inner.key {
            write!(f, "{key:?} ")?;
        }
        f.write_str(&inner.why)
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.cause.as_ref().map(|cause| cause as _)
    }
}
