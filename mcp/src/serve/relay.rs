//! The way of the servers' requests and notifications to the clients.

use std::sync::{Arc, OnceLock, Weak};

use serde_json::{Value, json};

use super::Core;
use super::client::Client;
use super::errand::{self, ELICIT, Errand, LIST_ROOTS, SAMPLE};
use crate::callbacks::{Callbacks, LogLevel, RequestError, ServerMessage};

/// The callbacks of a group, which exist before its gateway does.
#[derive(Debug, Clone, Default)]
pub(super) struct Relay(Arc<OnceLock<Weak<Core>>>);

/// The notifications that are passed on in another way, or that concern the gateway alone.
const NOT_PASSED_ON: [&str; 8] = [
    "notifications/progress",
    "notifications/cancelled",
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/subscriptions/acknowledged",
    "notifications/tasks",
];
const LOG: &str = "notifications/message";

impl Relay {
    /// Callbacks that pass every request and notification on. They announce the capabilities that some client may have,
    /// because a server is connected before its clients are known.
    pub(super) fn callbacks(&self) -> Callbacks {
        let mut callbacks = Callbacks::new();
        for method in [SAMPLE, ELICIT, LIST_ROOTS] {
            let relay = self.clone();
            callbacks = callbacks.on_request(method, move |asked| relay.clone().ask(asked));
        }
        let relay = self.clone();
        callbacks.on_notification(move |told| relay.clone().tell(told))
    }

    pub(super) fn attach(&self, core: &Arc<Core>) {
        // Set once, because a relay belongs to one gateway.
        let _attached = self.0.set(Arc::downgrade(core));
    }

    fn core(&self) -> Option<Arc<Core>> {
        self.0.get()?.upgrade()
    }

    /// Passes a request to the client for which the server works. If that client is not known, the request goes to the
    /// only client that answers such requests.
    async fn ask(self, asked: ServerMessage) -> Result<Value, RequestError> {
        let ServerMessage { server, method, params, tag, .. } = asked;
        if let Some(errand) = tag.as_ref().and_then(|tag| tag.get::<Arc<Errand>>()) {
            return errand.ask(&method, params).await;
        }
        let clients = self.core().map(|core| core.clients.all()).unwrap_or_default();
        let mut able = clients.iter().filter(|client| client.answers(&method, &params));
        match (able.next().and_then(|client| client.peer()), able.next()) {
            (Some(peer), None) => errand::ask(peer, None, &method, params).await,
            (None, _) if method == LIST_ROOTS => Ok(json!({"roots": []})),
            (None, _) => {
                let text = format!("no client of the gateway answers {method}");
                Err(RequestError::new(RequestError::METHOD_NOT_FOUND, text))
            }
            (Some(_), Some(_)) => Err(RequestError::internal(format!(
                "several clients answer {method}, and it is not known for which of them server {server:?} asks"
            ))),
        }
    }

    /// Passes a notification to the client for which the server works, or to all clients that want such notifications.
    async fn tell(self, told: ServerMessage) {
        let ServerMessage { server, method, mut params, tag, .. } = told;
        if NOT_PASSED_ON.contains(&method.as_str()) {
            return;
        }
        let mut level: Option<LogLevel> = None;
        if method == LOG {
            level = serde_json::from_value(params["level"].clone()).ok();
            // The logger names the server, because a client sees the messages of several servers.
            let logger = params["logger"].as_str().map(|logger| format!("{server}/{logger}"));
            params["logger"] = logger.unwrap_or_else(|| server.to_string()).into();
        }
        let wanted = |from: Option<LogLevel>| {
            level.is_none_or(|level| from.is_some_and(|from| level >= from))
        };
        if let Some(errand) = tag.as_ref().and_then(|tag| tag.get::<Arc<Errand>>()) {
            if wanted(errand.log) {
                errand::tell(&errand.peer, &method, params).await;
            }
            return;
        }
        let clients: Vec<Arc<Client>> =
            self.core().map(|core| core.clients.all()).unwrap_or_default();
        for client in clients.iter().filter(|client| wanted(client.log_level())) {
            if let Some(peer) = client.peer() {
                errand::tell(peer, &method, params.clone()).await;
            }
        }
    }
}
