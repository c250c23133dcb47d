//! The protocol's own client against the gateway, in both eras and over both transports.

// The protocol deprecates sampling, roots and the log; there are servers and clients that have them.
#![allow(deprecated)]

use std::sync::Arc;

use moored_mcp::Gateway;
use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, ClientConfig, ClientRequest,
    CreateMessageRequestParams, CreateMessageResult, ElicitRequestParams, ElicitResult,
    ElicitationAction, ListRootsResult, LoggingMessageNotificationParam, ProgressNotificationParam,
    ProtocolVersion, ResourceUpdatedNotificationParam, Root, SamplingMessage, ServerResult,
};
use rmcp::service::{
    ClientLifecycleMode, NotificationContext, PeerRequestOptions, RequestContext, RoleClient,
    RunningService, serve_client_with_lifecycle_and_ct,
};
use rmcp::transport::{IntoTransport, StreamableHttpClientTransport};
use rmcp::{ClientHandler, ErrorData};
use serde_json::{Map, Value, json};
use tokio::sync::Notify;

use crate::support::http::{End, Reply, Server, legacy};
use crate::support::{Served, at, come_true, fleet_server, within_limit};

/// The progress of a request, and its text for people.
type Step = (f64, Option<String>);

/// A client that records the notifications that it gets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noting {
    pub(crate) progress: Arc<Mutex<Vec<Step>>>,
    pub(crate) changes: Arc<Notify>,
    /// The log messages: the logger, and its text.
    pub(crate) log: Arc<Mutex<Vec<(String, Value)>>>,
    pub(crate) updated: Arc<Mutex<Vec<String>>>,
}

impl ClientHandler for Noting {
    fn get_info(&self) -> ClientConfig {
        let all = json!({"sampling": {}, "elicitation": {}, "roots": {}});
        let mut config = ClientConfig::default();
        config.capabilities = serde_json::from_value(all).expect("capabilities");
        config
    }

    async fn create_elicitation(
        &self,
        asked: ElicitRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let asked = serde_json::to_value(asked).expect("JSON");
        if asked["message"] == "slow" {
            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        }
        let content = json!({"to": asked["message"]});
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn create_message(
        &self,
        _: CreateMessageRequestParams,
        _: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        Ok(CreateMessageResult::new(SamplingMessage::assistant_text("said"), "model".into()))
    }

    async fn list_roots(
        &self,
        _: RequestContext<RoleClient>,
    ) -> Result<ListRootsResult, ErrorData> {
        Ok(ListRootsResult::new(vec![Root::new("file:///root")]))
    }

    async fn on_logging_message(
        &self,
        told: LoggingMessageNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.log.lock().push((told.logger.unwrap_or_default(), told.data));
    }

    async fn on_resource_updated(
        &self,
        told: ResourceUpdatedNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.updated.lock().push(told.uri);
    }

    async fn on_progress(
        &self,
        told: ProgressNotificationParam,
        _: NotificationContext<RoleClient>,
    ) {
        self.progress.lock().push((told.progress, told.message));
    }

    async fn on_tool_list_changed(&self, _: NotificationContext<RoleClient>) {
        self.changes.notify_one();
    }
}

pub(crate) type Client = RunningService<RoleClient, Noting>;

pub(crate) fn eras() -> [ClientLifecycleMode; 2] {
    let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
    [ClientLifecycleMode::Initialize, ClientLifecycleMode::Discover { preferred_versions }]
}

async fn connect<T, E, A>(transport: T, era: ClientLifecycleMode) -> (Client, Noting)
where
    T: IntoTransport<RoleClient, E, A>,
    E: std::error::Error + Send + Sync + 'static,
{
    let noting = Noting::default();
    let client =
        serve_client_with_lifecycle_and_ct(noting.clone(), transport, era, Default::default());
    (client.await.expect("a connection"), noting)
}

pub(crate) async fn over_http(served: &Served, era: ClientLifecycleMode) -> (Client, Noting) {
    // The client of the tests has no provider of its own.
    #[cfg(feature = "tls")]
    let _installed = rustls::crypto::ring::default_provider().install_default();
    connect(StreamableHttpClientTransport::from_uri(served.url()), era).await
}

pub(crate) async fn over_a_pipe(gateway: &Gateway, era: ClientLifecycleMode) -> (Client, Noting) {
    let (ours, theirs) = tokio::io::duplex(64 * 1024);
    let gateway = gateway.clone();
    tokio::spawn(async move {
        let (input, output) = tokio::io::split(theirs);
        gateway.serve_pipe(input, output).await;
    });
    connect(tokio::io::split(ours), era).await
}

/// A client of each era over each transport.
pub(crate) async fn all(served: &Served) -> Vec<(&'static str, Client, Noting)> {
    let mut all = Vec::new();
    for era in eras() {
        let modern = matches!(era, ClientLifecycleMode::Discover { .. });
        let (client, noting) = over_http(served, era.clone()).await;
        all.push((if modern { "modern, HTTP" } else { "legacy, HTTP" }, client, noting));
        let (client, noting) = over_a_pipe(&served.gateway, era).await;
        all.push((if modern { "modern, pipe" } else { "legacy, pipe" }, client, noting));
    }
    all
}

pub(crate) fn arguments(value: Value) -> Map<String, Value> {
    value.as_object().cloned().expect("an object")
}

#[tokio::test]
async fn every_client_sees_one_server_with_all_the_components() {
    within_limit(async {
        let served =
            Served::start(vec![fleet_server("a", &[]), fleet_server("b", &["--eras", "legacy"])])
                .await;
        for (what, client, _) in all(&served).await {
            let tools = client.list_all_tools().await.expect("a list");
            let names: Vec<_> = tools.iter().map(|tool| tool.name.as_ref()).collect();
            assert_eq!(
                names,
                ["a__echo", "a__sleep", "a__fail", "b__echo", "b__sleep", "b__fail"],
                "{what}"
            );
            for server in ["a", "b"] {
                let call = CallToolRequestParams::new(format!("{server}__echo"))
                    .with_arguments(arguments(json!({"message": what})));
                let result = client.call_tool(call).await.expect("a result");
                assert_eq!(result.content[0].as_text().map(|it| it.text.as_str()), Some(what));
                let failed =
                    client.call_tool(CallToolRequestParams::new(format!("{server}__fail"))).await;
                assert_eq!(failed.expect("a result").is_error, Some(true), "{what}");
            }
            assert_eq!(client.list_all_prompts().await.expect("a list").len(), 2, "{what}");
            assert_eq!(client.list_all_resources().await.expect("a list").len(), 2, "{what}");
            client.cancel().await.expect("left");
        }
        assert!(served.gateway.close().await.all_well());
    })
    .await;
}

#[tokio::test]
async fn progress_is_passed_on_in_order_and_before_the_answer() {
    within_limit(async {
        let server = Server::start(|request| {
            if request.rpc != "tools/call" {
                return legacy(request);
            }
            let token = &request.params["_meta"]["progressToken"];
            let mut text = String::new();
            for step in 1..=3 {
                let told = json!({"jsonrpc": "2.0", "method": "notifications/progress", "params":
                    {"progressToken": token, "progress": step, "total": 3, "message": format!("step {step}")}});
                text.push_str(&format!("data: {told}\n\n"));
            }
            let answer = json!({"jsonrpc": "2.0", "id": request.id, "result": {"content": []}});
            Reply::events(format!("{text}data: {answer}\n\n"), End::Whole)
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        for (what, client, noting) in all(&served).await {
            client.call_tool(CallToolRequestParams::new("s__echo")).await.expect("a result");
            // The client handles each notification in its own task.
            come_true(async || noting.progress.lock().len() == 3).await;
            let mut steps = noting.progress.lock().clone();
            steps.sort_by(|one, other| one.0.total_cmp(&other.0));
            let expected = [1, 2, 3].map(|step| (f64::from(step), Some(format!("step {step}"))));
            assert_eq!(steps, expected, "{what}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_that_cancels_cancels_at_the_server() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let told = async || {
            server.log().iter().filter(|line| *line == "POST notifications/cancelled").count()
        };
        for (at, (what, client, _)) in all(&served).await.into_iter().enumerate() {
            let calls = server.log().iter().filter(|line| *line == "POST tools/call").count();
            let call = CallToolRequest::new(CallToolRequestParams::new("s__echo"));
            let request = ClientRequest::CallToolRequest(call);
            let handle =
                client.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
            come_true(async || {
                server.log().iter().filter(|line| *line == "POST tools/call").count() > calls
            })
            .await;
            handle.expect("sent").cancel(None).await.expect("told");
            come_true(async || told().await == at + 1).await;
            // The session is still usable.
            let listed = client.list_all_tools().await;
            assert!(listed.is_ok(), "{what}: {listed:?}");
        }
    })
    .await;
}

/// The reason that a client gives for a cancellation is the reason that the server gets.
#[tokio::test]
async fn the_reason_of_a_cancellation_reaches_the_server() {
    within_limit(async {
        let reasons = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let heard = reasons.clone();
        let server = Server::start(move |request| match request.rpc.as_str() {
            "tools/call" => Reply::Hang,
            "notifications/cancelled" => {
                heard.lock().push(request.params["reason"].clone());
                legacy(request)
            }
            _ => legacy(request),
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        for (what, client, _) in all(&served).await {
            for given in [Some("the user has had enough"), None] {
                let calls = server.requested("tools/call").len();
                let call = CallToolRequest::new(CallToolRequestParams::new("s__echo"));
                let request = ClientRequest::CallToolRequest(call);
                let options = PeerRequestOptions::no_options();
                let handle = client.send_cancellable_request(request, options).await;
                come_true(async || server.requested("tools/call").len() > calls).await;
                handle.expect("sent").cancel(given.map(str::to_owned)).await.expect("told");
                come_true(async || !reasons.lock().is_empty()).await;
                let told = reasons.lock().remove(0);
                // Over HTTP a client of the newer era closes the stream, which gives no reason.
                let wanted = given.filter(|_| what != "modern, HTTP");
                let wanted = wanted.unwrap_or("request abandoned by the caller");
                assert_eq!(told, wanted, "{what}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_raw_result_of_a_call_reaches_a_client_that_takes_it() {
    within_limit(async {
        let served = Served::start(vec![fleet_server("s", &[])]).await;
        let (client, _) = over_http(&served, eras()[0].clone()).await;
        let call = CallToolRequestParams::new("s__echo")
            .with_arguments(arguments(json!({"message": "m"})));
        let answer =
            client.send_request(ClientRequest::CallToolRequest(CallToolRequest::new(call))).await;
        let Ok(ServerResult::CallToolResult(result)) = answer else { panic!("{answer:?}") };
        assert_eq!(result.content.len(), 1);
    })
    .await;
}
