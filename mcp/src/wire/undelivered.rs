//! A fault of ours on its way to the request to which it belongs.
//!
//! rmcp gives a failed request only a JSON-RPC error. If the answer of a request cannot be delivered, the fault is put
//! into such an error, and the caller takes it out again, so that it is not taken for the server's own error.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::LazyLock;

use rmcp::model::{ErrorCode, ErrorData, RequestId, ServerJsonRpcMessage};
use serde::{Deserialize, Serialize};

use crate::fault::{Fault, Flattened};
use crate::report::Outcome;

/// Known to this process only, so that no server can pass an error off as ours.
static TOKEN: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one("undelivered"));

/// The content of the error's `data`.
#[derive(Serialize, Deserialize)]
struct Parcel {
    token: u64,
    outcome: Outcome,
    causes: Vec<String>,
}

/// The answer that gives the request `id` its `fault`.
pub(crate) fn answer(id: RequestId, fault: &Fault) -> ServerJsonRpcMessage {
    ServerJsonRpcMessage::error(error(fault), Some(id))
}

/// The error that holds a fault.
pub(crate) fn error(fault: &Fault) -> ErrorData {
    let causes = crate::fault::chain(fault).split_off(1);
    let parcel = Parcel { token: *TOKEN, outcome: fault.outcome, causes };
    let data = serde_json::to_value(parcel).ok();
    ErrorData::new(ErrorCode::INTERNAL_ERROR, fault.to_string(), data)
}

/// The fault in an answer, if it is one of ours.
pub(crate) fn fault_in(answer: &ServerJsonRpcMessage) -> Option<Fault> {
    match answer {
        ServerJsonRpcMessage::Error(error) => fault(&error.error),
        _ => None,
    }
}

/// The fault in an error, if it is one of ours.
pub(crate) fn fault(error: &ErrorData) -> Option<Fault> {
    let parcel = Parcel::deserialize(error.data.as_ref()?).ok()?;
    if parcel.token != *TOKEN {
        return None;
    }
    let message = error.message.clone();
    Some(match Flattened::from_texts(parcel.causes) {
        Some(cause) => Fault::caused(parcel.outcome, message, cause),
        None => Fault::new(parcel.outcome, message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_comes_out_as_it_went_in() {
        let refused = std::io::Error::from_raw_os_error(111);
        let fault_in = Fault::caused(Outcome::Unreachable, "it broke off", refused);
        let ServerJsonRpcMessage::Error(error) = answer(RequestId::Number(1), &fault_in) else {
            panic!("an error");
        };
        let text = serde_json::to_string(&error.error).expect("JSON");
        let fault_out = fault(&serde_json::from_str(&text).expect("an error")).expect("a fault");
        assert_eq!(fault_out.outcome, Outcome::Unreachable);
        assert_eq!(fault_out.report(None).chain, fault_in.report(None).chain);
    }

    #[test]
    fn no_server_can_pass_its_error_off_as_ours() {
        let data = serde_json::json!({"token": 1, "outcome": "ok", "causes": []});
        let error = ErrorData::new(ErrorCode::INTERNAL_ERROR, "all is well", Some(data));
        assert!(fault(&error).is_none());
    }
}
