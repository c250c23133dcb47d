//! The reasons for which a client takes its requests back, on their way to the servers.
//!
//! rmcp tells a request that it was cancelled, and not why. So the reason is read from the notification before rmcp gets it,
//! and is kept with the request, so that the code that drops the request finds it there.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rmcp::model::{ClientJsonRpcMessage, ClientNotification, RequestId, ServerJsonRpcMessage};
use rmcp::service::RoleServer;
use rmcp::transport::Transport;

use crate::callbacks::Why;

/// The requests of one client that are under way, each with the place for the reason.
#[derive(Debug, Clone, Default)]
pub(super) struct Reasons(Arc<Mutex<HashMap<RequestId, Why>>>);

impl Reasons {
    /// A request is under way until the returned value is dropped.
    pub(super) fn listed(&self, id: &RequestId, why: &Why) -> Listed {
        self.0.lock().insert(id.clone(), why.clone());
        Listed { all: self.clone(), id: id.clone() }
    }

    /// A transport from which the reasons are read.
    pub(super) fn read_from<T>(&self, transport: T) -> Heard<T> {
        Heard { transport, reasons: self.clone() }
    }

    /// Takes note of a message of the client.
    fn heard(&self, message: &ClientJsonRpcMessage) {
        if let ClientJsonRpcMessage::Notification(told) = message
            && let ClientNotification::CancelledNotification(it) = &told.notification
            && let (Some(id), Some(reason)) = (&it.params.request_id, &it.params.reason)
            && let Some(why) = self.0.lock().get(id)
        {
            why.is(reason);
        }
    }
}

/// A request in the list.
#[derive(Debug)]
pub(super) struct Listed {
    all: Reasons,
    id: RequestId,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.id);
    }
}

/// A transport from which the reasons are read.
#[derive(Debug)]
pub(super) struct Heard<T> {
    transport: T,
    reasons: Reasons,
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Heard<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        self.transport.send(message)
    }

    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        let message = self.transport.receive().await?;
        self.reasons.heard(&message);
        Some(message)
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        self.transport.close().await
    }
}
