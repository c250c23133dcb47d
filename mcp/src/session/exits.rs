//! The exits of a session. Each is registered where its resource is acquired, and runs in the owner's task in every
//! case: the session was asked to leave, failed, timed out, or was abandoned by its caller.
//!
//! In the order in which they run: the link is stopped, so no message is sent any more; then the DELETE, or the child, or
//! the transport that goes back to the program; then the rest of the child's pipes; then the end of the callbacks; last the
//! end of rmcp's loop. The last two have had all that time to end. A failure goes into the record of the stack, beside the
//! session's own failure and never in its place.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::leaving::Leaving;
use super::pump::Pump;
use super::{Session, Shared, Stage};
use crate::event::EventKind;
use crate::order::OrderWatch;
use crate::process::ProcessGroup;
use crate::process::teardown::{self, Graces};
use crate::report::LeavePhase;
use crate::wire::desk::DeskEnd;
use crate::wire::http::HttpSession;
use crate::wire::stop::Exchanges;
use crate::wire::{LinkEnd, Side};

/// The time that written messages may take to reach a child before its input is closed; an eighth of the rest of the
/// budget, if that is less.
const FLUSH: Duration = Duration::from_millis(200);
/// The time that a pump may take to empty its pipe after the process has ended.
const DRAIN: Duration = Duration::from_millis(100);
/// The time that callbacks may take to end; a quarter of the rest of the budget, if that is less.
const CALLBACKS_END: Duration = Duration::from_secs(1);
/// The time that rmcp's loop may take to end after it was told to; a quarter of the rest of the budget, if that is
/// less.
const LOOP_END: Duration = Duration::from_secs(1);

/// A fault while leaving.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Suppressed(String);

/// Ends every operation that is under way, and with them rmcp's loop, and waits for the exchanges. From here on no message
/// is sent, and a child is at the end of its input, so the later exits need not wait for the loop.
pub(super) async fn stop_link(
    session: Arc<Session>,
    shared: Arc<Shared>,
    leaving: Leaving,
    process: Option<Arc<ProcessGroup>>,
    side: Side,
    exchanges: Exchanges,
    orders: OrderWatch,
) {
    if process.is_some_and(|process| process.status().is_none()) {
        begin_phase(&session, &shared, &leaving, LeavePhase::EndOfInput);
    }
    if let Some(desk) = &side.desk {
        desk.stop_answering();
    }
    side.stop.request();
    // An exchange that has not noticed yet may be about to receive the id of a session that has to be ended.
    tokio::select! {
        biased;
        _ = exchanges.run(async { Ok(()) }) => {}
        () = orders.out_of_time() => {}
    }
}

/// Waits for the end of the callbacks.
pub(super) async fn end_callbacks(end: DeskEnd, orders: OrderWatch) -> Result<(), Suppressed> {
    end.ended(share(&orders, 4).min(CALLBACKS_END)).await.map_err(Suppressed)
}

/// Waits for the end of rmcp's loop.
pub(super) async fn end_link(end: LinkEnd, orders: OrderWatch) -> Result<(), Suppressed> {
    tokio::select! {
        // The time is asked for last, because the loop has usually ended by now.
        biased;
        () = end.ended() => Ok(()),
        () = async { tokio::time::sleep(share(&orders, 4).min(LOOP_END)).await } => {
            Err(Suppressed("the protocol loop did not end in time".into()))
        }
    }
}

/// Ends the session on the server.
pub(super) async fn end_session(
    session: Arc<Session>,
    shared: Arc<Shared>,
    leaving: Leaving,
    orders: OrderWatch,
    http: Arc<HttpSession>,
) -> Result<(), Suppressed> {
    if http.has_session() {
        begin_phase(&session, &shared, &leaving, LeavePhase::Delete);
    }
    let deleted = http.delete(&shared.delete_turns, &orders).await;
    leaving.end_phase();
    leaving.deleted(deleted.delete);
    match deleted.faults.as_slice() {
        [] => Ok(()),
        faults => Err(Suppressed(faults.join("; "))),
    }
}

/// Closes the child's input and leaves its process group.
pub(super) async fn leave_child(
    session: Arc<Session>,
    shared: Arc<Shared>,
    leaving: Leaving,
    orders: OrderWatch,
    process: Arc<ProcessGroup>,
    writer: Pump,
) -> Result<(), Suppressed> {
    // If the child does not read, the rest of its input is dropped with the pipe.
    writer.end(share(&orders, 8).min(FLUSH)).await;
    let graces = Graces { eof: shared.options.eof_grace, term: shared.options.term_grace };
    let on_phase = |phase| begin_phase(&session, &shared, &leaving, phase);
    let mut left = teardown::leave(&process, &shared.processes, graces, &orders, on_phase).await;
    leaving.end_phase();
    let fault = left.fault.take();
    leaving.child(left);
    fault.map_or(Ok(()), |fault| Err(Suppressed(fault)))
}

/// Writes the messages that are still in the queue, and reads no more. The transport is neither shut down nor dropped: it
/// goes back to the program with the end of its pumps.
pub(super) async fn give_back(writer: Pump, reader: Pump, orders: OrderWatch) {
    writer.end(share(&orders, 8).min(FLUSH)).await;
    reader.end(Duration::ZERO).await;
}

/// Reads the rest of the child's pipes. The process has ended, and so are the other ends closed, unless a process that
/// left its group holds them.
pub(super) async fn drain(reader: Pump) {
    reader.end(DRAIN).await;
}

/// Records that leaving has reached `phase`, for the views and the report.
fn begin_phase(session: &Session, shared: &Shared, leaving: &Leaving, phase: LeavePhase) {
    leaving.phase(phase);
    // The process is left so that it can be started again: the session is still connecting, or down.
    if !matches!(session.stage(), Stage::Connecting | Stage::Down(_)) {
        session.tell(shared, || EventKind::Leaving(phase));
    }
}

/// The time that the order leaves, divided by `parts`; none when forced.
fn share(orders: &OrderWatch, parts: u32) -> Duration {
    let order = orders.current();
    match order.leave_by {
        _ if order.force => Duration::ZERO,
        Some(deadline) => deadline.saturating_duration_since(Instant::now()) / parts,
        None => Duration::MAX,
    }
}
