//! An incoming message, from bytes to the type that rmcp gets.
//!
//! A text that carries the id of a waiting request is the answer to that request, even if it is broken: the request
//! fails at once with the reason. Any other text that is not a message is noise.

use std::borrow::Cow;

use rmcp::model::{
    CustomResult, InitializeResult, RequestId, ServerJsonRpcMessage, ServerNotification,
    ServerResult,
};
use serde_json::{Map, Value};

use super::answers;
use super::body::preview;
use super::handshake::discovered;
use super::lists::fault;
use super::message::{Kind, rejection};
use super::pending::Pending;
use super::skeleton::Skeleton;
use super::undelivered;
use crate::fault::Fault;
use crate::report::Outcome;

/// The byte order mark of UTF-8 that some writers put before a text.
const BOM: &[u8] = b"\xef\xbb\xbf";

/// The result of reading a text.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is returned")]
pub(crate) enum Incoming {
    /// A message, and the repair that it needed.
    Message(ServerJsonRpcMessage, Option<&'static str>),
    /// A text that is for no request, described in one line.
    Noise(String),
}

/// Reads one text: nothing if it is blank, several messages if it is a batch. `expected` is the request to which the
/// text is the answer if it names none.
pub(crate) fn read(text: &[u8], pending: &Pending, expected: Option<&RequestId>) -> Vec<Incoming> {
    let text = text.strip_prefix(BOM).unwrap_or(text).trim_ascii();
    match batch(text) {
        _ if text.is_empty() => Vec::new(),
        Some(items) => {
            items.iter().flat_map(|item| read_one(item.as_bytes(), pending, expected)).collect()
        }
        None => read_one(text, pending, expected),
    }
}

/// The messages of a batch, which the revision 2025-03-26 has.
fn batch(text: &[u8]) -> Option<Vec<String>> {
    if !text.starts_with(b"[") {
        return None;
    }
    let items: Vec<Value> = serde_json::from_str(&mended(text)).ok()?;
    let is_batch = !items.is_empty() && items.iter().all(Value::is_object);
    is_batch.then(|| items.iter().map(Value::to_string).collect())
}

fn read_one(text: &[u8], pending: &Pending, expected: Option<&RequestId>) -> Vec<Incoming> {
    if let Ok(message) = pending.read(text) {
        return vec![admit(message, text, None, pending, expected)];
    }
    let mended = mended(text);
    let mark = matches!(mended, Cow::Owned(_))
        .then_some("text that is not Unicode is shown with U+FFFD in its place");
    if mark.is_some()
        && let Ok(message) = pending.read(mended.as_bytes())
    {
        return vec![admit(message, mended.as_bytes(), mark, pending, expected)];
    }
    let shown = preview(mended.as_bytes()).unwrap_or_default();
    let answered = match serde_json::from_str(&mended) {
        Ok(Value::Object(object)) => {
            let broken = broken(&object, pending, expected).into_iter();
            let told = broken
                .map(|(id, kind, why)| unreadable(id, &kind, &format!("{why}: {shown}"), pending));
            told.collect()
        }
        Ok(_) => Vec::new(),
        Err(error) => {
            let skeleton = Skeleton::of(mended.as_bytes());
            answered(&skeleton, &format!("{error}: {shown}"), pending)
        }
    };
    if answered.is_empty() {
        return vec![Incoming::Noise(format!("not a message: {shown}"))];
    }
    answered
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
    let text = format!("the answer to {} cannot be read: {why}", kind.subject());
    let fault = Fault::new(Outcome::ProtocolError, text);
    Incoming::Message(undelivered::answer(id, &fault), None)
}

/// Checks a message that rmcp can read.
fn admit(
    message: ServerJsonRpcMessage,
    text: &[u8],
    mark: Option<&'static str>,
    pending: &Pending,
    expected: Option<&RequestId>,
) -> Incoming {
    match message {
        ServerJsonRpcMessage::Response(mut response) => {
            let Some((id, kind)) = pending.named(&response.id) else {
                return Incoming::Noise(format!(
                    "an answer to no waiting request ({})",
                    response.id
                ));
            };
            if kind.is_probe()
                && let Some(result) = discovered(text)
            {
                response.result = ServerResult::DiscoverResult(result);
            }
            let is_answer = matches!(response.result, ServerResult::InitializeResult(_));
            if kind.is_initialize() && !is_answer {
                let shown = preview(text).unwrap_or_default();
                let why = format!("{}: {shown}", lacking(text));
                return unreadable(id, &kind, &why, pending);
            }
            if let ServerResult::CustomResult(CustomResult(result)) = &response.result
                && let Some(why) = answers::wrong(&kind, result)
            {
                return unreadable(id, &kind, &why, pending);
            }
            pending.answered(&id);
            response.id = id;
            Incoming::Message(ServerJsonRpcMessage::Response(response), mark)
        }
        ServerJsonRpcMessage::Error(mut error) => {
            let waiting = match &error.id {
                Some(id) => pending.named(id).map(|(id, _)| id),
                None => expected.cloned().or_else(|| pending.only()),
            };
            match (waiting, &error.id) {
                (Some(id), _) => {
                    pending.answered(&id);
                    error.id = Some(id);
                }
                // The caller may know the request for which it is.
                (None, None) => {}
                (None, Some(id)) => {
                    let what = rejection(&error.error);
                    return Incoming::Noise(format!(
                        "an error for no request of ours ({id}): {what}"
                    ));
                }
            }
            Incoming::Message(ServerJsonRpcMessage::Error(error), mark)
        }
        ServerJsonRpcMessage::Notification(notification) => {
            if let ServerNotification::ProgressNotification(told) = &notification.notification {
                pending.progressed(&told.params);
            }
            pending.notices.hear(&notification.notification);
            Incoming::Message(ServerJsonRpcMessage::Notification(notification), mark)
        }
        request @ ServerJsonRpcMessage::Request(_) => Incoming::Message(request, mark),
    }
}

/// The request that a JSON object answers although it is not a message, and the reason why it
/// is not.
fn broken(
    object: &Map<String, Value>,
    pending: &Pending,
    expected: Option<&RequestId>,
) -> Option<(RequestId, Kind, String)> {
    if object.contains_key("method") {
        return None;
    }
    let id = match object.get("id") {
        Some(Value::String(text)) => Some(RequestId::String(text.as_str().into())),
        Some(Value::Number(number)) => {
            Skeleton::of(format!("{{\"id\":{number}}}").as_bytes()).answers().next().cloned()
        }
        _ => None,
    };
    if let Some(id) = id {
        let (id, kind) = pending.named(&id)?;
        return Some((id, kind, wrong_in(object)));
    }
    // A line of a log may have a "result" as well.
    let is_answer = object.contains_key("jsonrpc")
        && (object.contains_key("result") || object.contains_key("error"));
    let (id, kind) = pending.named(&expected.cloned().or_else(|| pending.only())?)?;
    let why = match object.get("id") {
        None => r#"it has no "id""#.to_owned(),
        Some(id) => format!(r#"its "id" is {id}"#),
    };
    is_answer.then_some((id, kind, why))
}

/// The fault of an answer that is well-formed JSON.
fn wrong_in(object: &Map<String, Value>) -> String {
    match object.get("jsonrpc") {
        None => return r#"it has no "jsonrpc""#.into(),
        Some(version) if version != "2.0" => {
            return format!(r#"its "jsonrpc" is {version} and not "2.0""#);
        }
        Some(_) => {}
    }
    match (object.get("result"), object.get("error")) {
        (None, None) => r#"it has neither "result" nor "error""#.into(),
        (Some(_), Some(Value::Null)) => r#"it has "error": null beside "result""#.into(),
        (Some(_), Some(_)) => r#"it has both "result" and "error""#.into(),
        (None, Some(Value::Object(error))) => match (error.get("code"), error.get("message")) {
            (None, _) => r#"its "error" has no "code""#.into(),
            (_, None) => r#"its "error" has no "message""#.into(),
            (Some(code), _)
                if code.as_i64().and_then(|code| i32::try_from(code).ok()).is_none() =>
            {
                r#"the "code" of its "error" is no whole number of 32 bits"#.into()
            }
            _ => r#"the "message" of its "error" is no text"#.into(),
        },
        (None, Some(Value::Null)) => r#"its "error" is null"#.into(),
        (None, Some(_)) => r#"its "error" is no object"#.into(),
        (Some(_), None) => r#"its "result" or its "id" has the wrong shape"#.into(),
    }
}

/// The parts that an answer to `initialize` lacks.
fn lacking(text: &[u8]) -> String {
    let answer: Value = serde_json::from_slice(text).unwrap_or_default();
    let result = &answer["result"];
    let is_text: fn(&Value) -> bool = Value::is_string;
    let is_object: fn(&Value) -> bool = Value::is_object;
    for (field, value, is_right) in [
        ("protocolVersion", &result["protocolVersion"], is_text),
        ("capabilities", &result["capabilities"], is_object),
        ("serverInfo", &result["serverInfo"], is_object),
        ("serverInfo.name", &result["serverInfo"]["name"], is_text),
        ("serverInfo.version", &result["serverInfo"]["version"], is_text),
    ] {
        if value.is_null() {
            return format!("it has no {field:?}");
        }
        if !is_right(value) {
            return format!("its {field:?} has the wrong shape");
        }
    }
    fault::<InitializeResult>(result)
        .unwrap_or_else(|| r#"its "result" has the wrong shape"#.into())
}

/// The text as Unicode: bytes that are not UTF-8, and escapes of a lone surrogate, become U+FFFD.
fn mended(text: &[u8]) -> Cow<'_, str> {
    let text = String::from_utf8_lossy(text);
    match without_lone_surrogates(&text) {
        Some(mended) => Cow::Owned(mended),
        None => text,
    }
}

/// The text with every escaped surrogate without a partner replaced; `None` if there is none.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let escape = |at: usize| {
        let digits = text.get(at..at + 6)?.strip_prefix("\\u")?;
        u16::from_str_radix(digits, 16).ok()
    };
    let mut mended: Option<String> = None;
    let mut copied = 0;
    let mut at = 0;
    while let Some(found) = text[at..].find('\\') {
        at += found;
        match (escape(at), escape(at + 6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => at += 12,
            (Some(0xD800..=0xDFFF), _) => {
                let mended = mended.get_or_insert_default();
                mended.push_str(&text[copied..at]);
                mended.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            (Some(_), _) => at += 6,
            // The escaped character is ASCII in JSON; in another text it may be longer.
            (None, _) => at += 1 + text[at + 1..].chars().next().map_or(0, char::len_utf8),
        }
    }
    let mut mended = mended?;
    mended.push_str(&text[copied..]);
    Some(mended)
}

#[cfg(test)]
mod tests {
    use rmcp::model::{CallToolRequestParams, ClientJsonRpcMessage, ClientRequest};
    use serde_json::json;

    use super::*;

    /// A request with `id`, as it is sent.
    fn request(method: &str, id: i64) -> ClientJsonRpcMessage {
        let params = match method {
            "initialize" => json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "test", "version": "1"},
            }),
            _ => json!({"name": "echo"}),
        };
        let request = json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params});
        serde_json::from_value(request).expect("a request")
    }

    fn waiting(method: &str, id: i64) -> Pending {
        let pending = Pending::default();
        pending.sent(&request(method, id));
        pending
    }

    /// The only result of reading a text.
    fn read_one(text: &[u8], pending: &Pending, expected: Option<&RequestId>) -> Incoming {
        let mut all = read(text, pending, expected);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    /// The result of the one waiting request, `tools/call` with the id 3.
    fn told(text: &[u8]) -> Result<String, String> {
        let pending = waiting("tools/call", 3);
        match read_one(text, &pending, None) {
            Incoming::Message(ServerJsonRpcMessage::Response(response), _) => {
                assert_eq!(response.id, RequestId::Number(3));
                Ok(serde_json::to_string(&response.result).expect("JSON"))
            }
            Incoming::Message(ServerJsonRpcMessage::Error(error), _) => {
                assert_eq!(error.id, Some(RequestId::Number(3)));
                assert_eq!(pending.only(), None, "it waits no more");
                let fault = undelivered::fault(&error.error);
                Err(fault.map_or_else(|| rejection(&error.error), |fault| fault.to_string()))
            }
            Incoming::Message(..) => panic!("no answer"),
            Incoming::Noise(what) => {
                assert_eq!(pending.only(), Some(RequestId::Number(3)), "it still waits");
                Err(what)
            }
        }
    }

    #[test]
    fn the_requests_of_the_tests_are_of_their_kinds() {
        let ClientJsonRpcMessage::Request(call) = request("tools/call", 3) else { panic!() };
        assert!(matches!(call.request, ClientRequest::CallToolRequest(_)));
        let _ = CallToolRequestParams::new("echo");
        assert!(Kind::of(&request("initialize", 1)).is_initialize());
    }

    #[test]
    fn a_broken_answer_fails_its_request_and_says_why() {
        for (text, why) in [
            (r#"{"id":3,"result":{}}"#, r#"it has no "jsonrpc""#),
            (r#"{"jsonrpc":"1.0","id":3,"result":{}}"#, r#"its "jsonrpc" is "1.0""#),
            (r#"{"jsonrpc":2.0,"id":3,"result":{}}"#, r#"its "jsonrpc" is 2.0"#),
            (r#"{"jsonrpc":"2.0","id":3}"#, r#"neither "result" nor "error""#),
            (r#"{"jsonrpc":"2.0","id":3,"error":null}"#, r#"its "error" is null"#),
            (r#"{"jsonrpc":"2.0","id":3,"error":null,"result":{}}"#, r#""error": null beside"#),
            (r#"{"jsonrpc":"2.0","id":3,"error":{"message":"m"},"result":{}}"#, "it has both"),
            (r#"{"jsonrpc":"2.0","id":3,"error":"no"}"#, r#"its "error" is no object"#),
            (r#"{"jsonrpc":"2.0","id":3,"error":{"message":"m"}}"#, r#"has no "code""#),
            (r#"{"jsonrpc":"2.0","id":3,"error":{"code":1}}"#, r#"has no "message""#),
            (r#"{"jsonrpc":"2.0","id":3,"error":{"code":"E","message":"m"}}"#, "no whole number"),
            (r#"{"jsonrpc":"2.0","id":3.0,"result":{"content":[]}"#, "EOF while parsing"),
            (r#"{"jsonrpc":"2.0","id":3,"result":{"content":["#, "EOF while parsing"),
            (r#"{"jsonrpc":"2.0","id":3,"result":NaN}"#, "expected value"),
            (r#"{"jsonrpc":"2.0","id":3,"result":null}"#, "it is null, not an object"),
            (r#"{"jsonrpc":"2.0","id":3,"result":{}}"#, r#"has none of "content", "structured"#),
            (r#"{"jsonrpc":"2.0","id":3,"result":{"content":"text"}}"#, "`content`: invalid type"),
            (r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text"}]}}"#, "`content[0]`"),
            (r#"{"result":{"content":[,]},"jsonrpc":"2.0","id":"3"}"#, "expected value"),
            (r#"{"jsonrpc":"2.0","id":3,"error":{"code":1e99,"message":"m"}}"#, "of 32 bits"),
            (r#"{"jsonrpc":"2.0","id":null,"result":{"content":[]}}"#, r#"its "id" is null"#),
            (r#"{"jsonrpc":"2.0","id":true,"result":{"content":[]}}"#, r#"its "id" is true"#),
            (r#"{"jsonrpc":"2.0","id":3.5,"result":{"content":[]}}"#, r#"its "id" is 3.5"#),
            (r#"{"jsonrpc":"2.0","result":{"content":[]}}"#, r#"it has no "id""#),
            (r#"{"jsonrpc":"2.0","error":null}"#, r#"it has no "id""#),
            (r#"[{"jsonrpc":"2.0","id":3,"result":NaN}]"#, "expected value"),
            (r#"[info] {"jsonrpc":"2.0","id":3,"result":{}}"#, "expected"),
            ("\x1b[2K{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}", "expected value"),
            (r#"{"jsonrpc":"2.0","method":"m"}{"jsonrpc":"2.0","id":3,"result":{}}"#, "trailing"),
        ] {
            let told = told(text.as_bytes()).expect_err(text);
            assert!(
                told.starts_with("the answer to tools/call cannot be read: "),
                "{text}: {told}"
            );
            assert!(told.contains(why), "{text}: {told}");
        }
    }

    #[test]
    fn what_is_no_answer_is_noise() {
        for text in [
            "Listening on port 80",
            r#"{"level":"info","msg":"up"}"#,
            r#"{"id":4,"result":{}}"#,
            r#"{"level":"info","result":"up"}"#,
            r#"{"jsonrpc":"2.0","id":null}"#,
            r#"{"jsonrpc":"2.0","id":3,"method":7}"#,
            "[1,2]",
            "[]",
            "3",
        ] {
            let told = told(text.as_bytes()).expect_err(text);
            assert!(told.starts_with("not a message: "), "{text}: {told}");
        }
        let foreign = r#"{"jsonrpc":"2.0","id":9,"error":{"code":1,"message":"m"}}"#;
        assert_eq!(
            told(foreign.as_bytes()),
            Err("an error for no request of ours (9): m (code 1)".into())
        );
        let late = br#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
        assert_eq!(told(late), Err("an answer to no waiting request (9)".into()));
        assert!(read(b" \r\n", &waiting("tools/call", 3), None).is_empty());
    }

    #[test]
    fn every_message_of_a_batch_is_read() {
        let pending = waiting("tools/call", 3);
        pending.sent(&request("tools/call", 4));
        pending.sent(&request("tools/call", 5));
        let text = br#"[
            {"jsonrpc":"2.0","method":"notifications/tools/list_changed"},
            {"jsonrpc":"2.0","id":4,"result":{"structuredContent":"\ud800"}},
            {"jsonrpc":"2.0","id":3,"error":null},
            {"jsonrpc":"2.0","id":77,"result":{}}
        ]"#;
        let all = read(text, &pending, None);
        let [Incoming::Message(..), answer, broken, Incoming::Noise(_)] = &all[..] else {
            panic!("{all:?}")
        };
        let Incoming::Message(ServerJsonRpcMessage::Response(answer), _) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(answer.id, RequestId::Number(4));
        assert!(matches!(broken, Incoming::Message(ServerJsonRpcMessage::Error(_), _)));
        assert_eq!(pending.only(), Some(RequestId::Number(5)));
    }

    #[test]
    fn text_that_is_not_unicode_is_delivered_with_its_place_marked() {
        for text in [
            &b"{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"structuredContent\":\"a\xff\xfeb\"}}"[..],
            br#"{"jsonrpc":"2.0","id":3,"result":{"structuredContent":"a\ud800b"}}"#,
            br#"{"jsonrpc":"2.0","id":3,"result":{"structuredContent":"a\uDC00\ud800b"}}"#,
        ] {
            let shown = String::from_utf8_lossy(text);
            let told = told(text).expect(&shown);
            assert!(told.contains("\u{fffd}"), "{shown}: {told}");
        }
        let paired =
            br#"{"jsonrpc":"2.0","id":3,"result":{"structuredContent":"\\ud800 \ud83d\ude00"}}"#;
        assert!(told(paired).is_ok_and(|told| told.contains("\\\\ud800 \u{1f600}")));
    }

    #[test]
    fn a_mark_before_a_text_is_no_part_of_it() {
        let text =
            b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{\"structuredContent\":17}}\r\n";
        assert!(told(text).is_ok_and(|told| told.contains("17")));
    }

    #[test]
    fn an_error_without_an_id_is_for_the_only_request() {
        let text = br#"{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"what?"}}"#;
        assert_eq!(told(text), Err("what? (code -32700)".into()));
        let pending = waiting("tools/call", 3);
        pending.sent(&request("tools/call", 4));
        let unknown = read_one(text, &pending, None);
        assert!(
            matches!(unknown, Incoming::Message(ServerJsonRpcMessage::Error(it), _) if it.id.is_none())
        );
        let known = read_one(text, &pending, Some(&RequestId::Number(4)));
        assert!(matches!(known, Incoming::Message(..)));
        assert_eq!(pending.only(), Some(RequestId::Number(3)));
    }

    #[test]
    fn what_initialize_lacks_is_named() {
        let whole = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "serverInfo": {"name": "s", "version": "1"},
        });
        let mut cases = vec![(whole.clone(), None)];
        for field in ["protocolVersion", "capabilities", "serverInfo"] {
            let mut without = whole.clone();
            without.as_object_mut().expect("an object").remove(field);
            cases.push((without, Some(format!("it has no {field:?}"))));
            let mut wrong = whole.clone();
            wrong[field] = json!(7);
            cases.push((wrong, Some(format!("its {field:?} has the wrong shape"))));
        }
        let mut odd = whole.clone();
        odd["capabilities"] = json!({"tools": {"listChanged": "yes"}});
        cases.push((odd, Some("`capabilities.tools.listChanged`: invalid type: string".into())));
        let mut nameless = whole;
        nameless["serverInfo"] = json!({"version": "1"});
        cases.push((nameless, Some("it has no \"serverInfo.name\"".into())));
        for (result, lacks) in cases {
            let text = json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string();
            let told = match read_one(text.as_bytes(), &waiting("initialize", 1), None) {
                Incoming::Message(ServerJsonRpcMessage::Error(error), _) => {
                    undelivered::fault(&error.error).expect("ours").to_string()
                }
                Incoming::Message(..) => String::new(),
                other => panic!("{other:?}"),
            };
            match lacks {
                None => assert_eq!(told, ""),
                Some(lacks) => assert!(told.contains(&lacks), "{text}: {told}"),
            }
        }
    }
}
