//! The gateway's description of itself, and its notifications to clients.

use parking_lot::Mutex;
use rmcp::model::{
    DiscoverResult, Implementation, InitializeRequestParams, InitializeResult, JsonObject,
    ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};

use super::answering::Front;
use super::changes::{Change, Changes, Listener};
use super::client::Client;
use super::fleet::ServerState;
use crate::component::ComponentKind;

/// The part of the gateway that needs no server.
#[derive(Debug)]
pub(super) struct Desk {
    front: Front,
    /// Set for a request to listen, which takes it.
    listener: Mutex<Option<Listener>>,
}

impl Desk {
    pub(super) fn of(front: Front) -> Self {
        Self { front, listener: Mutex::default() }
    }

    /// For a request to listen.
    pub(super) fn with(front: Front, listener: Listener) -> Self {
        Self { front, listener: Mutex::new(Some(listener)) }
    }
}

impl ServerHandler for Desk {
    fn get_info(&self) -> ServerConfig {
        // All capabilities are announced, because a server that is connected later may have any of them.
        let mut offers = ServerCapabilities::builder()
            .enable_tools()
            .enable_tool_list_changed()
            .enable_prompts()
            .enable_prompts_list_changed()
            .enable_resources()
            .enable_resources_list_changed()
            .enable_resources_subscribe()
            .enable_completions()
            .build();
        offers.logging = Some(JsonObject::new());
        let this_program = Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
        ServerConfig::new(offers).with_server_info(this_program)
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        let Front { core, client } = &self.front;
        core.fleet.introduced().await;
        let mut result = self.negotiate_initialize(&request)?;
        result.instructions = core.fleet.instructions();
        if client.met(context.peer, Changes::from_now_on(core)) {
            core.clients.add(client);
        }
        Ok(result)
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let fleet = &self.front.core.fleet;
        fleet.introduced().await;
        let mut info = self.get_info();
        info.instructions = fleet.instructions();
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, info))
    }

    /// A client of an older revision is ready, and is notified of changes from now on, with those since `initialize`: it may
    /// have got a list before.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let Front { core, client } = self.front.clone();
        // Some clients say it twice.
        let Some(mut changes) = client.changes() else { return };
        let (peer, end) = (context.peer, client.end.clone());
        let telling = async move {
            while let Some(change) = changes.next(&client).await {
                if tell(&peer, &client, change).await.is_err() {
                    return;
                }
            }
        };
        core.rest(async move {
            tokio::select! {
                () = telling => {}
                () = end.cancelled() => {}
            }
        });
    }

    /// The roots of the client have changed: the servers are notified, and ask for them.
    async fn on_roots_list_changed(&self, _: NotificationContext<RoleServer>) {
        let core = self.front.core.clone();
        self.front.core.rest(async move {
            for (server, state) in core.fleet.states() {
                if let ServerState::Up = state {
                    let told = "notifications/roots/list_changed";
                    let _gone = core.fleet.group.notify(&server, told, Default::default()).await;
                }
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
        let Front { core, client } = &self.front;
        let Some(mut listener) = self.listener.lock().take() else { return Ok(()) };
        let sink = context.sink();
        let uris = context.accepted().resource_subscriptions.clone().unwrap_or_default();
        let telling = async {
            while let Some(change) = listener.next(client).await {
                // The sink refuses a notification that the client has not asked for.
                if let Change::Lists(kinds) = &change {
                    if kinds.contains(&ComponentKind::Tool) {
                        let _ = sink.notify_tool_list_changed().await;
                    }
                    if kinds.contains(&ComponentKind::Prompt) {
                        let _ = sink.notify_prompt_list_changed().await;
                    }
                    if kinds.iter().any(is_of_resources) {
                        let _ = sink.notify_resource_list_changed().await;
                    }
                }
                for uri in uris.iter().filter(|uri| change.is_of(uri)) {
                    let _ = sink.notify_resource_updated(uri.as_str()).await;
                }
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

/// Whether a list is announced by the notification for resources, which is for templates as well.
fn is_of_resources(kind: &ComponentKind) -> bool {
    matches!(kind, ComponentKind::Resource | ComponentKind::ResourceTemplate)
}

/// Notifies a client of the older era of a change, if it is of a list or of a resource that it has subscribed to.
async fn tell(
    peer: &Peer<RoleServer>,
    client: &Client,
    change: Change,
) -> Result<(), rmcp::ServiceError> {
    match change {
        Change::Lists(kinds) => {
            if kinds.contains(&ComponentKind::Tool) {
                peer.notify_tool_list_changed().await?;
            }
            if kinds.contains(&ComponentKind::Prompt) {
                peer.notify_prompt_list_changed().await?;
            }
            if kinds.iter().any(is_of_resources) {
                peer.notify_resource_list_changed().await?;
            }
        }
        Change::Resource(ref updated) => {
            let wanted = client.subscribed.lock().keys().any(|subscribed| change.is_of(subscribed));
            if wanted {
                tell_updated(peer, updated).await?;
            }
        }
        Change::Resources => {
            let subscribed: Vec<String> = client.subscribed.lock().keys().cloned().collect();
            for uri in subscribed {
                tell_updated(peer, &uri).await?;
            }
        }
    }
    Ok(())
}

async fn tell_updated(peer: &Peer<RoleServer>, uri: &str) -> Result<(), rmcp::ServiceError> {
    peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(uri)).await
}
