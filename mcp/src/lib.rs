//! MCP client sessions that leave cleanly: one owner task per session, every exit accounted for.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod error;
mod event;
mod fault;
mod group;
mod order;
mod params;
mod process;
mod report;
mod session;
mod wire;

pub use error::{CallError, ConnectError, SharedError};
pub use event::{Event, EventKind, LeavePhase};
pub use group::SessionGroup;
pub use params::{
    CallOptions, GroupOptions, HttpParams, Policy, ServerParams, StdioParams, Transport,
};
pub use report::{
    CloseReport, ComponentInfo, ComponentKind, Delete, ErrorReport, ExitStatusReport, LeaveReport,
    Outcome, ServerReport, SessionInfo, TransportKind,
};
