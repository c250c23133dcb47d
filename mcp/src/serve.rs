//! A fleet of servers behind one endpoint.

pub(crate) mod accept;
mod answering;
mod changes;
mod client;
mod desk;
mod errand;
mod errors;
mod fleet;
mod guard;
mod headers;
mod http;
mod instructions;
mod keeper;
mod lists;
mod message;
mod options;
mod parked;
mod pipe;
mod reasons;
mod relay;
mod results;
mod subscriptions;
mod unread;

use std::convert::Infallible;
use std::sync::Arc;

use moored::rt::tokio::Tokio;
use moored::{CancelHandle, GroupSpawner, TaskHandle};
use tokio::sync::{Semaphore, watch};

use self::client::Clients;
use self::fleet::Fleet;
pub use self::fleet::ServerState;
pub use self::http::body::Body;
use self::http::sessions::Sessions;
pub use self::options::GatewayOptions;
use self::parked::Parked;
use self::relay::Relay;
use self::subscriptions::Subscriptions;
use crate::callbacks::LogLevel;
use crate::group::SessionGroup;
use crate::params::{GroupOptions, ServerParams};
use crate::report::CloseReport;

/// The servers of a [`SessionGroup`] behind one endpoint. To its clients the gateway is one server that offers the
/// components of all of them, under the names that the group has for them.
///
/// It speaks both eras of the protocol, over streamable HTTP ([`serve_http`](Self::serve_http), or
/// [`handle`](Self::handle) inside another HTTP server) and over a pipe ([`serve_pipe`](Self::serve_pipe)), any number
/// of them at once. A gateway is cheap to clone.
///
/// # What one can rely on
///
/// - A server that is down delays its own clients for a bounded time only, and no other server. [`keep`](Self::keep)
///   connects it again. Until then a request for it returns the reason why it is down; its components are offered as
///   soon as it is connected.
/// - Components and results are passed on as their servers sent them. Only the names of components are changed, and the fields
///   added that an era demands (`resultType`, `ttlMs`, `cacheScope`).
/// - A client that cancels cancels its requests at the servers. So does one of the newer era that goes away; in the older one
///   that is no cancellation over HTTP.
/// - Where the gateway has a group of its own ([`open`](Self::open)), the requests and notifications of a server that works
///   on a call go to the client of that call.
/// - Every request is a child of the gateway. A handler that panics fails only its own request.
/// - Bodies, sessions, connections and requests all have limits. See [`GatewayOptions`].
///
/// # On drop
///
/// When the last clone is dropped, everything ends at once, and the group is closed in the background. Call
/// [`close`](Self::close) to let requests come to their end, and for the report.
///
/// # Examples
///
/// ```no_run
/// use moored_mcp::{Gateway, GatewayOptions, GroupOptions, ServerParams, StdioParams};
///
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// let gateway = Gateway::open(GroupOptions::default(), GatewayOptions::default());
/// gateway.keep(vec![ServerParams::stdio("files", StdioParams::new("files-server"))]);
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:8000").await?;
/// tokio::select! {
///     served = gateway.serve_http(listener) => served?,
///     _ = tokio::signal::ctrl_c() => {}
/// }
/// println!("{:?}", gateway.close().await);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Inner>);

/// The handle of the clones; its drop closes the gateway.
#[derive(Debug)]
struct Inner {
    core: Arc<Core>,
    report: keeper::Report,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.core.whole.cancel_because("the gateway was dropped");
    }
}

type Spawner = GroupSpawner<'static, Infallible>;

/// The state that all parts of a gateway share.
#[derive(Debug)]
struct Core {
    options: GatewayOptions,
    fleet: Arc<Fleet>,
    sessions: Sessions,
    clients: Clients,
    parked: Parked,
    subscriptions: Subscriptions,
    /// Turns for requests under way.
    requests: Arc<Semaphore>,
    /// The group of the requests. They may come to their end when the gateway closes.
    calls: Spawner,
    /// The group of the connections. They may still write answers when the gateway closes.
    wires: Spawner,
    /// The group of all other work, which runs until the requests and connections have ended.
    rest: Spawner,
    /// Asks the requests to come to their end, which closes the gateway.
    closing: CancelHandle,
    /// Stopped when the requests have ended, so that the streams to clients end.
    flushing: CancelHandle,
    /// Ends everything at once.
    whole: CancelHandle,
}

impl Gateway {
    /// Starts a gateway with its own group, on the current tokio runtime. Requests and notifications of its servers go
    /// to the clients, instead of the callbacks in `group`.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn open(group: GroupOptions, options: GatewayOptions) -> Gateway {
        let relay = Relay::default();
        let group = SessionGroup::start(group.callbacks(relay.callbacks()));
        Self::with(group, options, &relay)
    }

    /// Starts a gateway for the servers of an existing group. Requests and notifications of the servers go to the
    /// group's own callbacks, and not to the clients.
    ///
    /// From now on, closing the gateway closes the group, and closing the group closes the gateway. The group can still
    /// be used: clients of the gateway see a server that is connected to it or left by it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub fn start(group: SessionGroup, options: GatewayOptions) -> Gateway {
        Self::with(group, options, &Relay::default())
    }

    fn with(group: SessionGroup, options: GatewayOptions, relay: &Relay) -> Gateway {
        let (told, report) = watch::channel(None);
        let regions = keeper::Regions::new(options.drain);
        let core = Arc::new(Core {
            fleet: Arc::new(Fleet::new(group.clone(), &options)),
            sessions: Sessions::new(&options),
            clients: Clients::default(),
            parked: Parked::default(),
            subscriptions: Subscriptions::default(),
            requests: Arc::new(Semaphore::new(options.requests.clamp(1, Semaphore::MAX_PERMITS))),
            calls: regions.calls.spawner(),
            wires: regions.wires.spawner(),
            rest: regions.rest.spawner(),
            closing: regions.draining.handle(),
            flushing: regions.flushing.handle(),
            whole: regions.whole.handle(),
            options,
        });
        relay.attach(&core);
        core.rest(core.fleet.clone().follow());
        core.rest(core.clone().follow_updates());
        let its = core.clone();
        core.rest(async move {
            its.closing.stop_requested().await;
            // Their clients could not go on with them any more.
            its.parked.clear();
        });
        tokio::spawn(regions.keep(group, told));
        Gateway(Arc::new(Inner { core, report }))
    }

    /// Connects `servers`, and connects each of them again after a failed attempt or a lost session, until the gateway
    /// closes. Between two attempts it waits [`retry`](GatewayOptions::retry), then twice that, and so on up to
    /// [`retry_most`](GatewayOptions::retry_most). A server with the name of one that is kept already is left out.
    pub fn keep(&self, servers: Vec<ServerParams>) {
        let core = &self.0.core;
        // All servers are registered first, so that a list waits for all of them.
        let is_new = |server: &ServerParams| {
            let is_new = core.fleet.expect(server);
            if !is_new {
                tracing::warn!(
                    "the name {:?} is given twice: the first server has it",
                    server.name
                );
            }
            is_new
        };
        let new: Vec<_> = servers.into_iter().filter(is_new).collect();
        for server in new {
            core.rest(core.fleet.clone().tend(server));
        }
    }

    /// The servers given to [`keep`](Self::keep), in their order, each with its state.
    pub fn servers(&self) -> Vec<(String, ServerState)> {
        self.0.core.fleet.states()
    }

    /// Waits until the first attempt of each of these servers has had an outcome, but no longer than
    /// [`settle`](GatewayOptions::settle).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub async fn settled(&self) {
        self.0.core.fleet.settled(None).await;
    }

    /// The group behind the gateway.
    pub fn group(&self) -> &SessionGroup {
        &self.0.core.fleet.group
    }

    /// Closes the gateway, then the group, and waits until both have ended.
    ///
    /// No request is accepted any more. Requests under way may come to their end within
    /// [`drain`](GatewayOptions::drain), and are cancelled then; each is answered once. Streams end, sessions end,
    /// connections are closed. Then the group is left, within its own budget.
    ///
    /// # Cancel safety
    ///
    /// Closing goes on if the future is dropped; a further call waits for the same end.
    pub async fn close(&self) -> CloseReport {
        self.0.core.closing.stop();
        let mut report = self.0.report.clone();
        let told = report.wait_for(Option::is_some).await.ok().and_then(|report| report.clone());
        match told {
            Some(report) => CloseReport::clone(&report),
            // The keeper has ended with its runtime.
            None => self.group().close().await,
        }
    }

    /// Ends everything at once: requests are cancelled, and the children's process groups are killed.
    pub fn force(&self) {
        self.0.core.closing.stop();
        self.0.core.whole.cancel_because("the gateway was told to end at once");
        self.group().force();
    }
}

impl Core {
    /// Whether the gateway accepts no requests any more.
    fn is_closing(&self) -> bool {
        self.whole.is_cancelled() || self.closing.is_stop_requested()
    }

    /// A client wants the servers' log messages, from this level on.
    fn want_logs(self: &Arc<Self>, level: LogLevel) {
        if self.fleet.wants_log(level) {
            let fleet = self.fleet.clone();
            self.rest(async move {
                for (server, _) in fleet.states() {
                    fleet.ask_for_log(&server).await;
                }
            });
        }
    }

    /// Runs `work` until it ends, or the gateway has closed and drops it.
    fn rest(&self, work: impl Future<Output = ()> + Send + 'static) {
        spawn(&self.rest, work);
    }

    /// Runs `work`, which writes to a client; `None` if the gateway has closed.
    fn wire(&self, work: impl Future<Output = ()> + Send + 'static) -> Option<TaskHandle<()>> {
        spawn(&self.wires, work)
    }
}

/// Spawns `work` as a child that never fails: a panic is only logged. A gateway that has closed drops the work.
fn spawn(
    spawner: &Spawner,
    work: impl Future<Output = ()> + Send + 'static,
) -> Option<TaskHandle<()>> {
    use futures_util::FutureExt;
    let work = std::panic::AssertUnwindSafe(work).catch_unwind();
    let child = async move {
        if let Err(panic) = work.await {
            let _text = crate::panics::text(panic);
            tracing::error!("a part of the gateway has panicked");
        }
        Ok(())
    };
    spawner.spawn_on(&Tokio::current(), child).ok()
}
