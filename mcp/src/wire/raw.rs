//! The way of unchanged JSON through rmcp.
//!
//! rmcp's types drop fields that they do not know, and rmcp parses an event a second time. So the results of calls and
//! the requests of servers pass through rmcp inside a custom result or request, which rmcp does not parse.

use rmcp::model::{CustomRequest, CustomResult, ServerNotification, ServerRequest, ServerResult};
use serde_json::{Map, Value, json};

/// The only field of a custom result, and the method of a custom request, that contain the original.
const RAW: &str = "moored/raw";

/// A result that rmcp does not look into.
pub(super) fn result(result: Value) -> ServerResult {
    ServerResult::CustomResult(CustomResult(Value::Object(Map::from_iter([(RAW.into(), result)]))))
}

/// The result as it came; `None` if it was not made by [`result`].
pub(super) fn result_in(result: &ServerResult) -> Option<&Value> {
    match result {
        ServerResult::CustomResult(CustomResult(result)) => result.get(RAW),
        _ => None,
    }
}

/// The result as it came.
pub(super) fn take_result(mut result: ServerResult) -> serde_json::Result<Value> {
    // Other results are rmcp's own, for requests whose raw results are not kept.
    take_kept(&mut result).map_or_else(|| serde_json::to_value(result), Ok)
}

/// Takes the result as it came out of one that was made by [`result`].
pub(super) fn take_kept(result: &mut ServerResult) -> Option<Value> {
    match result {
        ServerResult::CustomResult(CustomResult(result)) => result.as_object_mut()?.remove(RAW),
        _ => None,
    }
}

/// The result in an answer that was read before, as it came.
pub(super) fn result_of(text: &[u8]) -> Value {
    let mut message: Value = serde_json::from_slice(text).unwrap_or_default();
    message.get_mut("result").map(Value::take).unwrap_or_default()
}

/// A request of the server that rmcp does not parse. A ping is not changed.
pub(super) fn request(request: ServerRequest, text: &[u8]) -> ServerRequest {
    let ServerRequest::PingRequest(_) = request else {
        let (method, params) = method_and_params(text);
        let params = json!({"method": method, "params": params});
        return ServerRequest::CustomRequest(CustomRequest::new(RAW, Some(params)));
    };
    request
}

/// The method and the parameters of a request as they came.
pub(super) fn take_request(request: CustomRequest) -> (String, Value) {
    match request.params {
        Some(mut inner) if request.method == RAW => {
            let method = inner["method"].as_str().unwrap_or_default().to_owned();
            (method, inner["params"].take())
        }
        // Only for completeness, because our reader wraps every custom request.
        params => (request.method, params.unwrap_or_default()),
    }
}

/// The method and the parameters in a message that was read before.
pub(super) fn method_and_params(text: &[u8]) -> (String, Value) {
    let mut message: Value = serde_json::from_slice(text).unwrap_or_default();
    let method = message["method"].as_str().unwrap_or_default().to_owned();
    let params = message.get_mut("params").map(Value::take).unwrap_or_default();
    (method, params)
}

/// Whether a notification is a matter of the protocol alone.
pub(super) fn is_internal(notification: &ServerNotification) -> bool {
    matches!(
        notification,
        ServerNotification::CancelledNotification(_)
            | ServerNotification::SubscriptionsAcknowledgedNotification(_)
    )
}

#[cfg(test)]
mod tests {
    use rmcp::model::{RequestId, ServerJsonRpcMessage};

    use super::*;

    /// The message after rmcp has parsed it.
    fn read_again(message: &ServerJsonRpcMessage) -> ServerJsonRpcMessage {
        let text = serde_json::to_string(message).expect("JSON");
        serde_json::from_str(&text).expect("a message")
    }

    #[test]
    fn a_result_survives_being_read_again_with_every_field() {
        for raw in [
            json!({"content": [{"type": "text", "text": "t", "x": 1}], "y": {"z": null}}),
            json!({"resultType": "input_required", "requestState": "s", "more": [1]}),
            json!({}),
            Value::Null,
        ] {
            let message = ServerJsonRpcMessage::response(result(raw.clone()), RequestId::Number(1));
            let ServerJsonRpcMessage::Response(answer) = read_again(&message) else { panic!() };
            assert_eq!(result_in(&answer.result), Some(&raw));
            assert_eq!(take_result(answer.result).expect("JSON"), raw);
        }
    }

    #[test]
    fn a_request_survives_being_read_again_with_every_field() {
        let text = br#"{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"m",
            "requestedSchema":{"type":"object","properties":{"a":{"type":"string","x":1}}},"_meta":{"k":[1]},"y":2}}"#;
        let ServerJsonRpcMessage::Request(mut message) =
            serde_json::from_slice(text).expect("a request")
        else {
            panic!()
        };
        message.request = request(message.request, text);
        let again = read_again(&ServerJsonRpcMessage::Request(message));
        let ServerJsonRpcMessage::Request(again) = again else { panic!() };
        let ServerRequest::CustomRequest(again) = again.request else { panic!() };
        assert_eq!(take_request(again), method_and_params(text));
    }

    #[test]
    fn a_number_with_a_fraction_keeps_its_last_digit() {
        let mut bits: u64 = 1;
        for _ in 0..20_000 {
            bits = bits
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let number = f64::from_bits(bits);
            if !number.is_finite() {
                continue;
            }
            let text = serde_json::to_string(&number).expect("JSON");
            let result = result_of(format!(r#"{{"result":{text}}}"#).as_bytes());
            assert_eq!(result.to_string(), text);
        }
    }
}
