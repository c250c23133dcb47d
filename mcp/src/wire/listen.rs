//! `subscriptions/listen`: the request for which a modern server reports changes.
//!
//! The notifications are taken from the incoming messages (see [`notices`](super::notices)). A [`Listening`] holds the
//! request, which is open as long as the server reports changes. Dropping it cancels the request.

use rmcp::model::{self, ClientRequest, ServerCapabilities, SubscriptionFilter};
use rmcp::service::{Peer, RoleClient, ServiceError, Subscription, SubscriptionEnd};

use super::notices::Notices;
use super::{CallFailure, call_failure};
use crate::component::ComponentKind;
use crate::fault::Fault;
use crate::report::Outcome;

/// The subject of such a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Topic {
    /// Changes of the server's lists.
    Lists,
    /// Changes of the resource at an address.
    Resource(String),
}

impl std::fmt::Display for Topic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lists => f.write_str("its lists"),
            Self::Resource(uri) => write!(f, "the resource {uri:?}"),
        }
    }
}

/// A request that is open.
#[derive(Debug)]
pub(crate) struct Listening(Subscription);

/// The end of such a request.
#[derive(Debug)]
pub(crate) enum ListenEnd {
    /// The server has answered it: it reports no more changes, and that is no failure.
    Graceful,
    /// The stream broke off, for this reason.
    Lost(Fault),
    /// The connection has ended. The owner of the session knows the cause.
    Gone,
}

impl Listening {
    /// Opens the request and waits until the server has acknowledged it.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the request is cancelled at the server.
    pub(super) async fn open(peer: &Peer<RoleClient>, topic: &Topic) -> Result<Self, CallFailure> {
        let info = peer.peer_info();
        let filter = match topic {
            Topic::Lists => announced(info.as_deref().map(|info| &info.capabilities)),
            Topic::Resource(uri) => {
                SubscriptionFilter::builder().resource_subscriptions([uri]).build()
            }
        };
        let subscription = peer.listen(filter).await.map_err(call_failure)?;
        if let Topic::Resource(uri) = topic {
            let accepted = subscription.acknowledged().resource_subscriptions.as_deref();
            if !accepted.is_some_and(|accepted| accepted.contains(uri)) {
                let text = format!("the server does not report changes of {topic}");
                return Err(CallFailure::Failed(Fault::new(Outcome::ProtocolError, text)));
            }
        }
        Ok(Self(subscription))
    }

    /// The kinds of list of which the server reports changes here.
    pub(crate) fn lists(&self) -> Vec<ComponentKind> {
        let told = self.0.acknowledged();
        let mut lists = Vec::new();
        if told.tools_list_changed == Some(true) {
            lists.push(ComponentKind::Tool);
        }
        if told.prompts_list_changed == Some(true) {
            lists.push(ComponentKind::Prompt);
        }
        // The protocol has one notification for both lists.
        if told.resources_list_changed == Some(true) {
            lists.extend([ComponentKind::Resource, ComponentKind::ResourceTemplate]);
        }
        lists
    }

    /// Waits for its end. `notices` gets the notifications of a connection that is not ours.
    pub(crate) async fn ended(mut self, notices: Option<&Notices>) -> ListenEnd {
        loop {
            match self.0.next().await {
                Ok(Some(notification)) => {
                    // Our own transports have kept it before rmcp saw it.
                    if let Some(notices) = notices {
                        notices.hear(&notification);
                    }
                }
                Ok(None) => break,
                Err(error) => return lost(error),
            }
        }
        match self.0.end() {
            Some(SubscriptionEnd::Graceful(_)) => ListenEnd::Graceful,
            Some(SubscriptionEnd::Cancelled) => {
                ListenEnd::Lost(Fault::new(Outcome::Other, "the server cancelled it"))
            }
            Some(SubscriptionEnd::Lagged { .. }) => ListenEnd::Lost(Fault::new(
                Outcome::Other,
                "it sent more notifications than could be read",
            )),
            _ => ListenEnd::Gone,
        }
    }
}

/// The end of a request for which rmcp returns an error.
fn lost(error: ServiceError) -> ListenEnd {
    match call_failure(error) {
        CallFailure::Gone => ListenEnd::Gone,
        CallFailure::Failed(fault) => ListenEnd::Lost(fault),
        CallFailure::Rejected { code, message, .. } => {
            let text = format!("the server ended it with an error: {message} (code {code})");
            ListenEnd::Lost(Fault::new(Outcome::ProtocolError, text))
        }
    }
}

/// The kinds of list of which a server claims to report changes.
fn announced(capabilities: Option<&ServerCapabilities>) -> SubscriptionFilter {
    let Some(capabilities) = capabilities else { return SubscriptionFilter::new() };
    let mut filter = SubscriptionFilter::new();
    filter.tools_list_changed =
        capabilities.tools.as_ref().and_then(|tools| tools.list_changed).filter(|it| *it);
    filter.prompts_list_changed =
        capabilities.prompts.as_ref().and_then(|prompts| prompts.list_changed).filter(|it| *it);
    filter.resources_list_changed =
        capabilities.resources.as_ref().and_then(|it| it.list_changed).filter(|it| *it);
    filter
}

/// Whether a server claims to report changes of any list.
pub(super) fn tells_of_lists(capabilities: Option<&ServerCapabilities>) -> bool {
    announced(capabilities) != SubscriptionFilter::new()
}

/// The request of the older era that subscribes to the resource at `uri`.
#[expect(deprecated, reason = "it is the older era's, and servers of that era have nothing else")]
pub(super) fn subscribe(uri: String) -> ClientRequest {
    let params = model::SubscribeRequestParams::new(uri);
    ClientRequest::SubscribeRequest(model::SubscribeRequest::new(params))
}

/// The request of the older era that ends the subscription to the resource at `uri`.
#[expect(deprecated, reason = "it is the older era's, and servers of that era have nothing else")]
pub(super) fn unsubscribe(uri: String) -> ClientRequest {
    let params = model::UnsubscribeRequestParams::new(uri);
    ClientRequest::UnsubscribeRequest(model::UnsubscribeRequest::new(params))
}
