//! The meaning of the answers to `server/discover` and to `initialize`.

use rmcp::model::{ErrorCode, ErrorData, InitializeResult, ProtocolVersion, ServerResult};

use super::{Agreed, Said};
use crate::fault::Fault;
use crate::report::Outcome;
use crate::wire::body::clipped;
use crate::wire::message::rejection;

/// The meaning of an answer to the probe.
#[derive(Debug)]
pub(super) enum Verdict {
    /// A modern server, and the revision to speak.
    Modern(Agreed),
    /// The server has a handshake, or does not know the request. The fault is the outcome only if there is no
    /// handshake to try.
    Legacy(Fault),
    /// A modern server that refuses us, or a failure that `initialize` would have as well.
    Refused(Fault),
    /// A modern server that refuses a revision which it claims to have. It is asked once more.
    Again(Fault),
}

impl Verdict {
    pub(super) fn of(said: Said) -> Self {
        match said {
            Said::Failed(fault) if fault.is_of_the_attempt => Self::Refused(fault),
            Said::Failed(fault) => Self::Legacy(fault),
            Said::Error(error) => Self::of_error(&error),
            Said::Result(answer) => Self::of_result(answer),
        }
    }

    fn of_result(answer: Box<ServerResult>) -> Self {
        let ServerResult::DiscoverResult(result) = &*answer else {
            let text = "the server answered server/discover with something else";
            return Self::Legacy(Fault::new(Outcome::ProtocolError, text));
        };
        let offered = &result.supported_versions;
        if offered.contains(&ProtocolVersion::LATEST) {
            return Self::Modern(Agreed { version: ProtocolVersion::LATEST, answer });
        }
        let fault = no_common_version(offered);
        if with_handshake(offered).is_some() { Self::Legacy(fault) } else { Self::Refused(fault) }
    }

    fn of_error(error: &ErrorData) -> Self {
        let fault = rejected("server/discover", error);
        let offered = supported(error);
        match error.code {
            ErrorCode::UNSUPPORTED_PROTOCOL_VERSION if offered.is_empty() => Self::Legacy(fault),
            ErrorCode::UNSUPPORTED_PROTOCOL_VERSION => {
                if offered.contains(&ProtocolVersion::LATEST) {
                    Self::Again(fault)
                } else if with_handshake(&offered).is_some() {
                    Self::Legacy(fault)
                } else {
                    Self::Refused(no_common_version(&offered))
                }
            }
            ErrorCode::MISSING_REQUIRED_CLIENT_CAPABILITY | ErrorCode::HEADER_MISMATCH => {
                Self::Refused(fault)
            }
            _ => Self::Legacy(fault),
        }
    }
}

/// The meaning of an answer to `initialize`.
#[derive(Debug)]
pub(super) enum Initialized {
    Accepted(Agreed),
    /// The server does not have the revision that was requested, but has this one.
    OtherVersion(ProtocolVersion, Fault),
    /// The server has no handshake.
    Modern(Fault),
    Rejected(Fault),
}

impl Initialized {
    pub(super) fn of(said: Said) -> Self {
        match said {
            Said::Failed(fault) => Self::Rejected(fault),
            Said::Error(error) => Self::of_error(&error),
            Said::Result(answer) => match &*answer {
                ServerResult::InitializeResult(result) => match check_version(result) {
                    Ok(()) if !has_handshake(&result.protocol_version) => {
                        let text = format!(
                            "the server answered initialize with the protocol version {:?}, which has no initialize",
                            result.protocol_version.as_str()
                        );
                        Self::Modern(Fault::new(Outcome::ProtocolError, text))
                    }
                    Ok(()) => {
                        let version = result.protocol_version.clone();
                        Self::Accepted(Agreed { version, answer })
                    }
                    Err(fault) => Self::Rejected(fault),
                },
                // The reader has recorded the parts that an answer to `initialize` lacks.
                _ => Self::Rejected(Fault::new(
                    Outcome::ProtocolError,
                    "the server answered initialize with something else",
                )),
            },
        }
    }

    fn of_error(error: &ErrorData) -> Self {
        let fault = rejected("initialize", error);
        let offered = supported(error);
        match with_handshake(&offered) {
            _ if offered.is_empty() => Self::Rejected(fault),
            Some(version) if version != ProtocolVersion::LATEST_WITH_INITIALIZE => {
                Self::OtherVersion(version, fault)
            }
            _ if error.code == ErrorCode::UNSUPPORTED_PROTOCOL_VERSION
                && offered.contains(&ProtocolVersion::LATEST) =>
            {
                Self::Modern(fault)
            }
            // It refused the very revision that it names.
            Some(_) => Self::Rejected(fault),
            None => Self::Rejected(no_common_version(&offered)),
        }
    }
}

/// Checks the revision that a server has chosen.
///
/// # Errors
///
/// The revision is not one that this program speaks.
pub(crate) fn check_version(result: &InitializeResult) -> Result<(), Fault> {
    let chosen = &result.protocol_version;
    if ProtocolVersion::KNOWN_VERSIONS.contains(chosen) {
        return Ok(());
    }
    let text = format!(
        "the server chose the protocol version {:?}, which this client does not speak (it speaks {})",
        clipped(chosen.as_str()),
        list(ProtocolVersion::KNOWN_VERSIONS),
    );
    Err(Fault::new(Outcome::ProtocolError, text))
}

fn has_handshake(version: &ProtocolVersion) -> bool {
    ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE).contains(version)
}

/// The newest revision of `offered` that begins with `initialize` and is known here.
fn with_handshake(offered: &[ProtocolVersion]) -> Option<ProtocolVersion> {
    let known = ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE);
    known.iter().rev().find(|version| offered.contains(version)).cloned()
}

/// The revisions that an error names as supported.
fn supported(error: &ErrorData) -> Vec<ProtocolVersion> {
    let named = error.data.as_ref().and_then(|data| data.get("supported")?.as_array());
    let each = named.into_iter().flatten();
    each.filter_map(|version| serde_json::from_value(version.clone()).ok()).collect()
}

fn no_common_version(offered: &[ProtocolVersion]) -> Fault {
    let text = match offered {
        [] => "the server names no protocol version that it speaks".to_owned(),
        offered => format!(
            "the server speaks the protocol version {}, this client {}",
            list(offered),
            list(ProtocolVersion::KNOWN_VERSIONS)
        ),
    };
    Fault::new(Outcome::ProtocolError, text)
}

fn list(versions: &[ProtocolVersion]) -> String {
    let quoted: Vec<_> =
        versions.iter().map(|version| format!("{:?}", clipped(version.as_str()))).collect();
    clipped(&quoted.join(", ")).into_owned()
}

fn rejected(what: &str, error: &ErrorData) -> Fault {
    let text = format!("the server rejected {what}: {}", rejection(error));
    Fault::new(Outcome::ProtocolError, text)
}
