//! Servers of the newer era that ask for input before they answer, over both transports.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use moored_mcp::{
    CallError, CallOptions, Callbacks, ElicitAnswer, RequestError, Root, Roots, SampleAnswer,
    ServerMessage, ServerParams, SessionGroup, Tag, ToolResult,
};
use rmcp::model::ProtocolVersion;
use serde_json::{Map, Value, json};
use tokio::sync::{Notify, mpsc};

use crate::support::asker::Asker;
use crate::support::real::{Serving, serve};
use crate::support::{at, brisk, shell_server_with, within_limit};

async fn asker() -> (Serving, mpsc::UnboundedReceiver<Value>) {
    let (heard, hears) = mpsc::unbounded_channel();
    (serve(Asker { versions: ProtocolVersion::KNOWN_VERSIONS, heard }).await, hears)
}

fn args(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

fn wanted() -> Value {
    json!({
        "form": {"method": "elicitation/create", "params": {"message": "who?", "requestedSchema": {"type": "object", "properties": {}}}},
        "model": {"method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 1}},
        "places": {"method": "roots/list"},
    })
}

fn all() -> Callbacks {
    Callbacks::new()
        .roots(Roots::new([Root::new("file:///a")]))
        .on_elicitation(async |_| Ok(ElicitAnswer::Accept(args(json!({"name": "ada"})))))
        .on_sampling(async |_| Ok(SampleAnswer::text("m", "t")))
}

/// A child of the newer era. It answers a call with `first`, and a call with the state `s-1` with the whole request.
fn modern_child(first: &Value) -> ServerParams {
    let before = r#"
    *'"method":"server/discover"'*) say '"result":{"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":0,"cacheScope":"private"}' ;;
    *'"requestState":"s-1"'*) say "\"result\":{\"resultType\":\"complete\",\"content\":[],\"structuredContent\":$line}" ;;"#;
    shell_server_with("s", before, &format!("say '\"result\":{first}'"))
}

#[tokio::test]
async fn the_callbacks_answer_and_the_call_is_sent_again() {
    within_limit(async {
        let (server, _hears) = asker().await;
        let group = SessionGroup::start(brisk().callbacks(all()));
        group.connect(at("s", &server.url)).await.expect("up");
        let call = args(json!({"wanted": wanted(), "rounds": 3}));
        let answer = group.call_tool("s/ask", call, CallOptions::default()).await;
        let got = &answer.expect("an answer")["structuredContent"];
        assert_eq!(got["round"], 3);
        assert_eq!(got["responses"]["form"], json!({"action": "accept", "content": {"name": "ada"}}));
        assert_eq!(got["responses"]["model"]["content"]["text"], "t");
        assert_eq!(got["responses"]["places"], json!({"roots": [{"uri": "file:///a"}]}));
        assert!(group.close().await.all_well());

        let first = json!({"resultType": "input_required", "requestState": "s-1", "inputRequests": wanted()});
        let group = SessionGroup::start(brisk().callbacks(all()));
        group.connect(modern_child(&first)).await.expect("up");
        let answer = group.call_tool("s/echo", args(json!({"a": 1})), CallOptions::default()).await;
        let sent = &answer.expect("an answer")["structuredContent"]["params"];
        assert_eq!(sent["arguments"], json!({"a": 1}), "the same call");
        assert_eq!(sent["inputResponses"]["model"]["model"], "m");
        let capabilities = &sent["_meta"]["io.modelcontextprotocol/clientCapabilities"];
        assert_eq!(capabilities["elicitation"], json!({"form": {}}), "{sent}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn without_a_callback_for_all_of_it_the_answer_is_the_result_and_the_caller_goes_on() {
    within_limit(async {
        let some = Callbacks::new().on_elicitation(async |_| panic!("it is not asked in part"));
        for callbacks in [Callbacks::new(), some] {
            let (server, _hears) = asker().await;
            let group = SessionGroup::start(brisk().callbacks(callbacks));
            group.connect(at("s", &server.url)).await.expect("up");
            let call = args(json!({"wanted": wanted()}));
            let first = group.call_tool("s/ask", call.clone(), CallOptions::default()).await;
            let first = ToolResult::try_from(first.expect("an answer")).expect("a result");
            assert!(first.needs_input());
            assert_eq!(first.more["inputRequests"]["places"]["method"], "roots/list");
            let state = first.more["requestState"].as_str().expect("a state");
            let own = args(json!({"form": {"action": "cancel"}, "x": 1}));
            let options = CallOptions::default().input_responses(own.clone()).request_state(state);
            let second = group.call_tool("s/ask", call, options).await.expect("an answer");
            assert_eq!(second["structuredContent"]["responses"], Value::Object(own));
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

#[tokio::test]
async fn no_rounds_is_a_raw_answer_whatever_is_registered() {
    within_limit(async {
        let (server, _hears) = asker().await;
        let group = SessionGroup::start(brisk().callbacks(all()));
        group.connect(at("s", &server.url)).await.expect("up");
        let call = args(json!({"wanted": wanted()}));
        let raw = group.call_tool("s/ask", call, CallOptions::default().rounds(0)).await;
        assert_eq!(raw.expect("an answer")["resultType"], "input_required");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_server_that_asks_without_end_is_cut_off() {
    within_limit(async {
        let (server, _hears) = asker().await;
        let asked = Arc::new(AtomicUsize::new(0));
        let counting = asked.clone();
        let callbacks = all().on_elicitation(move |_| {
            counting.fetch_add(1, Ordering::Relaxed);
            async { Ok(ElicitAnswer::Decline) }
        });
        let group = SessionGroup::start(brisk().callbacks(callbacks));
        group.connect(at("s", &server.url)).await.expect("up");
        let call = args(json!({"wanted": wanted(), "rounds": 1_000}));
        let cut = group.call_tool("s/ask", call.clone(), CallOptions::default().rounds(2)).await;
        let Err(CallError::Failed { report, .. }) = cut else { panic!("{cut:?}") };
        assert_eq!(report.message, "the server asked for more input in 3 answers in a row");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
        // A state without requests is sent back after a pause, once for each round.
        let call = args(json!({"wanted": null, "rounds": 2}));
        let answer = group.call_tool("s/ask", call, CallOptions::default()).await;
        assert_eq!(answer.expect("an answer")["structuredContent"]["round"], 2);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_callback_without_an_answer_fails_the_call_and_is_its_cause() {
    within_limit(async {
        let refused = RequestError::new(RequestError::REJECTED_BY_USER, "not today");
        let refusing = all().on_sampling(move |_| std::future::ready(Err(refused.clone())));
        let panicking = all().on_sampling(async |_| panic!("at sea"));
        for (callbacks, cause) in [
            (refusing, "not today (code -1)"),
            (panicking, "the callback for sampling/createMessage panicked (code -32603)"),
        ] {
            let (server, _hears) = asker().await;
            let group = SessionGroup::start(brisk().callbacks(callbacks));
            group.connect(at("s", &server.url)).await.expect("up");
            let call = args(json!({"wanted": wanted()}));
            let failed = group.call_tool("s/ask", call, CallOptions::default()).await;
            let Err(CallError::Failed { report, .. }) = failed else { panic!("{failed:?}") };
            let said = "the server asked for sampling/createMessage before it answers";
            assert_eq!(report.chain, [said, cause]);
            group.call_tool("s/ask", Map::new(), CallOptions::default()).await.expect("it stands");
            assert!(group.close().await.clean);
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_call_cancels_the_callbacks_and_a_limit_of_the_whole_holds() {
    within_limit(async {
        let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let callbacks = Callbacks::new().on_request("roots/list", {
            let (begun, dropped) = (begun.clone(), dropped.clone());
            move |asked: ServerMessage| {
                assert_eq!(asked.tag.as_ref().and_then(Tag::get::<u8>), Some(&9), "its call");
                let (begun, dropped) = (begun.clone(), dropped.clone());
                async move {
                    struct Tell(Arc<Notify>);
                    impl Drop for Tell {
                        fn drop(&mut self) {
                            self.0.notify_one();
                        }
                    }
                    let _tell = Tell(dropped);
                    begun.notify_one();
                    std::future::pending().await
                }
            }
        });
        let (server, _hears) = asker().await;
        let group = SessionGroup::start(brisk().callbacks(callbacks));
        group.connect(at("s", &server.url)).await.expect("up");
        let call = args(json!({"wanted": {"places": {"method": "roots/list"}}}));
        let options = CallOptions::default().tag(Tag::new(9_u8));
        let calling = tokio::spawn({
            let (group, call, options) = (group.clone(), call.clone(), options.clone());
            async move { group.call_tool("s/ask", call, options).await }
        });
        begun.notified().await;
        calling.abort();
        dropped.notified().await;
        // The limit between two signs of life is for the server. The time that the user takes does not count.
        let mut options = options.longest(Duration::from_millis(200));
        options.timeout = Some(Duration::from_millis(150));
        let late = group.call_tool("s/ask", call, options).await;
        let Err(CallError::TimedOut { limit, .. }) = late else { panic!("{late:?}") };
        assert_eq!(limit, Duration::from_millis(200));
        dropped.notified().await;
        assert!(group.close().await.all_well());
    })
    .await;
}
