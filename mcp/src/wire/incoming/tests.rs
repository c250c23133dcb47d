//! The messages that are read from a text.

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
        "server/discover" => json!({"_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "test", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {},
        }}),
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
        Incoming::Message(..) | Incoming::Unplaced(..) => panic!("no answer"),
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
        (r#"{"jsonrpc":"2.0","id":3,"method":null,"error":null,"result":{}}"#, "beside"),
        ("\x1b[2K{\"jsonrpc\":\"2.0\",\"id\":3,\"result\":{}}", "expected value"),
        (r#"{"jsonrpc":"2.0","method":"m"}{"jsonrpc":"2.0","id":3,"result":{}}"#, "trailing"),
    ] {
        let told = told(text.as_bytes()).expect_err(text);
        assert!(told.starts_with("the answer to tools/call cannot be read: "), "{text}: {told}");
        assert!(told.contains(why), "{text}: {told}");
    }
}

/// A line of a log may show the answer that comes next; or a banner without a line break stands before the answer.
#[test]
fn an_answer_behind_other_text_is_doubtful() {
    for before in
        ["[info] ", "DEBUG sending ", "\x1b[32mINFO\x1b[0m sent: ", "Listening...", "[", "\x1b"]
    {
        let text = format!(r#"{before}{{"jsonrpc":"2.0","id":3,"result":{{}}}}"#);
        let pending = waiting("tools/call", 3);
        let Incoming::Unplaced(doubtful) = read_one(text.as_bytes(), &pending, None) else {
            assert_eq!(before, "[", "a list that breaks off");
            continue;
        };
        assert_eq!(doubtful.doubt, Doubt::BehindText, "{text}");
        assert_eq!(doubtful.request, RequestId::Number(3));
        assert!(doubtful.what.starts_with("not a message: "), "{}", doubtful.what);
        let fault = undelivered::fault(&doubtful.error).expect("ours").to_string();
        assert!(fault.starts_with("the answer to tools/call cannot be read: expected"), "{fault}");
        assert_eq!(pending.only(), Some(RequestId::Number(3)), "it still waits");
    }
}

#[test]
fn what_is_no_answer_is_noise() {
    for text in [
        "Listening on port 80",
        r#"{"level":"info","msg":"up"}"#,
        r#"{"id":4,"result":{}}"#,
        r#"{"level":"info","result":"up"}"#,
        // The ids of a log are not ours.
        r#"{"level":30,"id":3,"msg":"request"}"#,
        r#"received {"id":3,"name":"x"}"#,
        r#"> {"jsonrpc":"2.0","id":3,"method":"tools/call"}"#,
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
        Err("an error with the id 9, which was never asked: m (code 1)".into())
    );
    let late = br#"{"jsonrpc":"2.0","id":9,"result":{}}"#;
    assert_eq!(told(late), Err("an answer with the id 9, which was never asked".into()));
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
    // Or for a notification, until the server has answered a later request.
    let pending = waiting("tools/call", 3);
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    pending.sent(&serde_json::from_str(notification).expect("a notification"));
    let Incoming::Unplaced(doubtful) = read_one(text, &pending, None) else { panic!() };
    assert_eq!(doubtful.request, RequestId::Number(3));
    assert!(pending.answered(&RequestId::Number(3)) && pending.has_told());
    pending.sent(&request("tools/call", 4));
    assert!(pending.answered(&RequestId::Number(4)) && !pending.has_told());
    let pending = waiting("tools/call", 3);
    pending.sent(&request("tools/call", 4));
    let unknown = read_one(text, &pending, None);
    let Incoming::Noise(what) = unknown else { panic!("{unknown:?}") };
    assert_eq!(what, "an error without an id: what? (code -32700)");
    let opening = waiting("initialize", 1);
    opening.sent(&request("initialize", 2));
    let either = read_one(text, &opening, None);
    assert!(
        matches!(either, Incoming::Message(ServerJsonRpcMessage::Error(it), _) if it.id.is_none())
    );
    let known = read_one(text, &pending, Some(&RequestId::Number(4)));
    assert!(matches!(known, Incoming::Message(..)));
    assert_eq!(pending.only(), Some(RequestId::Number(3)));
}

#[test]
fn a_result_without_an_id_is_for_the_only_request_or_for_a_notification() {
    let notification = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
    let notification = serde_json::from_str(notification).expect("a notification");
    for (text, why) in [
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, r#"its "id" is null"#),
        (r#"{"jsonrpc":"2.0","id":null,"result":null}"#, r#"its "id" is null"#),
        (r#"{"jsonrpc":"2.0","result":{}}"#, r#"it has no "id""#),
        (r#"{"jsonrpc":"2.0","error":null,"result":{}}"#, r#"it has no "id""#),
    ] {
        assert!(told(text.as_bytes()).expect_err(text).contains(why), "{text}");
        let pending = waiting("tools/call", 3);
        pending.sent(&notification);
        let Incoming::Unplaced(doubtful) = read_one(text.as_bytes(), &pending, None) else {
            panic!("{text}")
        };
        assert_eq!(doubtful.request, RequestId::Number(3));
        assert_eq!(doubtful.what, format!("an answer to nothing: {why}: {text}"));
        let fault = undelivered::fault(&doubtful.error).expect("ours").to_string();
        assert_eq!(fault, format!("the answer to tools/call cannot be read: {why}: {text}"));
        assert_eq!(pending.only(), Some(RequestId::Number(3)), "it still waits");
        // In the answer to a request there is no doubt.
        let known = read_one(text.as_bytes(), &pending, Some(&RequestId::Number(3)));
        assert!(matches!(known, Incoming::Message(..)), "{text}: {known:?}");
    }
    // An id that is there, though of no type of ids, is not that of an answer to a notification.
    let pending = waiting("tools/call", 3);
    pending.sent(&notification);
    let text = br#"{"jsonrpc":"2.0","id":true,"result":{}}"#;
    assert!(matches!(read_one(text, &pending, None), Incoming::Message(..)));
}

#[test]
fn a_request_of_ours_that_comes_back_is_noise() {
    for method in ["server/discover", "initialize", "tools/call"] {
        let pending = waiting(method, 3);
        let text = serde_json::to_vec(&request(method, 3)).expect("JSON");
        let Incoming::Noise(what) = read_one(&text, &pending, None) else { panic!("{method}") };
        assert_eq!(what, format!("our own {method}, which comes back"));
        assert_eq!(pending.only(), Some(RequestId::Number(3)), "it still waits");
        // Another id, or another method, and it is the server's own.
        let pending = waiting(method, 4);
        assert!(matches!(read_one(&text, &pending, None), Incoming::Message(..)));
        let pending = waiting("resources/read", 3);
        assert!(matches!(read_one(&text, &pending, None), Incoming::Message(..)));
    }
    // Either side sends that.
    let ping = br#"{"jsonrpc":"2.0","id":3,"method":"ping"}"#;
    assert!(matches!(read_one(ping, &waiting("ping", 3), None), Incoming::Message(..)));
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

#[test]
fn an_answer_that_no_request_waits_for_is_named_by_its_id() {
    let pending = waiting("tools/call", 3);
    pending.sent(&request("tools/call", 4));
    let result = r#""jsonrpc":"2.0","result":{"content":[]}"#;
    for (id, told) in [
        ("7", "an answer with the id 7, which was never asked"),
        ("-1", "an answer with the id -1, which was never asked"),
        (r#""abc""#, "an answer with the id \"abc\", which was never asked"),
        ("1000000000", "an answer with the id 1000000000, which was never asked"),
        ("2", "an answer with the id 2, whose request waits no longer"),
        ("null", "an answer to nothing: its \"id\" is null: {\"id\":null,"),
        ("[1]", "an answer to nothing: its \"id\" is [1]: {\"id\":[1],"),
    ] {
        let read = read_one(format!("{{\"id\":{id},{result}}}").as_bytes(), &pending, None);
        let Incoming::Noise(what) = read else { panic!("{id}: {read:?}") };
        assert!(what.starts_with(told), "{what}");
    }
    let read = read_one(format!("{{\"id\":\"3\",{result}}}").as_bytes(), &pending, None);
    let Incoming::Message(ServerJsonRpcMessage::Response(answer), None) = read else {
        panic!("{read:?}")
    };
    assert_eq!(answer.id, RequestId::Number(3), "the text of an id is that id");
}

#[test]
fn content_of_a_type_that_is_not_known_is_passed_on() {
    for text in [
        r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"text","text":"a"},{"type":"hologram","x":1}]}}"#,
        r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"hologram","x":1}],"isError":true}}"#,
    ] {
        assert!(told(text.as_bytes()).expect("a result").contains(r#""x":1"#), "{text}");
    }
    for (text, why) in [
        (
            r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":"hologram"},{"type":"text"}]}}"#,
            "content[1]",
        ),
        (r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"x":1}]}}"#, "content[0]"),
        (r#"{"jsonrpc":"2.0","id":3,"result":{"content":[{"type":7}]}}"#, "content[0]"),
    ] {
        assert!(told(text.as_bytes()).expect_err(text).contains(why), "{text}");
    }
}

#[test]
fn an_answer_in_a_batch_beside_an_item_that_is_no_object_is_read() {
    for beside in ["null", "7", r#""x""#, "[]"] {
        let pending = waiting("tools/call", 3);
        let text = format!(r#"[{{"jsonrpc":"2.0","id":3,"result":{{"content":[]}}}},{beside}]"#);
        let all = read(text.as_bytes(), &pending, None);
        let [Incoming::Message(..), Incoming::Noise(what)] = &all[..] else { panic!("{all:?}") };
        assert_eq!(*what, format!("not a message: {beside}"));
    }
}

#[test]
fn an_error_without_words_says_so() {
    let text = br#"{"jsonrpc":"2.0","id":3,"error":{"code":0,"message":" "}}"#;
    assert_eq!(told(text), Err("no message (code 0)".into()));
}
