//! MCP client sessions that leave cleanly: one owner task per session, and every exit is
//! accounted for.
//!
//! A [`SessionGroup`] connects to many servers at once, calls their tools by name, and leaves them: from any task, in
//! any order, within one budget, with a report on each.
//!
//! ```no_run
//! use moored_mcp::{
//!     CallOptions, GroupOptions, HttpParams, Policy, ServerParams, SessionGroup, StdioParams,
//! };
//!
//! # #[tokio::main]
//! # async fn main() {
//! let group = SessionGroup::start(GroupOptions::default());
//! let servers = vec![
//!     ServerParams::http("docs", HttpParams::new("https://docs.example/mcp")),
//!     ServerParams::stdio("files", StdioParams::new("files-server")),
//! ];
//! for result in group.connect_many(servers, Policy::BestEffort).await {
//!     if let Err(error) = result {
//!         eprintln!("{error}: {}", error.report().chain.join(": "));
//!     }
//! }
//! let found = group.call_tool("docs/search", Default::default(), CallOptions::default()).await;
//! println!("{found:?}");
//! let report = group.close().await;
//! assert!(report.clean);
//! # }
//! ```
//!
//! # The nouns
//!
//! - [`SessionGroup`]: sends requests to the owners. It is cloned freely, because it owns nothing that
//!   would have to be left.
//! - *owner*: one task for each session, which connects, serves and leaves it. Each resource that it acquires (a child
//!   process, an HTTP session, pumps) has its exit on the owner's own [`moored::ExitStack`] before any later step can
//!   fail. Siblings share no stack.
//! - [`ComponentInfo`]: a tool, prompt, resource or template that a server offers, with the server's own JSON, under
//!   its name in the group ([`Names`]: a legal tool name in the usual interfaces to language models).
//! - [`SessionState`] and [`Event`]: the present state of a session, and every change of it.
//! - [`Callbacks`]: the answers to the requests of servers, and the receivers of their notifications.
//! - [`ServerReport`] and [`CloseReport`]: the outcome of a server, and of all. They serialise to the machine contract
//!   of the command.
//!
//! # Guarantees
//!
//! - A failed attempt has been cleaned up when its error is returned. If its caller has gone away, the owner cleans up
//!   all the same.
//! - The error is the cause and never "you were cancelled": its chain goes down to the operating system's text.
//! - A server of an unknown era is probed with `server/discover`; if it does not answer that as a modern server,
//!   `initialize` decides. A late answer still counts. A child that exits on the probe is started again, once, when its
//!   first process has been left. [`Era`] sets the era if it is known beforehand.
//! - Children are started in turns ([`GroupOptions::starts`]), and the time of each runs from its turn.
//! - A child is left by end of input, then SIGTERM, then SIGKILL, each after its grace. Its process group is swept even
//!   if its leader has exited, and only then is the leader reaped.
//! - An HTTP session that a server has opened for us is ended by one DELETE, also if the handshake failed half-way, or
//!   if its id came with a refusal. No request is posted after it.
//! - Closing ends within the budget, however servers behave, and always waits for the real end.
//! - A group that lives long stays small: it keeps the reports of the last few hundred sessions that have been
//!   left.
//! - The lists are live: a list is read again when its server says that it has changed, and the components of a server
//!   that is gone are withdrawn. A name belongs to the first server that takes it. A server that comes up with a name
//!   that is taken is left again; a component that takes it later is left out, with a warning that names both servers.
//! - A callback is cancelled with its request and with its session. A callback that panics ends neither.
//! - No credential is shown in an error, a report, a log or a `Debug`.
//! - No wait depends on a server alone: a call has its limit (a minute by default), a list its page cap, a line its
//!   length, a lost stream its number of tries.
//! - A message that carries the id of a request answers it. An answer that is broken, too long or of the wrong shape
//!   fails its request at once with the reason; text that is not Unicode is delivered with U+FFFD in its place.
//! - The output of a child before its exit counts: the pipe is read to its end before the exit is the
//!   outcome.
//! - A pooled HTTP connection that the server has closed costs nothing: a request that is safe to repeat is sent once
//!   more, on a new connection, if no byte of an answer has come (RFC 9112, section 9.3.1). All requests are safe to
//!   repeat but `tools/call` and requests that this crate does not know: these two kinds of request are sent again only if
//!   they were never written.
//!
//! - Children do not outlive this program if it has a [`Watchdog`], even if it is ended by SIGKILL.
//!
//! # Limits
//!
//! - A process that leaves its group (`setsid`) is no longer ours: it is neither signalled nor waited for. If this
//!   program is process 1 of a container, the dead of each group are reaped when its session is left; a process that
//!   left its group is not, so such a container needs an init.
//! - A DELETE needs a runtime. When the runtime is shut down before [`SessionGroup::close`], children are killed and
//!   reaped, and sessions on HTTP servers are left to them.
//! - Windows is not supported, because process groups are a concept of Unix.
//!
//! # Features
//!
//! - `tls` (default): `https://`, with rustls on ring.
//! - `auth`: OAuth 2.1 for servers that ask for it.
//! - `config`: the module `config`, which reads the files in which other programs keep their
//!   servers.
//! - `serve`: [`Gateway`], which puts the servers of a group behind one endpoint.
//! - `cli` (default, with `config` and `serve`): the command `moored-mcp`. A library that uses this one turns it off.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(not(unix))]
compile_error!("moored-mcp leaves children by their process groups, which only Unix has");

mod answer;
mod auth;
mod callbacks;
mod component;
#[cfg(feature = "config")]
pub mod config;
mod duration;
mod error;
mod event;
mod fault;
// The doors of the fuzz targets in `fuzz/`: no part of the interface.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod group;
mod names;
mod order;
mod panics;
mod params;
mod policy;
mod process;
mod report;
#[cfg(feature = "serve")]
mod serve;
mod session;
mod signal;
mod state;
mod watchdog;
mod wire;

pub use answer::{CompleteResult, Completion, Progress, PromptResult, ResourceResult, ToolResult};
pub use auth::{Authorize, HeadersWanted, Refused};
#[cfg(feature = "auth")]
pub use auth::{OAuth, TokenStore, Tokens};
pub use callbacks::{
    Callbacks, ElicitAnswer, Elicitation, LogLevel, LogMessage, RequestError, Root, Roots,
    SampleAnswer, Sampling, ServerMessage, Tag,
};
pub use component::{ComponentInfo, ComponentKind};
pub use error::{CallError, ConnectError, SharedError};
pub use event::{Event, EventKind};
pub use group::SessionGroup;
pub use names::Names;
pub use params::{
    CallOptions, ClientInfo, CompleteArgs, Era, GroupOptions, HttpParams, OnProgress, Policy,
    ServerParams, StdioParams, Transport,
};
pub use policy::{Backoff, Descendants, Restart};
pub use report::{
    AttemptReport, CloseReport, ConnectPhase, ConnectPhaseReport, Delete, ErrorReport,
    ExitStatusReport, LeavePhase, LeaveReport, Outcome, PhaseReport, ServerReport, SessionInfo,
    TransportKind,
};
#[cfg(feature = "serve")]
pub use serve::{Body, Gateway, GatewayOptions, ServerState};
pub use state::{SessionStage, SessionState};
pub use watchdog::Watchdog;
pub use wire::{Adopted, Returned};
