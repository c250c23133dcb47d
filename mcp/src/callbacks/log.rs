//! Log messages of servers.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How important a log message is (RFC 5424), the least important first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// For finding mistakes.
    Debug,
    /// For following what happens.
    Info,
    /// Out of the ordinary, and all right.
    Notice,
    /// May be wrong.
    Warning,
    /// Something failed.
    Error,
    /// A part has failed.
    Critical,
    /// Somebody has to act.
    Alert,
    /// Nothing works.
    Emergency,
}

impl LogLevel {
    /// The word of the protocol.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Alert => "alert",
            Self::Emergency => "emergency",
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The parameters of `notifications/message`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct LogMessage {
    /// How important it is.
    pub level: LogLevel,
    /// The part of the server that says it.
    #[serde(default)]
    pub logger: Option<String>,
    /// A text, or anything else.
    #[serde(default)]
    pub data: Value,
    /// All other fields.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}
