//! The words of a server that is not up yet, in messages that nobody waits for. If it exits, they may be the cause.

use rmcp::model::{ServerJsonRpcMessage, ServerNotification, ServerRequest};
use serde_json::Value;

use super::body::clipped;
use super::raw;
use super::secrets::Secrets;
use crate::callbacks::{ELICIT, LIST_ROOTS, SAMPLE};

/// A log message, or a request or notification of an unknown method, as a text without secrets.
pub(super) fn said(message: &ServerJsonRpcMessage, secrets: &Secrets) -> Option<String> {
    let (what, mut params) = match message {
        ServerJsonRpcMessage::Request(request) => {
            let ServerRequest::CustomRequest(request) = &request.request else { return None };
            let (method, params) = raw::take_request(request.clone());
            if [SAMPLE, ELICIT, LIST_ROOTS].contains(&&*method) {
                return None;
            }
            (format!("the request {method:?}"), params)
        }
        ServerJsonRpcMessage::Notification(notification) => match &notification.notification {
            ServerNotification::LoggingMessageNotification(log) => {
                ("a log message".to_owned(), serde_json::to_value(&log.params).ok()?)
            }
            ServerNotification::CustomNotification(other) => {
                let params = other.params.clone().unwrap_or(Value::Null);
                (format!("the notification {:?}", other.method), params)
            }
            _ => return None,
        },
        _ => return None,
    };
    secrets.hide_in_value(&mut params);
    let text = format!("its last message was {what}: {params}");
    Some(clipped(&secrets.hide(&text)).into_owned())
}
