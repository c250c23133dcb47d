//! Requests by name: calls, prompts, resources, completions, against the protocol's own server, in both eras.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use moored_mcp::{
    CallError, CallOptions, CompleteArgs, CompleteResult, ComponentKind, PromptResult,
    ResourceResult, ServerParams, SessionGroup, ToolResult,
};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams,
    CompleteResult as Completed, CompletionInfo, ContentBlock, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, ListPromptsResult, ListResourceTemplatesResult,
    ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProgressNotificationParam,
    Prompt, PromptMessage, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceContents, ResourceTemplate, Role, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, Value, json};

use crate::real_server::LEGACY;
use crate::support::http::{End, Reply, Request, Server, legacy};
use crate::support::real::serve;
use crate::support::{at, brisk, brisk_group, fleet_server, shell_server, within_limit};

#[derive(Debug, Clone, Copy)]
struct Library {
    versions: &'static [ProtocolVersion],
}

impl ServerHandler for Library {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder()
                .enable_tools()
                .enable_prompts()
                .enable_resources()
                .enable_completions()
                .build(),
        )
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.versions)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = |name| Tool::new(name, "a tool", Arc::new(Map::new()));
        Ok(ListToolsResult::with_all_items(vec![tool("meta"), tool("count"), tool("wait")]))
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Ok(ListPromptsResult::with_all_items(vec![Prompt::new("ask", None::<String>, None)]))
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new("book:///1", "first")]))
    }

    async fn list_resource_templates(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let page = ResourceTemplate::new("page:///{book}/{page}", "page");
        Ok(ListResourceTemplatesResult::with_all_items(vec![page]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        match &*request.name {
            "count" => {
                let token = context.meta.get_progress_token().expect("a token");
                for step in 1..=3 {
                    let told = ProgressNotificationParam::new(token.clone(), f64::from(step))
                        .with_message(format!("step {step}"));
                    context.peer.notify_progress(told).await.expect("a client that listens");
                }
            }
            "wait" => std::future::pending().await,
            _ => {}
        }
        let word = context.meta.get("word").cloned().unwrap_or_default();
        Ok(CallToolResult::success(vec![ContentBlock::text(word.to_string())]).into())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let args = Value::from(request.arguments.unwrap_or_default()).to_string();
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, args)]).into())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri.ends_with("missing") {
            return Err(ErrorData::resource_not_found("no such page", None));
        }
        let text = ResourceContents::text(format!("the text of {}", request.uri), request.uri);
        Ok(ReadResourceResult::new(vec![text]).into())
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<Completed, ErrorData> {
        let reference = serde_json::to_value(&request.r#ref).expect("JSON");
        let context = serde_json::to_value(&request.context).expect("JSON");
        let values = vec![request.argument.value, reference.to_string(), context.to_string()];
        Ok(Completed::new(CompletionInfo::new(values).expect("few values")))
    }
}

/// A group with the library behind the name `s`, in each era.
async fn in_both_eras<F: Future<Output = ()>>(test: impl Fn(SessionGroup) -> F) {
    within_limit(async {
        for versions in [&**LEGACY, ProtocolVersion::KNOWN_VERSIONS] {
            let server = serve(Library { versions }).await;
            let group = brisk_group();
            group.connect(at("s", &server.url)).await.expect("up");
            test(group.clone()).await;
            assert!(group.close().await.all_well());
        }
    })
    .await;
}

fn options() -> CallOptions {
    CallOptions::default()
}

fn args(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), json!(value))])
}

#[tokio::test]
async fn a_prompt_is_got_by_name_with_its_arguments() {
    in_both_eras(async |group: SessionGroup| {
        let raw = group.get_prompt("s/ask", args("about", "sea"), options()).await;
        let prompt = PromptResult::try_from(raw.expect("an answer")).expect("a prompt");
        assert_eq!(prompt.messages[0]["content"]["text"], r#"{"about":"sea"}"#);
        let unknown = group.get_prompt("s/none", Map::new(), options()).await;
        let Err(CallError::Unknown { kind, name }) = unknown else { panic!("{unknown:?}") };
        assert_eq!((kind, name.as_str()), (ComponentKind::Prompt, "s/none"));
    })
    .await;
}

#[tokio::test]
async fn a_resource_is_read_by_name_by_address_and_by_template() {
    in_both_eras(async |group: SessionGroup| {
        for (what, uri) in [
            ("s/first", "book:///1"),
            ("s/book:///1", "book:///1"),
            ("book:///1", "book:///1"),
            ("page:///1/7", "page:///1/7"),
            ("s/other:///x", "other:///x"),
        ] {
            let raw = group.read_resource(what, options()).await;
            let read = ResourceResult::try_from(raw.expect(what)).expect("a resource");
            assert_eq!(read.contents[0]["text"], format!("the text of {uri}"), "{what}");
        }
        let refused = group.read_resource("page:///1/missing", options()).await;
        let Err(CallError::Rejected { server, message, .. }) = refused else {
            panic!("{refused:?}")
        };
        assert_eq!((server.as_str(), message.as_str()), ("s", "no such page"));
        let unknown = group.read_resource("other:///x", options()).await;
        assert!(matches!(unknown, Err(CallError::Unknown { .. })), "{unknown:?}");
    })
    .await;
}

#[tokio::test]
async fn arguments_of_prompts_and_of_templates_are_completed() {
    in_both_eras(async |group: SessionGroup| {
        let asked = CompleteArgs::new("page", "7").given("book", "1");
        let (prompt, template) = (ComponentKind::Prompt, ComponentKind::ResourceTemplate);
        for (kind, name, reference) in [
            (prompt, "s/ask", json!({"type": "ref/prompt", "name": "ask"})),
            (template, "s/page", json!({"type": "ref/resource", "uri": "page:///{book}/{page}"})),
        ] {
            let raw = group.complete(kind, name, asked.clone(), options()).await;
            let result = CompleteResult::try_from(raw.expect(name)).expect("a completion");
            let [value, about, context] = &result.completion.values[..] else {
                panic!("{result:?}")
            };
            assert_eq!((value.as_str(), about), ("7", &reference.to_string()));
            assert_eq!(context, r#"{"arguments":{"book":"1"}}"#);
        }
        let none = group.complete(ComponentKind::Tool, "s/meta", asked.clone(), options()).await;
        assert!(matches!(none, Err(CallError::UnknownTool(_))), "{none:?}");
    })
    .await;
}

#[tokio::test]
async fn the_meta_of_a_call_reaches_the_server() {
    in_both_eras(async |group: SessionGroup| {
        let meta = options().meta(args("word", "ahoy"));
        let raw = group.call_tool("s/meta", Map::new(), meta).await.expect("an answer");
        assert_eq!(ToolResult::try_from(raw).expect("a result").text(), r#""ahoy""#);
    })
    .await;
}

#[tokio::test]
async fn progress_is_told_in_order_and_before_the_answer() {
    in_both_eras(async |group: SessionGroup| {
        let (telling, told) = std::sync::mpsc::channel();
        let options = options().on_progress(move |step| {
            telling.send((step.progress, step.message.clone())).expect("it is listened to");
        });
        group.call_tool("s/count", Map::new(), options).await.expect("an answer");
        let step = |step: u8| (f64::from(step), Some(format!("step {step}")));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [step(1), step(2), step(3)]);
    })
    .await;
}

#[tokio::test]
async fn a_request_without_an_answer_ends_at_its_limit_and_the_session_stands() {
    in_both_eras(async |group: SessionGroup| {
        let limit = CallOptions::timeout(Duration::from_millis(100));
        let late = group.call_tool("s/wait", Map::new(), limit).await;
        assert!(matches!(late, Err(CallError::TimedOut { .. })), "{late:?}");
        group.read_resource("s/first", options()).await.expect("the session stands");
    })
    .await;
}

/// A server whose answers contain fields that no revision knows.
fn odd(request: &Request) -> Reply {
    let result = match request.rpc.as_str() {
        "initialize" => {
            json!({
                "protocolVersion": "2025-11-25",
                "capabilities": {"tools": {}, "prompts": {}, "resources": {}},
                "serverInfo": {"name": "scripted", "version": "1"},
            })
        }
        "prompts/list" => json!({"prompts": [{"name": "p"}]}),
        "resources/list" => json!({"resources": [{"name": "r", "uri": "r:///1"}]}),
        "tools/call" => call_result(),
        "prompts/get" => json!({"messages": [
            {"role": "user", "content": {"type": "text", "text": "t", "x": 1}, "y": 2}
        ], "z": [3]}),
        "resources/read" => json!({"contents": [{"uri": "r:///1", "text": "t", "x": 1}], "y": {}}),
        "completion/complete" => json!({"completion": {"values": ["v"], "x": 1}, "y": null}),
        _ => return legacy(request),
    };
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": result}))
}

fn call_result() -> Value {
    json!({
        "content": [{"type": "text", "text": "t", "x-unknown": [1, {"a": null}]}],
        "structuredContent": {"n": 12345678901234567890_u64},
        "_meta": {"vendor/k": 1},
        "x-more": {"kept": true},
    })
}

#[tokio::test]
async fn a_result_is_what_the_server_sent_with_every_field() {
    within_limit(async {
        let server = Server::start(odd).await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let call = group.call_tool("s/echo", Map::new(), options()).await;
        assert_eq!(call.expect("an answer"), call_result());
        let prompt = group.get_prompt("s/p", Map::new(), options()).await.expect("an answer");
        assert_eq!((&prompt["z"], &prompt["messages"][0]["y"]), (&json!([3]), &json!(2)));
        let read = group.read_resource("s/r", options()).await.expect("an answer");
        assert_eq!((&read["y"], &read["contents"][0]["x"]), (&json!({}), &json!(1)));
        let args = CompleteArgs::new("a", "v");
        let values = group.complete(ComponentKind::Prompt, "s/p", args, options()).await;
        assert_eq!(
            values.expect("an answer"),
            json!({"completion": {"values": ["v"], "x": 1}, "y": null})
        );
        assert!(group.close().await.all_well());

        let child = shell_server("s", &format!(r#"say '"result":{}'"#, call_result()));
        let group = brisk_group();
        group.connect(child).await.expect("up");
        let call = group.call_tool("s/echo", Map::new(), options()).await;
        assert_eq!(call.expect("an answer"), call_result());
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn an_answer_of_the_wrong_shape_fails_its_request_and_says_where() {
    within_limit(async {
        let server = Server::start(|request: &Request| {
            let result = match request.rpc.as_str() {
                "resources/read" => json!({"contents": [{"text": "no address"}]}),
                "prompts/get" => json!({"messages": "none"}),
                _ => return odd(request),
            };
            Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": result}))
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let read = group.read_resource("s/r", options()).await.expect_err("no address");
        assert!(read.to_string().contains("the answer to resources/read cannot"), "{read}");
        let prompt = group.get_prompt("s/p", Map::new(), options()).await.expect_err("no list");
        assert!(prompt.to_string().contains("`messages`"), "{prompt}");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn progress_starts_the_limit_anew_up_to_the_longest() {
    within_limit(async {
        let steps = |request: &Request, count: usize| {
            let token = &request.params["_meta"]["progressToken"];
            let step = |at: usize| {
                let told = json!({"jsonrpc": "2.0", "method": "notifications/progress",
                    "params": {"progressToken": token, "progress": at}});
                format!("data: {told}\n\n")
            };
            Reply::events((0..count).map(step).collect::<String>(), End::Open)
        };
        let server = Server::start(move |request: &Request| match request.rpc.as_str() {
            "tools/call" => steps(request, 3),
            _ => legacy(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        // The limit of the whole request is reached first, because the limit of each step is far away.
        let limits =
            CallOptions::timeout(Duration::from_secs(20)).longest(Duration::from_millis(300));
        let late = group.call_tool("s/echo", Map::new(), limits).await;
        let Err(CallError::TimedOut { limit, .. }) = late else { panic!("{late:?}") };
        assert_eq!(limit, Duration::from_millis(300));
        assert!(group.close().await.all_well());
    })
    .await;
}

/// A child that reports three steps of a call, `pause` seconds apart, and then answers.
fn stepping(pause: &str) -> ServerParams {
    shell_server(
        "s",
        &format!(
            r#"token=$(printf '%s' "$line" | sed -n 's/.*"progressToken":\([0-9]*\).*/\1/p')
            for step in 1 2 3; do
                sleep {pause}
                printf '{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":%s,"progress":%s,"total":3}}}}\n' "$token" "$step"
            done
            say '"result":{{"content":[]}}'"#
        ),
    )
}

#[tokio::test]
async fn progress_of_a_child_is_told_and_starts_the_limit_anew() {
    within_limit(async {
        let group = brisk_group();
        group.connect(stepping("1")).await.expect("up");
        let (telling, told) = std::sync::mpsc::channel();
        // The call takes three seconds, each step one.
        let limits = CallOptions::timeout(Duration::from_millis(2_500))
            .longest(Duration::MAX)
            .on_progress(move |step| telling.send((step.progress, step.total)).expect("heard"));
        group.call_tool("s/echo", Map::new(), limits).await.expect("an answer");
        let step = |step: u8| (f64::from(step), Some(3.0));
        assert_eq!(told.try_iter().collect::<Vec<_>>(), [step(1), step(2), step(3)]);
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_limit_beyond_the_end_of_time_is_none() {
    within_limit(async {
        let group = brisk_group();
        group.connect(stepping("0")).await.expect("up");
        let endless = CallOptions::timeout(Duration::MAX);
        group.call_tool("s/echo", Map::new(), endless).await.expect("an answer");
        assert!(group.close().await.all_well());

        let max = Duration::MAX;
        let mut options =
            brisk().connect_timeout(max).discover_timeout(max).call_timeout(Some(max));
        options = options.eof_grace(max).term_grace(max).starts(usize::MAX);
        (options.delete_concurrency, options.page_cap) = (usize::MAX, usize::MAX);
        let server = Server::start(legacy).await;
        for params in [stepping("0"), at("s", &server.url)] {
            let group = SessionGroup::start(options.clone());
            group.connect(params).await.expect("up");
            group.call_tool("s/echo", Map::new(), CallOptions::default()).await.expect("an answer");
            let report = group.close().await;
            assert!(report.all_well(), "{report:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dropped_read_tells_the_server() {
    within_limit(async {
        let server = Server::start(|request: &Request| match request.rpc.as_str() {
            "resources/read" => Reply::Hang,
            _ => odd(request),
        })
        .await;
        let group = brisk_group();
        group.connect(at("s", &server.url)).await.expect("up");
        let reading = tokio::spawn({
            let group = group.clone();
            async move { group.read_resource("s/r", CallOptions::default()).await }
        });
        server.asked("POST resources/read").await;
        reading.abort();
        server.asked("POST notifications/cancelled").await;
        group.call_tool("s/echo", Map::new(), options()).await.expect("the session stands");
        assert!(group.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn a_child_is_asked_for_all_of_it_and_its_end_is_the_cause() {
    within_limit(async {
        let group = brisk_group();
        let flags = ["--exit-code", "7", "--exit-at", "call"];
        group.connect(fleet_server("s", &flags)).await.expect("up");
        let prompt = group.get_prompt("s/greeting", Map::new(), options()).await;
        assert!(prompt.expect("an answer")["messages"].is_array());
        let read = group.read_resource("fleet://about", options()).await.expect("an answer");
        assert_eq!(read["contents"][0]["uri"], "fleet://about");
        let gone = group.call_tool("s/echo", Map::new(), options()).await;
        assert!(matches!(gone, Err(CallError::ServerGone { .. })), "{gone:?}");
        for gone in [
            group.read_resource("s/about", options()).await,
            group.get_prompt("s/greeting", Map::new(), options()).await,
        ] {
            let Err(CallError::ServerGone { report, .. }) = gone else { panic!("{gone:?}") };
            assert!(report.message.contains("status 7"), "{report:?}");
        }
        group.close().await;
    })
    .await;
}
