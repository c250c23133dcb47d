//! Sessions without a network: messages are put into the service's side, and read as events.

use futures_util::{FutureExt, StreamExt};
use serde_json::{Value, json};

use super::*;

fn client(message: Value) -> ClientJsonRpcMessage {
    serde_json::from_value(message).expect("a message of a client")
}

fn server(message: Value) -> ServerJsonRpcMessage {
    serde_json::from_value(message).expect("a message of a server")
}

fn call(id: u64) -> ClientJsonRpcMessage {
    client(json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params":
        {"name": "t", "_meta": {"progressToken": id}}}))
}

fn answer(id: u64) -> ServerJsonRpcMessage {
    server(json!({"jsonrpc": "2.0", "id": id, "result": {}}))
}

fn progress(token: u64, step: u64) -> ServerJsonRpcMessage {
    server(json!({"jsonrpc": "2.0", "method": "notifications/progress", "params":
        {"progressToken": token, "progress": step}}))
}

fn changed() -> ServerJsonRpcMessage {
    server(json!({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}))
}

fn ask(streams: &Streams, id: u64) -> Reader {
    streams.ask(call(id)).now_or_never().expect("there is room").expect("the session is open")
}

fn put(wire: &mut Wire, message: ServerJsonRpcMessage) {
    wire.send(message).now_or_never().expect("ready").expect("infallible");
}

fn kept(streams: &Streams, last: &str) -> Reader {
    match streams.resume(last) {
        Rest::Kept(reader) => reader,
        other => panic!("{last}: {other:?}"),
    }
}

/// The events that can be read now: the id of each, and its message. `true` if the stream has ended.
fn read(reader: &mut Reader) -> (Vec<(String, Value)>, bool) {
    let mut events = Vec::new();
    loop {
        match reader.next().now_or_never() {
            None => return (events, false),
            Some(None) => return (events, true),
            Some(Some(event)) => {
                let message = event.message.map(|it| serde_json::to_value(&*it).expect("JSON"));
                events.push((event.event_id.expect("an id"), message.unwrap_or_default()));
            }
        }
    }
}

/// As [`read`], with the ids only.
fn ids(reader: &mut Reader) -> (Vec<String>, bool) {
    let (events, is_over) = read(reader);
    (events.into_iter().map(|(id, _)| id).collect(), is_over)
}

#[test]
fn each_message_goes_to_the_stream_of_its_request() {
    let (streams, mut wire) = pair();
    let (mut one, mut two, mut common) = (ask(&streams, 1), ask(&streams, 2), streams.common());
    put(&mut wire, progress(2, 1));
    put(&mut wire, changed());
    put(&mut wire, answer(1));
    assert_eq!(ids(&mut one), (vec!["1/0".into(), "1/1".into()], true));
    assert_eq!(ids(&mut two), (vec!["2/0".into(), "2/1".into()], false));
    assert_eq!(ids(&mut common), (vec!["0/1".into()], false));
    // Progress after the answer belongs to no request.
    put(&mut wire, progress(1, 2));
    assert_eq!(ids(&mut common), (vec!["0/2".into()], false));
}

#[test]
fn a_client_that_lost_its_connection_reads_the_rest_with_the_answer_that_came_meanwhile() {
    let (streams, mut wire) = pair();
    let mut first = ask(&streams, 1);
    put(&mut wire, progress(1, 1));
    put(&mut wire, progress(1, 2));
    assert_eq!(ids(&mut first), (vec!["1/0".into(), "1/1".into(), "1/2".into()], false));
    drop(first);
    put(&mut wire, progress(1, 3));
    put(&mut wire, answer(1));
    for (last, rest) in [("1/0", 4), ("1/1", 3), ("1/2", 2), ("1/4", 0)] {
        let (events, is_over) = read(&mut kept(&streams, last));
        assert_eq!((events.len(), is_over), (rest, true), "{last}");
    }
    for unknown in ["1", "2/0", "x/y", "", "1/", "-1/0", "99999999999999999999/0"] {
        assert!(matches!(streams.resume(unknown), Rest::Unknown), "{unknown}");
    }
}

#[test]
fn a_stream_that_another_connection_reads_ends_and_the_common_one_falls_silent() {
    let (streams, mut wire) = pair();
    let mut first = ask(&streams, 1);
    assert_eq!(ids(&mut first), (vec!["1/0".into()], false));
    let mut second = kept(&streams, "1/0");
    assert_eq!(ids(&mut first), (vec![], true));
    let (mut old, mut new) = (streams.common(), streams.common());
    put(&mut wire, changed());
    put(&mut wire, answer(1));
    assert_eq!(ids(&mut second), (vec!["1/1".into()], true));
    assert_eq!((ids(&mut old), ids(&mut new)), ((vec![], false), (vec!["0/1".into()], false)));
    // The next connection gets what no other one has read.
    put(&mut wire, changed());
    drop(new);
    assert_eq!(ids(&mut streams.common()), (vec!["0/2".into()], false));
    assert_eq!(ids(&mut kept(&streams, "0/0")).0, ["0/1", "0/2"]);
}

#[test]
fn a_stream_that_nobody_reads_is_bounded_and_keeps_questions_and_the_answer() {
    let (streams, mut wire) = pair();
    let mut reader = ask(&streams, 1);
    let question = json!({"jsonrpc": "2.0", "id": 9, "method": "roots/list"});
    let ServerJsonRpcMessage::Request(mut question) = server(question) else { unreachable!() };
    question.request.extensions_mut().insert(OriginatingRequestId(RequestId::Number(1)));
    put(&mut wire, ServerJsonRpcMessage::Request(question));
    for step in 0..10 * EVENTS as u64 {
        put(&mut wire, progress(1, step));
    }
    put(&mut wire, answer(1));
    let (events, is_over) = read(&mut reader);
    // The event without a message comes before them.
    assert_eq!((events.len(), is_over), (EVENTS + 1, true));
    assert_eq!(events[1].1["method"], "roots/list");
    assert!(events[EVENTS].1["result"].is_object());
}

#[test]
fn answers_are_kept_for_a_time_and_in_a_number_and_none_is_lost_to_its_reader() {
    let (streams, mut wire) = pair();
    let many = ANSWERED as u64 + 5;
    let mut readers: Vec<Reader> = (1..=many)
        .map(|id| {
            let reader = ask(&streams, id);
            wire.messages.try_recv().expect("the request");
            reader
        })
        .collect();
    (1..=many).for_each(|id| put(&mut wire, answer(id)));
    for (reader, at) in readers.iter_mut().zip(1..) {
        assert_eq!(ids(reader), (vec![format!("{at}/0"), format!("{at}/1")], true));
    }
    let forgotten = streams.resume("5/0");
    assert!(matches!(forgotten, Rest::Forgotten(RequestId::Number(5))), "{forgotten:?}");
    kept(&streams, &format!("{many}/0"));
    let mut table = streams.table.lock();
    table.forget(Duration::ZERO);
    assert!(table.answered.is_empty() && table.open.is_empty() && table.tokens.is_empty());
}

#[test]
fn a_cancelled_request_has_no_answer_and_the_end_of_the_service_ends_all_streams() {
    let (streams, mut wire) = pair();
    let (mut one, mut two, mut common) = (ask(&streams, 1), ask(&streams, 2), streams.common());
    let cancel = client(
        json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 1}}),
    );
    assert_eq!(streams.tell(cancel).now_or_never(), Some(true));
    assert_eq!(ids(&mut one), (vec!["1/0".into()], true));
    wire.close().now_or_never().expect("ready").expect("infallible");
    assert_eq!(ids(&mut two), (vec!["2/0".into()], true));
    assert_eq!(ids(&mut common), (vec![], true));
    assert!(ids(&mut ask(&streams, 3)).1, "a request that comes too late has no answer");
    drop(wire);
    assert_eq!(streams.ask(call(4)).now_or_never().and_then(Result::err), Some(NotAsked::Over));
}

#[test]
fn a_request_that_comes_after_its_cancellation_is_not_handed_on() {
    let (streams, mut wire) = pair();
    let cancel = |id: i64| {
        client(
            json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}),
        )
    };
    assert_eq!(streams.tell(cancel(1)).now_or_never(), Some(true));
    assert_eq!(
        streams.ask(call(1)).now_or_never().and_then(Result::err),
        Some(NotAsked::TakenBack)
    );
    // A cancellation that comes too late is none of a later request with the same id.
    let mut one = ask(&streams, 1);
    put(&mut wire, server(json!({"jsonrpc": "2.0", "id": 1, "result": {}})));
    assert!(ids(&mut one).1);
    assert_eq!(streams.tell(cancel(1)).now_or_never(), Some(true));
    let _again = ask(&streams, 1);
}

#[test]
fn a_withdrawn_question_is_withdrawn_where_it_was_asked() {
    let (streams, mut wire) = pair();
    let mut reader = ask(&streams, 1);
    for id in [7, 8] {
        let question = json!({"jsonrpc": "2.0", "id": id, "method": "roots/list"});
        let ServerJsonRpcMessage::Request(mut question) = server(question) else { unreachable!() };
        question.request.extensions_mut().insert(OriginatingRequestId(RequestId::Number(1)));
        put(&mut wire, ServerJsonRpcMessage::Request(question));
    }
    let told = client(json!({"jsonrpc": "2.0", "id": 7, "result": {"roots": []}}));
    assert_eq!(streams.tell(told).now_or_never(), Some(true));
    for id in [7, 8] {
        put(
            &mut wire,
            server(
                json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": id}}),
            ),
        );
    }
    let told: Vec<Value> = read(&mut reader)
        .0
        .into_iter()
        .map(|(_, message)| message["params"]["requestId"].clone())
        .collect();
    assert_eq!(told, [Value::Null, Value::Null, Value::Null, 8.into()]);
}

#[test]
fn a_request_with_the_id_of_another_one_is_refused_until_that_one_is_answered() {
    let (streams, mut wire) = pair();
    let _reader = ask(&streams, 1);
    let again = streams.ask(call(1)).now_or_never().expect("there is room");
    assert_eq!(again.err(), Some(NotAsked::IdInUse));
    put(&mut wire, answer(1));
    assert!(streams.ask(call(1)).now_or_never().expect("there is room").is_ok());
}
