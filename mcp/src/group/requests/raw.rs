//! Requests to a server itself, and not to one of its components.

use serde_json::{Map, Value};

use super::Route;
use crate::callbacks::LogLevel;
use crate::error::CallError;
use crate::group::SessionGroup;
use crate::params::CallOptions;
use crate::session::Stage;
use crate::wire::Question;

impl SessionGroup {
    /// Requests log messages of this level and above from a server. They go to
    /// [`Callbacks::on_log`](crate::Callbacks::on_log).
    ///
    /// A server of the newer era gets the level with every request from now on. A server that is started again, or that
    /// begins another HTTP session, gets the level anew.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool). A server that has no log rejects it.
    ///
    /// # Cancel safety
    ///
    /// As for [`call_tool`](Self::call_tool).
    pub async fn set_log_level(&self, server: &str, level: LogLevel) -> Result<(), CallError> {
        let route = self.server(server)?.admitted(&self.0.state)?;
        let wanted = route.session.log_level.clone();
        if !route.live.is_modern() {
            let question = Question::log_level(level);
            self.ask(route, "logging/setLevel", question, CallOptions::default()).await?;
        }
        *wanted.lock() = Some(level);
        Ok(())
    }

    /// Sends a request of any method to a server. The answer is its result as raw JSON, of any form.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool).
    ///
    /// # Cancel safety
    ///
    /// As for [`call_tool`](Self::call_tool).
    pub async fn request(
        &self,
        server: &str,
        method: &str,
        mut params: Map<String, Value>,
        mut options: CallOptions,
    ) -> Result<Value, CallError> {
        let route = self.server(server)?.admitted(&self.0.state)?;
        // The metadata is not part of the parameters here, because it is sent together with the token of the progress.
        if let Some(Value::Object(meta)) = params.remove("_meta") {
            for (key, value) in meta {
                options.meta.entry(key).or_insert(value);
            }
        }
        let question = Question::Raw { method: method.to_owned(), params };
        self.ask(route, method, question, options).await
    }

    /// Sends a notification of any method to a server.
    ///
    /// # Errors
    ///
    /// If it could not be sent: a [`CallError`].
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the notification may or may not have been sent.
    pub async fn notify(
        &self,
        server: &str,
        method: &str,
        params: Map<String, Value>,
    ) -> Result<(), CallError> {
        // A group that drains sends them all the same: a call under way may need one.
        let Route { session, live, .. } = self.server(server)?;
        session.notify(&live, method.to_owned(), params).await
    }

    /// The session of a server that is up.
    fn server(&self, name: &str) -> Result<Route, CallError> {
        let registry = self.0.state.registry.lock();
        let Some(session) = registry.newest(name) else {
            return Err(CallError::UnknownServer(name.to_owned()));
        };
        match session.stage() {
            Stage::Up(live) => registry.way(&session, live),
            stage => Err(session.gone(stage)),
        }
    }
}
