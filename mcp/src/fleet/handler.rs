//! The components that every server of the fleet offers, over both transports: three tools, a
//! prompt, a resource.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, Implementation, InitializeRequestParams, InitializeResult,
    ListPromptsResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, Prompt,
    PromptMessage, ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse,
    ReadResourceResult, Resource, ResourceContents, Role, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::{Map, Value, json};

/// Which revisions of the protocol a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Eras {
    /// All that are known, the stateless one included.
    All,
    /// Those with an `initialize` handshake; over HTTP, those with sessions.
    Legacy,
}

/// An action at the call of a tool, before the tool runs.
pub(crate) type OnCall = Arc<dyn Fn() + Send + Sync>;

/// The protocol side of a fleet server.
#[derive(Clone)]
pub(crate) struct FleetHandler {
    name: String,
    eras: Eras,
    rejects: bool,
    on_call: Option<OnCall>,
}

impl FleetHandler {
    /// A server called `name`.
    pub(crate) fn new(name: impl Into<String>, eras: Eras) -> Self {
        Self { name: name.into(), eras, rejects: false, on_call: None }
    }

    /// Refuses every handshake.
    pub(crate) fn rejecting(mut self, rejects: bool) -> Self {
        self.rejects = rejects;
        self
    }

    /// Runs `on_call` at the start of every tool call.
    pub(crate) fn on_call(mut self, on_call: OnCall) -> Self {
        self.on_call = Some(on_call);
        self
    }
}

const ABOUT: &str = "fleet://about";

impl ServerHandler for FleetHandler {
    fn get_info(&self) -> ServerConfig {
        let offers = ServerCapabilities::builder()
            .enable_tools()
            .enable_prompts()
            .enable_resources()
            .build();
        ServerConfig::new(offers)
            .with_server_info(Implementation::new(self.name.clone(), env!("CARGO_PKG_VERSION")))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(match self.eras {
            Eras::All => ProtocolVersion::KNOWN_VERSIONS,
            Eras::Legacy => ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE),
        })
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        if self.rejects {
            return Err(ErrorData::invalid_request("no admittance", None));
        }
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools()))
    }

    async fn list_prompts(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let greeting = Prompt::new("greeting", Some("A greeting from this server"), None);
        Ok(ListPromptsResult::with_all_items(vec![greeting]))
    }

    async fn get_prompt(
        &self,
        _request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let text = format!("Say hello to {}.", self.name);
        Ok(GetPromptResult::new(vec![PromptMessage::new_text(Role::User, text)]).into())
    }

    async fn list_resources(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Ok(ListResourcesResult::with_all_items(vec![Resource::new(ABOUT, "about")]))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        if request.uri != ABOUT {
            let unknown = format!("no resource {:?}", request.uri);
            return Err(ErrorData::resource_not_found(unknown, None));
        }
        let text = format!("{} of the embedded fleet", self.name);
        Ok(ReadResourceResult::new(vec![ResourceContents::text(text, ABOUT)]).into())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(on_call) = &self.on_call {
            on_call();
        }
        let arguments = request.arguments.unwrap_or_default();
        let result = match request.name.as_ref() {
            "echo" => match arguments.get("message").and_then(Value::as_str) {
                Some(message) => text(message),
                None => failure("\"message\" must be a string"),
            },
            "sleep" => {
                let ms = arguments.get("ms").and_then(Value::as_u64).unwrap_or(0);
                tokio::time::sleep(Duration::from_millis(ms)).await;
                text(format!("slept {ms} ms"))
            }
            "fail" => failure("this tool always fails"),
            unknown => {
                let unknown = format!("no tool {unknown:?}");
                return Err(ErrorData::invalid_params(unknown, None));
            }
        };
        Ok(result.into())
    }
}

fn text(text: impl Into<String>) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failure(text: &str) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

fn tools() -> Vec<Tool> {
    vec![
        Tool::new(
            "echo",
            "Answers with the message it was sent",
            schema(json!({"message": {"type": "string"}}), &["message"]),
        ),
        Tool::new(
            "sleep",
            "Answers after a while",
            schema(json!({"ms": {"type": "integer", "minimum": 0}}), &["ms"]),
        ),
        Tool::new("fail", "Always reports an error", schema(json!({}), &[])),
    ]
}

fn schema(properties: Value, required: &[&str]) -> Map<String, Value> {
    Map::from_iter([
        ("type".to_owned(), json!("object")),
        ("properties".to_owned(), properties),
        ("required".to_owned(), json!(required)),
    ])
}
