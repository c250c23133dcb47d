//! Requests by name: the session to which a name belongs, and the request to it.

mod raw;
mod template;

use std::sync::Arc;

use moored::GroupGuard;
use serde_json::{Map, Value};

use super::registry::Registry;
use super::{SessionGroup, State};
use crate::component::{ComponentInfo, ComponentKind};
use crate::error::CallError;
#[cfg(doc)]
use crate::event::EventKind;
use crate::params::{CallOptions, CompleteArgs};
use crate::session::{Live, Session, Stage};
use crate::wire::{Question, mirrored};

impl SessionGroup {
    /// Calls a tool by its hooked name, or as `server/tool`. The answer is the server's result as raw JSON, exactly as it
    /// came, `isError` included; [`ToolResult`](crate::ToolResult) reads it.
    ///
    /// # Errors
    ///
    /// [`CallError`]: an unknown name, the server's own error, the limit, or the end of the session. A call
    /// resolves exactly once in every case.
    ///
    /// # Panics
    ///
    /// If [`CallOptions::on_progress`] panics; the server is told that the answer is no longer
    /// awaited.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future tells the server that the answer is no longer awaited; the session
    /// stays up.
    pub async fn call_tool(
        &self,
        hooked: &str,
        mut args: Map<String, Value>,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let (route, tool) = self.route(ComponentKind::Tool, hooked)?;
        if route.live.is_modern()
            && let Some(schema) = route.live.listing.input_schema(&tool)
        {
            mirrored::write_integers(&mut args, schema);
        }
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
    /// 2. `server/ADDRESS`: any address, which is requested from that server;
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

    /// Asks for values that an argument of a prompt or of a resource template may have. `hooked` is the name of the
    /// prompt or the template, by `kind`. The answer is the server's result as raw JSON;
    /// [`CompleteResult`](crate::CompleteResult) reads it.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool). Tools and resources have no arguments to complete, so every name of these
    /// kinds is unknown. A server without completion rejects the request.
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

    /// Subscribes to a resource: each change of it is an [`EventKind::ResourceUpdated`] of [`events`](Self::events).
    /// `what` is resolved like in [`read_resource`](Self::read_resource). A second subscription to the same resource
    /// changes nothing.
    ///
    /// A modern server gets a `subscriptions/listen` for each resource. A stream that breaks off is opened again. A
    /// stream that the server ends, or that cannot be opened again, is an [`EventKind::SubscriptionEnded`]. A
    /// subscription lasts until its session is left, and is renewed if another HTTP session replaces an expired one.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool): a server that has no subscriptions rejects the request.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped before the server has agreed, there is no subscription: one that the server has by then ends
    /// in the background.
    pub async fn subscribe(&self, what: &str) -> Result<(), CallError> {
        self.subscribe_anew(what).await.map(drop)
    }

    /// As [`subscribe`](Self::subscribe). `false` if there is a subscription already.
    pub(crate) async fn subscribe_anew(&self, what: &str) -> Result<bool, CallError> {
        let (Route { session, live, _under_way }, uri) =
            self.route(ComponentKind::Resource, what)?;
        let usual = session.params.call_timeout.or(self.0.state.shared.options.call_timeout);
        session.subscribe(&live, what, uri, usual).await
    }

    /// Ends the subscription to a resource. Without a subscription, nothing happens.
    ///
    /// # Errors
    ///
    /// As for [`call_tool`](Self::call_tool). The subscription has ended even if the server answers with an error.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the subscription ends in the background. If it is dropped while it waits for another
    /// change of a subscription, nothing happens.
    pub async fn unsubscribe(&self, what: &str) -> Result<(), CallError> {
        let (Route { session, live, _under_way }, uri) =
            self.route(ComponentKind::Resource, what)?;
        let usual = session.params.call_timeout.or(self.0.state.shared.options.call_timeout);
        session.unsubscribe(&live, what, uri, usual).await
    }

    async fn ask(
        &self,
        route: Route,
        name: &str,
        question: Question,
        options: CallOptions,
    ) -> Result<Value, CallError> {
        let Route { session, live, _under_way } = route;
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
        let (route, wire) = found.unwrap_or_else(|| Err(CallError::unknown(kind, name)))?;
        drop(registry);
        Ok((route.admitted(&self.0.state)?, wire))
    }
}

/// A session that is up.
#[derive(Debug)]
struct Route {
    session: Arc<Session>,
    live: Arc<Live>,
    /// Lets the group that drains wait for the call until it ends.
    _under_way: GroupGuard,
}

impl Route {
    /// The route, unless the group drains. Looked at after the call was counted: a group that begins to drain in between
    /// has counted it too, and one that began before refuses it.
    fn admitted(self, state: &State) -> Result<Self, CallError> {
        if state.shared.is_draining() {
            return Err(CallError::Closing(self.session.params.name.clone()));
        }
        Ok(self)
    }
}

/// A route and a wire name; or the error of the session that would have had them and is not up.
type Routed = Result<(Route, String), CallError>;

impl Registry {
    /// The way to a session that is up. The call counts from now on.
    ///
    /// # Errors
    ///
    /// The group is being closed.
    fn way(&self, session: &Arc<Session>, live: Arc<Live>) -> Result<Route, CallError> {
        match self.calls.as_ref().and_then(|calls| calls.guard().ok()) {
            Some(guard) => Ok(Route { session: session.clone(), live, _under_way: guard }),
            None => Err(CallError::Closing(session.params.name.clone())),
        }
    }

    /// The session that offers `name` as its name in the group.
    fn hooked(&self, kind: ComponentKind, name: &str) -> Option<Routed> {
        self.first(|session, live| match live {
            Some(live) => Some(Some(live.listing.get(kind, name)?.wire.clone())),
            None => session.has_offered(kind, name).then_some(None),
        })
    }

    /// The session that offers `name` as `server/name`. Names of servers may contain slashes, so each server compares
    /// its name, instead of splitting the text.
    fn qualified(&self, kind: ComponentKind, name: &str) -> Option<Routed> {
        self.first(|session, live| {
            let name = name.strip_prefix(&*session.name)?.strip_prefix('/')?;
            let Some(live) = live else { return Some(None) };
            let is_it = |it: &&ComponentInfo| it.wire == name || it.name() == name;
            let listed = live.listing.all(kind).find(is_it).map(|it| it.wire.clone());
            let is_address = kind == ComponentKind::Resource && name.contains(':');
            listed.or_else(|| is_address.then(|| name.to_owned())).map(Some)
        })
    }

    /// The session that offers the address `name`.
    fn addressed(&self, kind: ComponentKind, name: &str) -> Option<Routed> {
        if kind != ComponentKind::Resource {
            return None;
        }
        let listed = |live: &Live| live.listing.all(kind).any(|it| it.wire == name);
        let fits = |live: &Live, wide: bool| {
            live.listing
                .all(ComponentKind::ResourceTemplate)
                .any(|it| template::is_wide(&it.wire) == wide && template::fits(&it.wire, name))
        };
        let up = |offers: &dyn Fn(&Live) -> bool| {
            self.first(|_, live| live.filter(|live| offers(live)).map(|_| Some(name.to_owned())))
        };
        up(&listed)
            .or_else(|| up(&|live| fits(live, false)))
            .or_else(|| up(&|live| fits(live, true)))
    }

    /// The first session that is up and for which `wire` returns a wire name. Otherwise the error of the last session
    /// that is not up and for which `wire` returns a result all the same.
    fn first(
        &self,
        wire: impl Fn(&Session, Option<&Live>) -> Option<Option<String>>,
    ) -> Option<Routed> {
        let mut down = None;
        for session in self.sessions() {
            match session.stage() {
                Stage::Up(live) => {
                    if let Some(Some(wire)) = wire(session, Some(&live)) {
                        return Some(self.way(session, live).map(|route| (route, wire)));
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
