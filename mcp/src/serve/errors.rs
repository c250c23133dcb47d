//! Failures behind the gateway, as errors for its clients.

use std::time::Duration;

use rmcp::model::{ErrorCode, ErrorData};
use serde_json::json;

use super::fleet::{Away, ServerState, cause};
use crate::duration::show_duration;
use crate::error::CallError;
use crate::report::ErrorReport;

/// The code for a request with an exceeded time limit, as the usual clients know it.
const TIMED_OUT: ErrorCode = ErrorCode(-32001);

/// The error of a request without a result. A server's own error is passed on unchanged.
pub(super) fn of_call(error: CallError) -> ErrorData {
    let text = error.to_string();
    match error {
        CallError::Rejected { code, message, data, .. } => {
            let code = i32::try_from(code).map_or(ErrorCode::INTERNAL_ERROR, ErrorCode);
            ErrorData::new(code, message, data)
        }
        CallError::TimedOut { .. } => ErrorData::new(TIMED_OUT, text, None),
        CallError::Failed { server, report, .. } | CallError::ServerGone { server, report, .. } => {
            of_report(&server, &report)
        }
        CallError::UnknownTool(_) | CallError::Unknown { .. } => {
            ErrorData::invalid_params(text, None)
        }
        _ => ErrorData::internal_error(text, None),
    }
}

/// The error that a server has answered with, for a client of an era.
///
/// The codes for a header and for a revision concern the gateway's own request: a client that got them would take its own
/// headers for wrong, or the gateway for one that does not speak its revision. Two codes of the older era must not be sent in
/// the newer one, which has -32602 for a resource that is not there, and no code for an address to visit.
pub(super) fn fit(mut error: ErrorData, modern: bool) -> ErrorData {
    error.code = match error.code {
        ErrorCode::HEADER_MISMATCH | ErrorCode::UNSUPPORTED_PROTOCOL_VERSION => {
            ErrorCode::INTERNAL_ERROR
        }
        ErrorCode(-32002) if modern => ErrorCode::INVALID_PARAMS,
        ErrorCode(-32042) if modern => ErrorCode::INTERNAL_ERROR,
        code => code,
    };
    error
}

/// The error of a request for a component of a server that is not connected.
pub(super) fn of_away(away: &Away) -> ErrorData {
    match &away.state {
        ServerState::Down { error, .. } => {
            let mut told = of_report(&away.server, error);
            told.message = away.line().into();
            told
        }
        _ => ErrorData::internal_error(away.line(), Some(json!({"server": away.server}))),
    }
}

/// The error of a request for a component that no connected server has. The text names the servers that are not
/// connected, because one of them may have it. The address of a resource is also there as data.
pub(super) fn of_unknown(error: &CallError, uri: Option<&str>, away: &[Away]) -> ErrorData {
    let mut text = error.to_string();
    for away in away {
        text.push_str("; ");
        text.push_str(&away.line());
    }
    ErrorData::invalid_params(text, uri.map(|uri| json!({"uri": uri})))
}

/// The whole chain of causes, as text and as data.
fn of_report(server: &str, report: &ErrorReport) -> ErrorData {
    let text = format!("server {server:?}: {}", cause(report));
    let data = json!({"server": server, "chain": report.chain, "exitStatus": report.exit_status});
    ErrorData::internal_error(text, Some(data))
}

/// The error of a request that a server did not answer in time.
pub(super) fn late(what: &str, limit: Duration) -> ErrorData {
    let what = what.split(' ').take(2).collect::<Vec<_>>().join(" ");
    let limit = show_duration(limit);
    ErrorData::new(TIMED_OUT, format!("the server did not answer within {limit}: {what}"), None)
}

/// The error of every request, once the gateway closes.
pub(super) fn closing() -> ErrorData {
    ErrorData::internal_error("the gateway is closing", None)
}
