//! The gateway's description of itself, and its notifications to clients.

use rmcp::model::{
    Implementation, InitializeRequestParams, InitializeResult, ServerCapabilities, ServerConfig,
    SubscriptionFilter,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};

use super::answering::Front;
use super::fleet::Versions;

/// The part of the gateway that needs no server.
#[derive(Debug, Clone)]
pub(super) struct Desk(pub(super) Front);

impl ServerHandler for Desk {
    fn get_info(&self) -> ServerConfig {
        // A server that comes later may bring anything.
        let offers = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_completions()
            .build();
        let this_program = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        ServerConfig::new(offers).with_server_info(this_program)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        self.negotiate_initialize(&request)
    }

    /// A client of an older revision is ready, and is notified of changes from now on.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let core = &self.0.core;
        let mut versions = core.fleet.versions();
        let (peer, end) = (context.peer, self.0.client.end.clone());
        let telling = async move {
            let mut known = *versions.borrow_and_update();
            while let Some(now) = changed(&mut versions).await {
                if tell(&peer, known, now).await.is_err() {
                    return;
                }
                known = now;
            }
        };
        core.rest(async move {
            tokio::select! {
                () = telling => {}
                () = end.cancelled() => {}
            }
        });
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    /// A client of the newer era is notified of changes as long as it listens, or until the gateway closes.
    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let core = &self.0.core;
        let mut versions = core.fleet.versions();
        let mut known = *versions.borrow_and_update();
        let sink = context.sink();
        let telling = async {
            while let Some(now) = changed(&mut versions).await {
                // What was not asked for is refused by the sink.
                if now.tools != known.tools {
                    let _ = sink.notify_tool_list_changed().await;
                }
                if now.prompts != known.prompts {
                    let _ = sink.notify_prompt_list_changed().await;
                }
                if now.resources != known.resources {
                    let _ = sink.notify_resource_list_changed().await;
                }
                known = now;
            }
        };
        tokio::select! {
            () = telling => {}
            () = context.cancelled() => {}
            () = core.closing.stop_requested() => {}
        }
        Ok(())
    }
}

/// Waits for the next change; `None` if no change can come any more.
async fn changed(versions: &mut tokio::sync::watch::Receiver<Versions>) -> Option<Versions> {
    versions.changed().await.ok()?;
    Some(*versions.borrow_and_update())
}

/// Tells a client which lists have changed.
async fn tell(
    peer: &Peer<RoleServer>,
    known: Versions,
    now: Versions,
) -> Result<(), rmcp::ServiceError> {
    if now.tools != known.tools {
        peer.notify_tool_list_changed().await?;
    }
    if now.prompts != known.prompts {
        peer.notify_prompt_list_changed().await?;
    }
    if now.resources != known.resources {
        peer.notify_resource_list_changed().await?;
    }
    Ok(())
}
