//! The session group.

use serde_json::{Map, Value};
use tokio::sync::broadcast;

use crate::error::{CallError, ConnectError};
use crate::event::Event;
use crate::params::{CallOptions, GroupOptions, Policy, ServerParams};
use crate::report::{CloseReport, ComponentInfo, ServerReport, SessionInfo};

/// Sessions that are connected, used and left together.
#[derive(Debug, Clone)]
pub struct SessionGroup {
    options: GroupOptions,
    events: broadcast::Sender<Event>,
}

impl SessionGroup {
    /// Starts an empty group on the current tokio runtime.
    pub fn start(options: GroupOptions) -> SessionGroup {
        SessionGroup { options, events: broadcast::channel(1024).0 }
    }

    /// Connects one server.
    pub async fn connect(&self, params: ServerParams) -> Result<SessionInfo, ConnectError> {
        let _ = (params, &self.options);
        todo!()
    }

    /// Connects many at once; the results come in the order of `params`.
    pub async fn connect_many(
        &self,
        params: Vec<ServerParams>,
        policy: Policy,
    ) -> Vec<Result<SessionInfo, ConnectError>> {
        let _ = (params, policy);
        todo!()
    }

    /// What the connected servers offer.
    pub fn list(&self) -> Vec<ComponentInfo> {
        todo!()
    }

    /// Calls a tool by its hooked name.
    pub async fn call_tool(
        &self,
        hooked: &str,
        args: Map<String, Value>,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let _ = (hooked, args, options);
        todo!()
    }

    /// Leaves one session.
    pub async fn disconnect(&self, name: &str) -> Option<ServerReport> {
        let _ = name;
        todo!()
    }

    /// Leaves all sessions.
    pub async fn close(&self) -> CloseReport {
        todo!()
    }

    /// Kills every child's group at once and sends no more DELETE.
    pub fn force(&self) {
        todo!()
    }

    /// The steps of all sessions from now on.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
}
