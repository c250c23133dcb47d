//! An incoming message, from bytes to the type that rmcp gets.
//!
//! A text that begins like a message and carries the id of a waiting request is the answer to that request, even if it is
//! broken: the request fails at once with the reason. A line of a log may show an answer as well, behind other text: the
//! request fails then only if no other answer comes. Any other text that is not a message is noise.

use std::borrow::Cow;

use rmcp::model::{
    ErrorData, InitializeResult, JsonRpcError, JsonRpcResponse, RequestId, ServerJsonRpcMessage,
    ServerResult,
};
use serde::Deserialize;
use serde_json::Value;

use self::broken::{Broken, broken, lacking};
use self::text::mended;
use super::answers;
use super::body::{clipped, preview};
use super::handshake::{Discovered, discovered};
use super::message::{Kind, rejection};
use super::pending::Pending;
use super::raw;
use super::skeleton::Skeleton;
use super::undelivered;
use super::unplaced::described;
use crate::fault::Fault;
use crate::report::Outcome;

mod broken;
mod text;

/// The byte order mark of UTF-8 that some writers put before a text.
pub(crate) const BOM: &[u8] = b"\xef\xbb\xbf";

/// The result of reading a text.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned")]
pub(crate) enum Incoming {
    /// A message, and a remark on it for the warnings.
    Message(ServerJsonRpcMessage, Option<String>),
    /// A text that is for no request, described in one line.
    Noise(String),
    /// A text that is perhaps the answer to a request.
    Unplaced(Doubtful),
}

/// A text that is perhaps the answer to a request.
#[derive(Debug)]
pub(crate) struct Doubtful {
    pub(super) doubt: Doubt,
    /// The request for which it may be.
    pub(super) request: RequestId,
    /// The failure of that request, if this is its answer: the error, or the reason why the answer cannot be read.
    pub(super) error: ErrorData,
    /// Its description if it is not.
    pub(super) what: String,
}

/// The reason why it is not certain that a text answers a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    /// It has no id, so it is for the request or for a notification that was sent.
    NoId,
    /// Other text stands before it, so it is the answer behind a banner without a line break, or a line of a log that
    /// shows the answer.
    BehindText,
}

impl Incoming {
    /// The message with its remark, or the description of noise, where a notification has an answer of its own and no log
    /// is written: a text that is perhaps an answer is one there.
    pub(crate) fn placed(
        self,
        pending: &Pending,
    ) -> Result<(ServerJsonRpcMessage, Option<String>), String> {
        match self {
            Self::Message(message, mark) => Ok((message, mark)),
            Self::Noise(what) => Err(what),
            Self::Unplaced(Doubtful { request, error, .. }) => {
                pending.answered(&request);
                Ok((ServerJsonRpcMessage::error(error, Some(request)), None))
            }
        }
    }
}

/// Reads one text: nothing if it is blank, several messages if it is a batch. `expected` is the request to which the
/// text is the answer if it names none.
pub(crate) fn read(text: &[u8], pending: &Pending, expected: Option<&RequestId>) -> Vec<Incoming> {
    let text = text.strip_prefix(BOM).unwrap_or(text).trim_ascii();
    match batch(text) {
        _ if text.is_empty() => Vec::new(),
        // Without an object there is no message, and no attempt is needed to find one: a child may flood its output.
        _ if !text.contains(&b'{') => vec![noise(text)],
        Some(items) => {
            items.iter().flat_map(|item| read_one(item.as_bytes(), pending, expected)).collect()
        }
        None => read_one(text, pending, expected),
    }
}

/// A text that is for no request.
fn noise(text: &[u8]) -> Incoming {
    Incoming::Noise(not_a_message(text))
}

fn not_a_message(text: &[u8]) -> String {
    format!("not a message: {}", preview(text).unwrap_or_default())
}

/// The description of an answer that is for no request.
fn to_nothing(why: &str) -> String {
    format!("an answer to nothing: {why}")
}

/// The items of a batch, which the revision 2025-03-26 has. Not each of them need be a message.
fn batch(text: &[u8]) -> Option<Vec<String>> {
    if !text.starts_with(b"[") {
        return None;
    }
    let items: Vec<Value> = serde_json::from_str(&mended(text)).ok()?;
    items.iter().any(Value::is_object).then(|| items.iter().map(Value::to_string).collect())
}

fn read_one(text: &[u8], pending: &Pending, expected: Option<&RequestId>) -> Vec<Incoming> {
    if let Ok(message) = pending.read(text) {
        return vec![admit(message, text, None, pending, expected)];
    }
    let mended = mended(text);
    let mark = matches!(mended, Cow::Owned(_))
        .then(|| "text that is not Unicode is shown with U+FFFD in its place".to_owned());
    if mark.is_some()
        && let Ok(message) = pending.read(mended.as_bytes())
    {
        return vec![admit(message, mended.as_bytes(), mark, pending, expected)];
    }
    let shown = preview(mended.as_bytes()).unwrap_or_default();
    let answered = match serde_json::from_str(&mended) {
        Ok(Value::Object(object)) => match broken(&object, pending, expected) {
            Broken::Of(id, kind, why) => {
                vec![unreadable(id, &kind, &format!("{why}: {shown}"), pending)]
            }
            Broken::Unplaced(request, kind, why) => {
                let why = format!("{why}: {shown}");
                let fault = Fault::new(Outcome::ProtocolError, not_readable(&kind, &why));
                let (error, what) = (undelivered::error(&fault), to_nothing(&why));
                vec![Incoming::Unplaced(Doubtful { doubt: Doubt::NoId, request, error, what })]
            }
            Broken::OfNone(why) => vec![Incoming::Noise(to_nothing(&format!("{why}: {shown}")))],
            Broken::NoAnswer => Vec::new(),
        },
        Ok(_) => Vec::new(),
        Err(error) => {
            let (skeleton, why) = (Skeleton::of(mended.as_bytes()), format!("{error}: {shown}"));
            if begins_like_a_message(&mended) {
                answered(&skeleton, &why, pending)
            } else {
                perhaps_answered(&skeleton, &why, &mended, pending)
            }
        }
    };
    if answered.is_empty() {
        return vec![noise(mended.as_bytes())];
    }
    answered
}

/// Whether a text begins with an object or a list of objects. Codes for a terminal before it do not count.
fn begins_like_a_message(text: &str) -> bool {
    let mut text = text.trim_start();
    while let Some(code) = text.strip_prefix("\u{1b}[") {
        let parameters = |it: char| !('@'..='~').contains(&it);
        text = code.trim_start_matches(parameters).get(1..).unwrap_or_default().trim_start();
    }
    text.strip_prefix('[').map_or(text, str::trim_start).starts_with('{')
}

/// The answers to waiting requests in a text that begins with other text.
fn perhaps_answered(
    skeleton: &Skeleton,
    why: &str,
    text: &str,
    pending: &Pending,
) -> Vec<Incoming> {
    let named = skeleton.answers().filter_map(|id| pending.named(id));
    let doubtful = named.map(|(request, kind)| {
        let fault = Fault::new(Outcome::ProtocolError, not_readable(&kind, why));
        let (error, what) = (undelivered::error(&fault), not_a_message(text.as_bytes()));
        Incoming::Unplaced(Doubtful { doubt: Doubt::BehindText, request, error, what })
    });
    doubtful.collect()
}

/// The failures of the waiting requests that a text answers of which only the outline is
/// available.
pub(crate) fn answered(skeleton: &Skeleton, why: &str, pending: &Pending) -> Vec<Incoming> {
    let named = skeleton.answers().filter_map(|id| pending.named(id));
    named.map(|(id, kind)| unreadable(id, &kind, why, pending)).collect()
}

/// The failure of the request `id` because of an answer that cannot be read.
fn unreadable(id: RequestId, kind: &Kind, why: &str, pending: &Pending) -> Incoming {
    pending.answered(&id);
    let text = not_readable(kind, why);
    // The probe has no caller, and the session may come up without its answer.
    let mark = kind.is_probe().then(|| text.clone());
    let fault = Fault::new(Outcome::ProtocolError, text);
    Incoming::Message(undelivered::answer(id, &fault), mark)
}

/// The fault of an answer that cannot be read.
fn not_readable(kind: &Kind, why: &str) -> String {
    format!("the answer to {} cannot be read: {why}", kind.subject())
}

/// Checks a message that rmcp can read.
fn admit(
    message: ServerJsonRpcMessage,
    text: &[u8],
    mark: Option<String>,
    pending: &Pending,
    expected: Option<&RequestId>,
) -> Incoming {
    match message {
        ServerJsonRpcMessage::Response(response) => admit_answer(response, text, mark, pending),
        ServerJsonRpcMessage::Error(error) => admit_error(error, mark, pending, expected),
        ServerJsonRpcMessage::Notification(notification) => {
            pending.notices.hear(&notification.notification);
            pending.told(&notification.notification, text, expected);
            Incoming::Message(ServerJsonRpcMessage::Notification(notification), mark)
        }
        ServerJsonRpcMessage::Request(mut request) => {
            if let Some(kind) = pending.repeated(&request) {
                return Incoming::Noise(format!("our own {}, which comes back", kind.subject()));
            }
            request.request = raw::request(request.request, text);
            Incoming::Message(ServerJsonRpcMessage::Request(request), mark)
        }
    }
}

/// Finds the request of an answer, and checks that the answer has the form that the request demands.
fn admit_answer(
    mut response: JsonRpcResponse<ServerResult>,
    text: &[u8],
    mut mark: Option<String>,
    pending: &Pending,
) -> Incoming {
    let Some((id, kind)) = pending.named(&response.id) else {
        return Incoming::Noise(format!("an answer {}", unasked(&response.id, pending)));
    };
    if kind.opens() {
        let kept = raw::take_kept(&mut response.result);
        let came = kept.unwrap_or_else(|| raw::result_of(text));
        match introduction(&kind, &came, text) {
            Ok((typed, remark)) => {
                response.result = typed;
                mark = mark.or(remark);
            }
            Err(why) => return unreadable(id, &kind, &why, pending),
        }
        pending.introduced(&kind, came);
    }
    if let Some(result) = raw::result_in(&response.result)
        && let Some(why) = answers::wrong(&kind, result)
    {
        return unreadable(id, &kind, &why, pending);
    }
    pending.answered(&id);
    response.id = id;
    Incoming::Message(ServerJsonRpcMessage::Response(response), mark)
}

/// Finds the request of an error, which may have no id.
fn admit_error(
    mut error: JsonRpcError,
    mark: Option<String>,
    pending: &Pending,
    expected: Option<&RequestId>,
) -> Incoming {
    let waiting = match &error.id {
        Some(id) => pending.named(id).map(|(id, _)| id),
        None => match (expected, pending.only()) {
            (None, Some(id)) if pending.has_told() => {
                let what = described(&error.error);
                let (doubt, error) = (Doubt::NoId, error.error);
                return Incoming::Unplaced(Doubtful { doubt, request: id, error, what });
            }
            (expected, only) => expected.cloned().or(only),
        },
    };
    match (waiting, &error.id) {
        (Some(id), _) => {
            pending.answered(&id);
            error.id = Some(id);
        }
        // The handshake knows the request for which it is.
        (None, None) if pending.is_opening() => {}
        (None, None) => return Incoming::Noise(described(&error.error)),
        (None, Some(id)) => {
            let (asked, what) = (unasked(id, pending), rejection(&error.error));
            return Incoming::Noise(format!("an error {asked}: {what}"));
        }
    }
    Incoming::Message(ServerJsonRpcMessage::Error(error), mark)
}

/// The answer to a request that opens a connection, in rmcp's type, and a remark on it; the reason if it cannot be read.
fn introduction(
    kind: &Kind,
    came: &Value,
    text: &[u8],
) -> Result<(ServerResult, Option<String>), String> {
    if kind.is_initialize() {
        return match InitializeResult::deserialize(came) {
            Ok(result) => Ok((ServerResult::InitializeResult(result), None)),
            Err(_) => {
                let shown = preview(text).unwrap_or_default();
                Err(format!("{}: {shown}", lacking(came)))
            }
        };
    }
    match discovered(came) {
        Discovered::Modern(result, remark) => Ok((ServerResult::DiscoverResult(*result), remark)),
        Discovered::Broken(why) => Err(why),
        Discovered::Other => Ok((ServerResult::empty(()), None)),
    }
}

/// The reason why no request waits for an answer with this id.
fn unasked(id: &RequestId, pending: &Pending) -> String {
    let shown = match id {
        RequestId::Number(id) => id.to_string(),
        RequestId::String(id) => format!("{:?}", clipped(id)),
    };
    if pending.was_sent(id) {
        format!("with the id {shown}, whose request waits no longer")
    } else {
        format!("with the id {shown}, which was never asked")
    }
}

#[cfg(test)]
mod tests;
