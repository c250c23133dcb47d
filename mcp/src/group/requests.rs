//! Requests by name: which session a name belongs to, and what is asked of it.

mod template;

use std::sync::Arc;

use serde_json::{Map, Value};

use super::SessionGroup;
use super::registry::Registry;
use crate::component::{ComponentInfo, ComponentKind};
use crate::error::CallError;
use crate::params::{CallOptions, CompleteArgs};
use crate::session::{Live, Session, Stage};
use crate::wire::Question;

impl SessionGroup {
    /// Calls a tool by its hooked name, or as `server/tool`. The answer is the server's result as raw JSON, exactly as it
    /// came, `isError` included; [`ToolResult`](crate::ToolResult) reads it.
    ///
    /// # Errors
    ///
    /// [`CallError`]: an unknown name, the server's own error, the limit, or what became of the session. A call resolves
    /// exactly once, whatever happens meanwhile.
    ///
    /// # Panics
    ///
    /// Where [`CallOptions::on_progress`] panics; the server is told that nobody waits any more.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future tells the server that nobody waits any more; the session stands.
    pub async fn call_tool(
        &self,
        hooked: &str,
        args: Map<String, Value>,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let (route, tool) = self.route(ComponentKind::Tool, hooked)?;
        self.ask(route, hooked, Question::Call { tool, args }, options).await
    }

    /// Gets a prompt by its hooked name, or as `server/prompt`, with the values of its arguments. The answer is the server's
    /// result as raw JSON; [`PromptResult`](crate::PromptResult) reads it.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool).
    ///
    /// # Panics
    ///
    /// As [`call_tool`](Self::call_tool) does.
    ///
    /// # Cancel safety
    ///
    /// As for [`call_tool`](Self::call_tool).
    pub async fn get_prompt(
        &self,
        hooked: &str,
        args: Map<String, Value>,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let (route, name) = self.route(ComponentKind::Prompt, hooked)?;
        self.ask(route, hooked, Question::Prompt { name, args }, options).await
    }

    /// Reads a resource. The answer is the server's result as raw JSON; [`ResourceResult`](crate::ResourceResult) reads it.
    ///
    /// `what` is tried as
    ///
    /// 1. a hooked name, or `server/name`;
    /// 2. `server/ADDRESS`: any address at all, which that server is asked for;
    /// 3. an address that a server lists; of several servers, the first one is asked;
    /// 4. an address that fits a template of a server, in the same order.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool).
    ///
    /// # Panics
    ///
    /// As [`call_tool`](Self::call_tool) does.
    ///
    /// # Cancel safety
    ///
    /// As for [`call_tool`](Self::call_tool).
    pub async fn read_resource(
        &self,
        what: &str,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let (route, uri) = self.route(ComponentKind::Resource, what)?;
        self.ask(route, what, Question::Read { uri }, options).await
    }

    /// Asks for values that an argument of a prompt or of a resource template may have. `hooked` is the name of the one or
    /// the other, as `kind` says. The answer is the server's result as raw JSON;
    /// [`CompleteResult`](crate::CompleteResult) reads it.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool). Tools and resources have no arguments to complete, so that of these kinds
    /// every name is unknown. A server without completion rejects the request.
    ///
    /// # Panics
    ///
    /// As [`call_tool`](Self::call_tool) does.
    ///
    /// # Cancel safety
    ///
    /// As for [`call_tool`](Self::call_tool).
    pub async fn complete(
        &self,
        kind: ComponentKind,
        hooked: &str,
        args: CompleteArgs,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        if !matches!(kind, ComponentKind::Prompt | ComponentKind::ResourceTemplate) {
            return Err(CallError::unknown(kind, hooked));
        }
        let (route, wire) = self.route(kind, hooked)?;
        self.ask(route, hooked, Question::Complete { kind, wire, args }, options).await
    }

    async fn ask(
        &self,
        route: Route,
        name: &str,
        question: Question,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let Route { session, live } = route;
        let usual = session.params.call_timeout.or(self.0.state.shared.options.call_timeout);
        session.ask(&live, name, question, options, usual).await
    }

    /// The session and the wire name behind a name.
    fn route(&self, kind: ComponentKind, name: &str) -> Result<(Route, String), CallError> {
        let registry = self.0.state.registry.lock();
        let found = registry
            .hooked(kind, name)
            .or_else(|| registry.qualified(kind, name))
            .or_else(|| registry.addressed(kind, name));
        found.unwrap_or_else(|| Err(CallError::unknown(kind, name)))
    }
}

/// A session that is up.
#[derive(Debug)]
struct Route {
    session: Arc<Session>,
    live: Arc<Live>,
}

/// A route and a wire name, or why a session that would have had them is not up.
type Routed = Result<(Route, String), CallError>;

impl Registry {
    /// Who offers `name` under the name that the group has for it.
    fn hooked(&self, kind: ComponentKind, name: &str) -> Option<Routed> {
        self.first(|session, stage| {
            let place = session.offered.get()?.place(kind, name)?;
            Some(stage.and_then(|live| Some(live.components.get(place)?.wire.clone())))
        })
    }

    /// Who offers `name` as `server/name`. Names of servers may hold slashes, so it is the servers that are asked, not the
    /// name that is split.
    fn qualified(&self, kind: ComponentKind, name: &str) -> Option<Routed> {
        self.first(|session, live| {
            let name = name.strip_prefix(&*session.name)?.strip_prefix('/')?;
            let Some(live) = live else { return Some(None) };
            let is_it = |it: &&ComponentInfo| it.wire == name || it.name() == name;
            let listed = live.all(kind).find(is_it).map(|it| it.wire.clone());
            let is_address = kind == ComponentKind::Resource && name.contains(':');
            listed.or_else(|| is_address.then(|| name.to_owned())).map(Some)
        })
    }

    /// Who offers the address `name`.
    fn addressed(&self, kind: ComponentKind, name: &str) -> Option<Routed> {
        if kind != ComponentKind::Resource {
            return None;
        }
        let listed = |live: &Live| live.all(kind).any(|it| it.wire == name);
        let fits = |live: &Live| {
            live.all(ComponentKind::ResourceTemplate).any(|it| template::fits(&it.wire, name))
        };
        let up = |offers: &dyn Fn(&Live) -> bool| {
            self.first(|_, live| live.filter(|live| offers(live)).map(|_| Some(name.to_owned())))
        };
        up(&listed).or_else(|| up(&fits))
    }

    /// The first session that is up and of which `wire` knows a wire name; otherwise what became of the last one that is not
    /// up and is known to `wire` all the same.
    fn first(
        &self,
        wire: impl Fn(&Session, Option<&Live>) -> Option<Option<String>>,
    ) -> Option<Routed> {
        let mut down = None;
        for session in self.sessions() {
            match session.stage() {
                Stage::Up(live) => {
                    if let Some(Some(wire)) = wire(session, Some(&live)) {
                        return Some(Ok((Route { session: session.clone(), live }, wire)));
                    }
                }
                stage => {
                    if wire(session, None).is_some() {
                        down = Some(Err(session.gone(stage)));
                    }
                }
            }
        }
        down
    }
}
