//! Subscriptions to resources.

// The protocol has another way for it now; servers and clients have this one for years.
#![allow(deprecated)]

use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ListResourcesResult, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, Resource, ResourceUpdatedNotificationParam,
    ServerCapabilities, ServerConfig, SubscribeRequestParams, SubscriptionFilter, Tool,
    UnsubscribeRequestParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, Value, json};

use crate::clients::{eras, over_a_pipe, over_http};
use crate::support::http::{End, Reply, Request, Server, modern};
use crate::support::{Raw, Served, at, come_true, real, within_limit};

/// A server with one resource, which changes when its tool is called.
#[derive(Debug, Clone, Default)]
struct Book {
    /// The addresses with an open subscription.
    subscribed: Arc<Mutex<Vec<String>>>,
}

impl ServerHandler for Book {
    fn get_info(&self) -> ServerConfig {
        let offers = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe();
        ServerConfig::new(offers.build())
    }

    fn supported_protocol_versions(&self) -> std::borrow::Cow<'static, [ProtocolVersion]> {
        ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE).into()
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(vec![Tool::new(
            "write",
            "writes",
            Arc::new(Map::new()),
        )]))
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new("book:///1", "first")]))
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.subscribed.lock().push(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.subscribed.lock().retain(|uri| *uri != request.uri);
        Ok(())
    }

    async fn call_tool(
        &self,
        _request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let told = ResourceUpdatedNotificationParam::new("book:///1");
        context.peer.notify_resource_updated(told).await.expect("told");
        Ok(CallToolResult::success(Vec::new()).into())
    }
}

#[tokio::test]
async fn updates_reach_those_who_subscribed_and_a_server_is_subscribed_to_once() {
    within_limit(async {
        let book = Book::default();
        let server = real(book.clone()).await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let [legacy, modern] = eras();
        let (one, noted) = over_http(&served, legacy.clone()).await;
        let (two, unmoved) = over_a_pipe(&served.gateway, legacy).await;
        let (three, _) = over_http(&served, modern).await;
        one.subscribe(SubscribeRequestParams::new("book:///1")).await.expect("subscribed");
        let filter = SubscriptionFilter::builder().resource_subscription("book:///1").build();
        let mut listening = three.listen(filter).await.expect("it listens");
        come_true(async || book.subscribed.lock().len() == 1).await;
        let write = async || {
            two.call_tool(CallToolRequestParams::new("s__write")).await.expect("written");
        };
        write().await;
        come_true(async || *noted.updated.lock() == ["book:///1"]).await;
        assert!(listening.next().await.expect("told").is_some());
        assert!(unmoved.updated.lock().is_empty());
        assert_eq!(book.subscribed.lock().len(), 1);

        listening.cancel().await.expect("ended");
        one.unsubscribe(UnsubscribeRequestParams::new("book:///1")).await.expect("unsubscribed");
        come_true(async || book.subscribed.lock().is_empty()).await;
        let session = served.session().await;
        let subscribe = serde_json::json!({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe",
            "params": {"uri": "other:///1"}});
        let refused = served.ask(Raw::post(&subscribe).with("Mcp-Session-Id", &session)).await.message();
        assert_eq!(refused["error"]["code"], -32602, "{refused}");
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

#[tokio::test]
async fn a_subscription_outlives_the_loss_of_its_server() {
    within_limit(async {
        for modern in [false, true] {
            let book = Book::default();
            let server = real(book.clone()).await;
            let served = Served::start(vec![at("s", &server.url)]).await;
            let [legacy, newer] = eras();
            let (one, noted) =
                over_a_pipe(&served.gateway, if modern { newer } else { legacy }).await;
            let mut listening = None;
            if modern {
                let filter =
                    SubscriptionFilter::builder().resource_subscription("book:///1").build();
                listening = Some(one.listen(filter).await.expect("it listens"));
            } else {
                one.subscribe(SubscribeRequestParams::new("book:///1")).await.expect("subscribed");
            }
            come_true(async || book.subscribed.lock().len() == 1).await;
            // The server forgets, as one that is started again does.
            book.subscribed.lock().clear();
            served.gateway.group().disconnect("s").await.expect("it was up");
            come_true(async || book.subscribed.lock().len() == 1).await;
            one.call_tool(CallToolRequestParams::new("s__write")).await.expect("written");
            match &mut listening {
                Some(listening) => assert!(listening.next().await.expect("told").is_some()),
                None => come_true(async || *noted.updated.lock() == ["book:///1"]).await,
            }
            assert!(served.gateway.close().await.clean);
        }
    })
    .await;
}

#[tokio::test]
async fn a_subscription_that_its_server_ends_is_begun_again() {
    within_limit(async {
        let server = Server::start(|request| match request.rpc.as_str() {
            "server/discover" => result(
                request,
                json!({
                    "resultType": "complete",
                    "supportedVersions": ["2026-07-28"],
                    "capabilities": {"resources": {"subscribe": true}},
                    "ttlMs": 0,
                    "cacheScope": "private",
                }),
            ),
            "resources/list" => result(
                request,
                json!({
                    "resultType": "complete",
                    "resources": [{"name": "log", "uri": "file:///log"}],
                    "ttlMs": 0,
                    "cacheScope": "private",
                }),
            ),
            "subscriptions/listen" => {
                let meta = json!({"io.modelcontextprotocol/subscriptionId": request.id});
                let acknowledged = json!({
                    "jsonrpc": "2.0",
                    "method": "notifications/subscriptions/acknowledged",
                    "params": {"notifications": request.params["notifications"], "_meta": meta},
                });
                let ended = json!({
                    "jsonrpc": "2.0",
                    "id": request.id,
                    "result": {"resultType": "complete", "_meta": meta},
                });
                Reply::events(format!("data: {acknowledged}\n\ndata: {ended}\n\n"), End::Whole)
            }
            _ => modern(request),
        })
        .await;
        let served = Served::start(vec![at("s", &server.url)]).await;
        let [legacy, _] = eras();
        let (one, _) = over_a_pipe(&served.gateway, legacy).await;
        one.subscribe(SubscribeRequestParams::new("file:///log")).await.expect("subscribed");
        come_true(async || server.requested("subscriptions/listen").len() >= 2).await;
        one.unsubscribe(UnsubscribeRequestParams::new("file:///log")).await.expect("done");
        assert!(served.gateway.close().await.clean);
    })
    .await;
}

fn result(request: &Request, value: Value) -> Reply {
    Reply::json(json!({"jsonrpc": "2.0", "id": request.id, "result": value}))
}
