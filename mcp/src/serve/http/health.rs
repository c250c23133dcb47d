//! The health check, for programs that start and watch the gateway.

use http::{Method, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::runtime::Handle;

use super::super::fleet::cause;
use super::super::{Core, ServerState};
use super::body::{self, Body};

pub(super) const PATH: &str = "/health";

impl Core {
    /// 200 as long as requests are accepted, in any state of the servers; 503 afterwards. Only for an authorized client the
    /// answer has the names and failures of the servers, and the numbers of requests under way and of tasks of the
    /// runtime.
    pub(super) fn health(&self, method: &Method, authorized: bool) -> Response<Body> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return super::not_allowed("GET, HEAD");
        }
        let servers = self.fleet.states();
        let count = |wanted: fn(&ServerState) -> bool| {
            servers.iter().filter(|(_, state)| wanted(state)).count()
        };
        let closing = self.is_closing();
        let mut health = json!({
            "status": if closing { "closing" } else { "ok" },
            "sessions": self.sessions.len(),
            "up": count(|state| matches!(state, ServerState::Up)),
            "starting": count(|state| matches!(state, ServerState::Starting)),
            "down": count(|state| matches!(state, ServerState::Down { .. })),
        });
        if authorized {
            health["requests"] =
                (self.options.requests.saturating_sub(self.requests.available_permits())).into();
            health["tasks"] = Handle::current().metrics().num_alive_tasks().into();
            let each = servers.into_iter().map(|(name, state)| (name, told(&state)));
            health["servers"] = Value::Object(Map::from_iter(each));
        }
        let status = if closing { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
        body::json(status, &health)
    }
}

fn told(state: &ServerState) -> Value {
    match state {
        ServerState::Starting => json!({"state": "starting"}),
        ServerState::Up => json!({"state": "up"}),
        ServerState::Down { outcome, error } => {
            json!({"state": "down", "outcome": outcome, "error": cause(error)})
        }
    }
}
