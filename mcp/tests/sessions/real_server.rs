//! The protocol's own server, in this process and in both eras: no session is left in its table.

use std::borrow::Cow;
use std::sync::Arc;

use moored_mcp::{CallOptions, Delete};
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
    PaginatedRequestParams, ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde_json::Map;

use crate::support::real::serve;
use crate::support::{at, brisk_group, within_limit};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Greeter {
    pub(crate) versions: &'static [ProtocolVersion],
}

impl ServerHandler for Greeter {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.versions)
    }

    async fn list_tools(
        &self,
        _page: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let tool = Tool::new("greet", "says hello", Arc::new(Map::new()));
        Ok(ListToolsResult::with_all_items(vec![tool]))
    }

    async fn call_tool(
        &self,
        _request: CallToolRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        Ok(CallToolResult::success(vec![ContentBlock::text("hello")]).into())
    }
}

/// The revisions with a handshake.
pub(crate) static LEGACY: std::sync::LazyLock<&'static [ProtocolVersion]> =
    std::sync::LazyLock::new(|| {
        ProtocolVersion::known_up_to(&ProtocolVersion::LATEST_WITH_INITIALIZE)
    });

#[tokio::test]
async fn a_legacy_session_is_ended_in_the_servers_books() {
    within_limit(async {
        let server = serve(Greeter { versions: *LEGACY }).await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!(info.era.as_deref(), Some("2025-11-25"));
        assert_eq!(server.books.sessions.read().await.len(), 1);
        let hello = group.call_tool("s/greet", Map::new(), CallOptions::default()).await;
        assert_eq!(hello.expect("an answer")["content"][0]["text"], "hello");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers[0].leave.delete, Delete::Terminated);
        assert!(server.books.sessions.read().await.is_empty());
    })
    .await;
}

#[tokio::test]
async fn the_stateless_era_has_no_session_to_end() {
    within_limit(async {
        let server = serve(Greeter { versions: ProtocolVersion::KNOWN_VERSIONS }).await;
        let group = brisk_group();
        let info = group.connect(at("s", &server.url)).await.expect("up");
        assert_eq!(info.era.as_deref(), Some("2026-07-28"));
        let hello = group.call_tool("s/greet", Map::new(), CallOptions::default()).await;
        assert_eq!(hello.expect("an answer")["content"][0]["text"], "hello");
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        assert_eq!(report.servers[0].leave.delete, Delete::NotApplicable);
        assert!(server.books.sessions.read().await.is_empty());
    })
    .await;
}
