//! The gateway as rmcp sees it: a service that answers requests, each in a child of the gateway.

mod ask;
pub(super) mod running;

use std::borrow::Cow;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use moored::rt::tokio::Tokio;
use moored::{CancelScope, ChildError};
use rmcp::ErrorData;
use rmcp::model::{
    ClientNotification, ClientRequest, CustomResult, ErrorCode, PaginatedRequestParams,
    ProtocolVersion, ServerConfig, ServerResult,
};
use rmcp::service::{NotificationContext, RequestContext, RoleServer, Service};
use tokio_util::sync::CancellationToken;

use super::changes::Listener;
use super::client::Client;
use super::desk::Desk;
use super::results::{Kept, fit};
use super::{Core, errors, lists, message};
use crate::component::ComponentKind;
use crate::error::CallError;

/// The gateway's side of one client.
#[derive(Debug, Clone)]
pub(super) struct Front {
    pub(super) core: Arc<Core>,
    pub(super) client: Arc<Client>,
}

impl Service<RoleServer> for Front {
    /// Answers a request. The servers are asked in a child of the gateway; this future only waits, and cancels the child when
    /// it is dropped or when the client cancels.
    async fn handle_request(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
    ) -> Result<ServerResult, ErrorData> {
        let modern = is_modern(&request, &context)?;
        let cancelled = context.ct.clone();
        let (kind, page) = match request {
            ClientRequest::ListToolsRequest(list) => (ComponentKind::Tool, list.params),
            ClientRequest::ListPromptsRequest(list) => (ComponentKind::Prompt, list.params),
            ClientRequest::ListResourcesRequest(list) => (ComponentKind::Resource, list.params),
            ClientRequest::ListResourceTemplatesRequest(list) => {
                (ComponentKind::ResourceTemplate, list.params)
            }
            ClientRequest::CallToolRequest(_)
            | ClientRequest::GetPromptRequest(_)
            | ClientRequest::ReadResourceRequest(_)
            | ClientRequest::CompleteRequest(_) => {
                let work = ask::answer(self.clone(), request, context, modern);
                return self.core.as_child(cancelled, work).await;
            }
            ClientRequest::SetLevelRequest(set) => {
                if modern {
                    return Err(unknown("logging/setLevel"));
                }
                let params = serde_json::to_value(set.params).unwrap_or_default();
                let level = serde_json::from_value(params["level"].clone());
                let level = level.map_err(|_| unreadable("logging/setLevel", modern))?;
                self.client.set_log_level(level);
                self.core.want_logs(level);
                return Ok(ServerResult::empty(()));
            }
            ClientRequest::SubscribeRequest(subscribe) if !modern => {
                let work = subscribe_to(self.clone(), subscribe.params.uri);
                return self.core.as_child(cancelled, work).await;
            }
            ClientRequest::UnsubscribeRequest(unsubscribe) if !modern => {
                let subscribed = self.client.subscribed.lock().remove(&unsubscribe.params.uri);
                drop(subscribed);
                return Ok(ServerResult::empty(()));
            }
            ClientRequest::CustomRequest(request) => {
                return Err(unreadable(&request.method, modern));
            }
            other => {
                return tokio::select! {
                    biased;
                    answer = self.answer(other, context, modern) => answer,
                    // A subscription waits for the acknowledgement to be sent, and nothing is sent to a client that has
                    // gone. The returned error reaches no client.
                    () = cancelled.cancelled() => Err(gave_up()),
                };
            }
        };
        let work = list(self.clone(), kind, page, modern);
        self.core.as_child(cancelled, work).await
    }

    async fn handle_notification(
        &self,
        notification: ClientNotification,
        context: NotificationContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Desk::of(self.clone()).handle_notification(notification, context).await
    }

    fn get_info(&self) -> ServerConfig {
        Service::get_info(&Desk::of(self.clone()))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(ProtocolVersion::KNOWN_VERSIONS)
    }
}

impl Front {
    /// The answer to a request that needs no server. A client that listens is acknowledged once the servers of its resources
    /// have been subscribed to, or at the time limit for servers that are slow.
    async fn answer(
        &self,
        request: ClientRequest,
        context: RequestContext<RoleServer>,
        modern: bool,
    ) -> Result<ServerResult, ErrorData> {
        let desk = match &request {
            ClientRequest::SubscriptionsListenRequest(listen) if modern => {
                let uris = listen.params.notifications.resource_subscriptions.clone();
                let mut listener = Listener::begin(&self.core, uris.unwrap_or_default());
                tokio::select! {
                    () = listener.subscribed() => {}
                    () = tokio::time::sleep(self.core.options.settle) => {}
                    () = self.core.closing.stop_requested() => {}
                }
                Desk::with(self.clone(), listener)
            }
            _ => Desk::of(self.clone()),
        };
        desk.handle_request(request, context).await
    }
}

/// The answer to a list request: the components of the connected servers. It waits for servers whose first attempt is
/// under way.
async fn list(
    front: Front,
    kind: ComponentKind,
    page: Option<PaginatedRequestParams>,
    modern: bool,
) -> Result<ServerResult, ErrorData> {
    let Front { core, client } = front;
    core.fleet.settled(None).await;
    // A change that is in the list is announced before it, and not to this client.
    client.gets(kind, core.fleet.announce());
    let list = lists::list(kind, core.fleet.offered(kind), page.as_ref())?;
    Ok(ServerResult::CustomResult(CustomResult(fit(list, modern, Kept::Cacheable))))
}

/// Subscribes a client of the older era to a resource.
async fn subscribe_to(front: Front, uri: String) -> Result<ServerResult, ErrorData> {
    let subscribed = front.core.subscribe(&uri).await.map_err(|error| match error {
        CallError::Unknown { .. } => {
            errors::of_unknown(&error, Some(&uri), &front.core.fleet.all_away())
        }
        error => errors::of_call(error),
    })?;
    let before = front.client.subscribed.lock().insert(uri, subscribed);
    drop(before);
    Ok(ServerResult::empty(()))
}

/// Whether a request is of the newer era; an error if it lacks fields that this era requires.
fn is_modern(
    request: &ClientRequest,
    context: &RequestContext<RoleServer>,
) -> Result<bool, ErrorData> {
    if let ClientRequest::InitializeRequest(_) = request {
        return Ok(false);
    }
    let named = context.meta.protocol_version();
    if let Some(named) = named.as_ref().filter(|it| !message::is_known(it.as_str())) {
        return Err(message::unknown_version(named.as_str()));
    }
    let version = context.protocol_version();
    let modern = version.as_ref().is_some_and(|version| message::is_modern(version.as_str()));
    let missing = context.meta.missing_required_keys(&ProtocolVersion::V_2026_07_28);
    if modern && !missing.is_empty() {
        let why = format!("the request's _meta lacks {}", missing.join(" and "));
        return Err(ErrorData::invalid_params(why, None));
    }
    Ok(modern)
}

/// The error of a request that has the form of no request: its method is unknown, or its parameters cannot be read.
fn unreadable(method: &str, modern: bool) -> ErrorData {
    const SPOKEN: [&str; 8] = [
        "completion/complete",
        "prompts/get",
        "prompts/list",
        "resources/list",
        "resources/read",
        "resources/templates/list",
        "tools/call",
        "tools/list",
    ];
    const OLDER: [&str; 4] =
        ["initialize", "logging/setLevel", "resources/subscribe", "resources/unsubscribe"];
    const NEWER: [&str; 1] = ["subscriptions/listen"];
    let of_its_era = if modern { &NEWER[..] } else { &OLDER };
    if SPOKEN.contains(&method) || of_its_era.contains(&method) {
        let why = format!("the parameters of {method} cannot be read");
        return ErrorData::invalid_params(why, None);
    }
    unknown(method)
}

/// The error of a request with an unknown method.
fn unknown(method: &str) -> ErrorData {
    let why = format!("the gateway does not know the method {method:?}");
    ErrorData::new(ErrorCode::METHOD_NOT_FOUND, why, None)
}

impl Core {
    /// Runs `work` in a child of the gateway, which is cancelled when the returned future is dropped or `cancelled` is
    /// cancelled: the token by which rmcp tells of a client that takes its request back.
    pub(super) async fn as_child<T: Send + 'static>(
        self: &Arc<Self>,
        cancelled: CancellationToken,
        work: impl Future<Output = Result<T, ErrorData>> + Send + 'static,
    ) -> Result<T, ErrorData> {
        if self.is_closing() {
            return Err(errors::closing());
        }
        let Ok(turn) = self.requests.clone().try_acquire_owned() else {
            return Err(ErrorData::internal_error("too many requests are under way", None));
        };
        let scope = CancelScope::new().named("request");
        let handle = scope.handle();
        let child = async move {
            let _turn = turn;
            Ok(scope.run(AssertUnwindSafe(work).catch_unwind()).await)
        };
        let Ok(child) = self.calls.spawn_on(&Tokio::current(), child) else {
            return Err(errors::closing());
        };
        let guard = handle.drop_guard();
        let joined = tokio::select! {
            biased;
            joined = child.join() => joined,
            // The guard cancels the child. The returned error reaches no client.
            () = cancelled.cancelled() => return Err(gave_up()),
        };
        guard.disarm();
        match joined {
            Ok(Ok(Ok(result))) => result,
            Ok(Ok(Err(panic))) => {
                let _text = crate::panics::text(panic);
                Err(ErrorData::internal_error("the gateway failed: a handler panicked", None))
            }
            Ok(Err(_)) | Err(ChildError::Cancelled(_)) => Err(errors::closing()),
            Err(_) => Err(ErrorData::internal_error("the gateway failed", None)),
        }
    }
}

fn gave_up() -> ErrorData {
    ErrorData::internal_error("the request was cancelled", None)
}

#[cfg(test)]
mod tests {
    use super::super::{Gateway, GatewayOptions};
    use super::*;
    use crate::group::SessionGroup;
    use crate::params::GroupOptions;

    #[tokio::test]
    async fn a_handler_that_panics_is_an_error_of_its_request_and_of_nothing_else() {
        let group = SessionGroup::start(GroupOptions::default());
        let gateway = Gateway::start(group, GatewayOptions::default());
        let core = gateway.0.core.clone();
        let never = CancellationToken::new();
        let panicked = core.as_child::<()>(never.clone(), async { panic!("a bug") }).await;
        assert!(panicked.is_err_and(|error| error.message.contains("panicked")));
        assert_eq!(core.as_child(never.clone(), async { Ok(7) }).await.ok(), Some(7));
        let cancelled = CancellationToken::new();
        cancelled.cancel();
        let pending = std::future::pending::<Result<(), ErrorData>>();
        assert!(core.as_child(cancelled, pending).await.is_err());
        assert!(gateway.close().await.clean);
        assert!(core.as_child(never, async { Ok(()) }).await.is_err());
    }
}
