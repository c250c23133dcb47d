//! The protocol's own server with one tool: it sends its client the request that the call describes, and answers with
//! the reply.

// The protocol deprecates the log; servers have it for years.
#![expect(deprecated)]

use std::borrow::Cow;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, CustomNotification,
    CustomRequest, InputRequests, InputRequiredResult, JsonObject, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, ServerNotification,
    ServerRequest, SetLevelRequestParams, Tool,
};
use rmcp::service::{NotificationContext, PeerRequestOptions, RequestContext};
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::sync::mpsc;

/// The server. Notifications that it gets go to `heard`.
#[derive(Debug, Clone)]
pub(crate) struct Asker {
    pub(crate) versions: &'static [ProtocolVersion],
    pub(crate) heard: mpsc::UnboundedSender<Value>,
}

impl Asker {
    fn hear(&self, what: Value) {
        let _nobody_listens = self.heard.send(what);
    }
}

impl ServerHandler for Asker {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_logging().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.versions)
    }

    async fn set_level(
        &self,
        request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.hear(json!({"level": request.level}));
        Ok(())
    }

    async fn on_roots_list_changed(&self, _context: NotificationContext<RoleServer>) {
        self.hear(json!("roots changed"));
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = Tool::new("ask", "asks", Arc::new(JsonObject::new()));
        Ok(ListToolsResult::with_all_items(vec![tool]))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        self.hear(
            json!({"capabilities": context.client_capabilities(), "info": context.client_info()}),
        );
        let args = request.arguments.unwrap_or_default();
        let text = |name: &str| args.get(name).and_then(Value::as_str).map(str::to_owned);
        if let Some(told) = text("tell") {
            for step in 0..3 {
                let params = json!({"level": "info", "data": step, "x": {"kept": true}});
                let told = CustomNotification::new(told.clone(), Some(params));
                let told = ServerNotification::CustomNotification(told);
                context.peer.send_notification(told).await.expect("a client that listens");
            }
        }
        // In the newer era the answer contains the request.
        if let Some(wanted) = args.get("wanted") {
            let round = request.request_state.as_deref().unwrap_or("0").parse::<u64>().unwrap_or(0);
            if round < args.get("rounds").and_then(Value::as_u64).unwrap_or(1) {
                let wanted: Option<InputRequests> =
                    serde_json::from_value(wanted.clone()).expect("requests");
                let state = Some((round + 1).to_string());
                return Ok(InputRequiredResult::new(wanted, state).into());
            }
            return Ok(answer(json!({"responses": request.input_responses, "round": round})));
        }
        // In the older era the request is a message of its own.
        let Some(method) = text("method") else { return Ok(answer(Value::Null)) };
        let asked = CustomRequest::new(method, args.get("params").cloned());
        let asked = ServerRequest::CustomRequest(asked);
        let options = PeerRequestOptions::no_options();
        let handle = context.peer.send_cancellable_request(asked, options).await;
        let handle = handle.map_err(|error| ErrorData::internal_error(error.to_string(), None))?;
        Ok(answer(match handle.await_response().await {
            Ok(result) => json!({"result": result}),
            Err(error) => json!({"error": error.to_string()}),
        }))
    }
}

fn answer(what: Value) -> CallToolResponse {
    let mut result = CallToolResult::success(vec![ContentBlock::text("done")]);
    result.structured_content = Some(what);
    result.into()
}
