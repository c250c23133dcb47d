//! The gateway's description of itself, and its notifications to clients.

use rmcp::model::{
    Implementation, InitializeRequestParams, InitializeResult, JsonObject,
    ResourceUpdatedNotificationParam, ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{NotificationContext, Peer, RequestContext, RoleServer, SubscriptionContext};
use rmcp::{ErrorData, ServerHandler};
use tokio::sync::broadcast::error::RecvError;

use super::answering::Front;
use super::client::Client;
use super::fleet::{ServerState, Versions};
use super::subscriptions::concerns;
use crate::component::ComponentKind;

/// The part of the gateway that needs no server.
#[derive(Debug, Clone)]
pub(super) struct Desk(pub(super) Front);

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
        let result = self.negotiate_initialize(&request)?;
        let Front { core, client } = &self.0;
        client.met(context.peer);
        core.clients.add(client);
        Ok(result)
    }

    /// A client of an older revision is ready, and is notified of changes from now on.
    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        let Front { core, client } = self.0.clone();
        let (mut versions, mut updates) = (core.fleet.versions(), core.updates());
        let (peer, end) = (context.peer, client.end.clone());
        let telling = async move {
            let mut known = *versions.borrow_and_update();
            loop {
                let told = tokio::select! {
                    now = changed(&mut versions) => {
                        let Some(now) = now else { return };
                        let new = now.beyond(std::mem::replace(&mut known, now), client.lists());
                        tell(&peer, &new).await
                    }
                    updated = updates.recv() => match updated {
                        Ok(updated) => tell_updated(&peer, &client, &updated).await,
                        Err(RecvError::Lagged(_)) => Ok(()),
                        Err(RecvError::Closed) => return,
                    },
                };
                if told.is_err() {
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
        let core = self.0.core.clone();
        self.0.core.rest(async move {
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
        let Front { core, client } = &self.0;
        let (mut versions, mut updates) = (core.fleet.versions(), core.updates());
        let mut known = *versions.borrow_and_update();
        let sink = context.sink();
        let uris = context.accepted().resource_subscriptions.clone().unwrap_or_default();
        let telling = async {
            let mut subscribed = Vec::new();
            for uri in &uris {
                subscribed.push(core.subscribe_in_time(uri).await);
            }
            loop {
                tokio::select! {
                    now = changed(&mut versions) => {
                        let Some(now) = now else { return };
                        let new = now.beyond(std::mem::replace(&mut known, now), client.lists());
                        // The sink refuses a notification that the client has not asked for.
                        if new.contains(&ComponentKind::Tool) {
                            let _ = sink.notify_tool_list_changed().await;
                        }
                        if new.contains(&ComponentKind::Prompt) {
                            let _ = sink.notify_prompt_list_changed().await;
                        }
                        if new.iter().any(is_of_resources) {
                            let _ = sink.notify_resource_list_changed().await;
                        }
                    }
                    updated = updates.recv() => match updated {
                        Ok(updated) => {
                            for uri in uris.iter().filter(|uri| concerns(&updated, uri)) {
                                let _ = sink.notify_resource_updated(uri.as_str()).await;
                            }
                        }
                        Err(RecvError::Lagged(_)) => {}
                        Err(RecvError::Closed) => return,
                    },
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

/// Waits for the next change; `None` if no change can come any more.
async fn changed(versions: &mut tokio::sync::watch::Receiver<Versions>) -> Option<Versions> {
    versions.changed().await.ok()?;
    Some(*versions.borrow_and_update())
}

/// Whether a list is announced by the notification for resources, which is for templates as well.
fn is_of_resources(kind: &ComponentKind) -> bool {
    matches!(kind, ComponentKind::Resource | ComponentKind::ResourceTemplate)
}

/// Notifies a client that a resource has changed, if it has subscribed to it.
async fn tell_updated(
    peer: &Peer<RoleServer>,
    client: &Client,
    updated: &str,
) -> Result<(), rmcp::ServiceError> {
    let wanted = client.subscribed.lock().keys().any(|subscribed| concerns(updated, subscribed));
    if wanted {
        peer.notify_resource_updated(ResourceUpdatedNotificationParam::new(updated)).await?;
    }
    Ok(())
}

/// Notifies a client of the lists that have changed.
async fn tell(
    peer: &Peer<RoleServer>,
    changed: &[ComponentKind],
) -> Result<(), rmcp::ServiceError> {
    if changed.contains(&ComponentKind::Tool) {
        peer.notify_tool_list_changed().await?;
    }
    if changed.contains(&ComponentKind::Prompt) {
        peer.notify_prompt_list_changed().await?;
    }
    if changed.iter().any(is_of_resources) {
        peer.notify_resource_list_changed().await?;
    }
    Ok(())
}
