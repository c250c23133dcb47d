//! Connecting: each thing that is acquired has its exit on the stack before anything else can fail.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::leaving::Leaving;
use super::{Session, Shared};
use crate::event::{EventKind, LeavePhase};
use crate::fault::Fault;
use crate::interim::ExitStack;
use crate::order::OrderWatch;
use crate::params::{HttpParams, StdioParams, Transport};
use crate::process::teardown::{self, Graces};
use crate::process::{Pipes, ProcessGroup};
use crate::report::{ExitStatusReport, Outcome};
use crate::wire::http::{HttpSession, shared};
use crate::wire::pipe::{PipeTransport, Probe};
use crate::wire::pumps::{self, StderrTail};
use crate::wire::recorder::Recorder;
use crate::wire::{Link, LinkEnd};

/// Messages under way in each direction. More than that, and the faster side waits.
const QUEUE: usize = 64;
/// How long a broken pipe waits for the exit that probably explains it.
const EXIT_AFTER_PIPE: Duration = Duration::from_millis(300);
/// How long what was already sent may take to reach a child before its input is closed; an eighth of what is left of
/// the budget, if that is less.
const FLUSH: Duration = Duration::from_millis(200);
/// How long a pump may take to empty its pipe after the process has gone.
const DRAIN: Duration = Duration::from_millis(100);
/// How long rmcp's loop may take to end after it was told to; a quarter of what is left of the budget, if that is less.
const LOOP_END: Duration = Duration::from_secs(1);

/// What a session holds while it is connected or on its way there.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) recorder: Arc<Recorder>,
    pub(super) end: LinkEnd,
    pub(super) stop: CancellationToken,
    pub(super) stderr: Option<StderrTail>,
    pub(super) process: Option<Arc<ProcessGroup>>,
}

/// Starts the server or finds it, and has its exits on the stack. What can be waited for comes afterwards, in
/// [`handshake`].
pub(super) async fn acquire(
    session: &Arc<Session>,
    shared: &Arc<Shared>,
    stack: &ExitStack,
    leaving: &Leaving,
) -> Result<(Held, Ready), Fault> {
    let mut held = Held {
        recorder: Arc::default(),
        end: LinkEnd::default(),
        stop: CancellationToken::new(),
        stderr: None,
        process: None,
    };
    let ready = match &session.params.transport {
        Transport::Stdio(params) => {
            Ready::Pipe(stdio(session, shared, params, stack, leaving, &mut held)?)
        }
        Transport::Http(params) => {
            Ready::Http(http(session, shared, params, stack, leaving, &held)?)
        }
    };
    // The last exit registered is the first to run: nothing is sent any more when the next ones run.
    stack.defer(stop_link(held.clone(), leaving.clone(), session.watch.clone()));
    Ok((held, ready))
}

/// A server that can be spoken to.
#[derive(Debug)]
pub(super) enum Ready {
    Pipe(PipeTransport),
    Http(Arc<HttpSession>),
}

/// Speaks to it until the session is up. A child that exits meanwhile is the outcome, whatever the pipe looks like.
pub(super) async fn handshake(held: &Held, ready: Ready) -> Result<Link, Fault> {
    let Held { recorder, end, stop, process, .. } = held;
    let opened = async {
        match ready {
            Ready::Pipe(transport) => Link::over_pipe(transport, stop, end, recorder).await,
            Ready::Http(session) => Link::over_http(session, stop, end, recorder).await,
        }
    };
    let Some(process) = process else {
        return opened.await.map_err(|refusal| refusal.fault);
    };
    tokio::select! {
        biased;
        opened = opened => match opened {
            Ok(up) => Ok(up),
            Err(refusal) if refusal.answered => Err(refusal.fault),
            Err(refusal) => Err(explained(held, refusal.fault).await),
        },
        status = process.exited() => Err(exited(held, status)),
    }
}

/// A broken pipe has a reason. Where it is that the child has exited, that is the fault.
pub(super) async fn explained(held: &Held, fault: Fault) -> Fault {
    let Some(process) = &held.process else {
        return fault;
    };
    match tokio::time::timeout(EXIT_AFTER_PIPE, process.exited()).await {
        Ok(status) => exited(held, status),
        Err(_) => fault,
    }
}

/// The fault of a child that has ended by itself.
pub(super) fn exited(held: &Held, status: ExitStatusReport) -> Fault {
    let during = held.recorder.current_phase();
    let during = during.map(|phase| format!(" while {phase}")).unwrap_or_default();
    let how = match status {
        ExitStatusReport::Code(code) => format!("the server exited with status {code}{during}"),
        ExitStatusReport::Signal(signal) => {
            format!("the server was ended by signal {signal}{during}")
        }
    };
    Fault::exited(how, status)
}

fn http(
    session: &Arc<Session>,
    shared: &Arc<Shared>,
    params: &HttpParams,
    stack: &ExitStack,
    leaving: &Leaving,
    held: &Held,
) -> Result<Arc<HttpSession>, Fault> {
    let http = Arc::new(HttpSession::new(
        &params.url,
        shared::headers(&params.headers)?,
        shared.client()?,
        held.recorder.clone(),
        held.stop.clone(),
        shared.options.discover_timeout,
    ));
    stack.defer({
        let (session, shared) = (session.clone(), shared.clone());
        let (http, leaving) = (http.clone(), leaving.clone());
        async move {
            if http.has_session() {
                session.tell(&shared, EventKind::Leaving(LeavePhase::Delete));
            }
            let (delete, fault) = http.delete(&shared.delete_turns, session.watch.clone()).await;
            leaving.deleted(delete, fault);
        }
    });
    Ok(http)
}

fn stdio(
    session: &Arc<Session>,
    shared: &Arc<Shared>,
    params: &StdioParams,
    stack: &ExitStack,
    leaving: &Leaving,
    held: &mut Held,
) -> Result<PipeTransport, Fault> {
    held.recorder.phase("starting the process");
    let (process, pipes) = spawn(params)?;
    let process = Arc::new(process);
    let stderr = StderrTail::default();
    let (outbox, outgoing) = mpsc::channel(QUEUE);
    let (incoming, inbox) = mpsc::channel(QUEUE);
    let writer = tokio::spawn(pumps::write(pipes.stdin, outgoing, held.recorder.clone()));
    let reader = tokio::spawn(pumps::read(pipes.stdout, incoming, held.recorder.clone()));
    let tail = tokio::spawn(stderr.clone().pump(pipes.stderr));
    stack.defer(async move {
        tokio::join!(end_pump(reader), end_pump(tail));
    });
    stack.defer({
        let (session, shared) = (session.clone(), shared.clone());
        let (process, leaving) = (process.clone(), leaving.clone());
        async move {
            close_input(writer, session.watch.clone()).await;
            let graces = Graces { eof: shared.options.eof_grace, term: shared.options.term_grace };
            let on_phase = |phase| session.tell(&shared, EventKind::Leaving(phase));
            leaving.child(teardown::leave(&process, graces, session.watch.clone(), on_phase).await);
        }
    });
    held.stderr = Some(stderr);
    held.process = Some(process);
    Ok(PipeTransport {
        outbox,
        inbox,
        stop: held.stop.clone(),
        recorder: held.recorder.clone(),
        probe: Probe::new(shared.options.discover_timeout),
    })
}

fn spawn(params: &StdioParams) -> Result<(ProcessGroup, Pipes), Fault> {
    // A missing directory and a missing program are the same error to the operating system, but not to a reader.
    if let Some(cwd) = &params.cwd
        && let Err(error) = std::fs::metadata(cwd)
    {
        let text = format!("cannot start {:?} in {}", params.command, cwd.display());
        return Err(Fault::caused(Outcome::SpawnFailed, text, error));
    }
    ProcessGroup::spawn(params).map_err(|error| {
        let text = format!("cannot start {:?}", params.command);
        Fault::caused(Outcome::SpawnFailed, text, error)
    })
}

/// The first exit: rmcp's loop ends, and every operation of it with it.
async fn stop_link(held: Held, leaving: Leaving, orders: OrderWatch) {
    held.stop.cancel();
    let wait = share(&orders, 4).min(LOOP_END);
    if tokio::time::timeout(wait, held.end.ended()).await.is_err() {
        leaving.suppress("the protocol loop did not end in time");
    }
}

/// One part in `parts` of the time that the order leaves; none when forced.
fn share(orders: &OrderWatch, parts: u32) -> Duration {
    let order = orders.current();
    match order.leave_by {
        _ if order.force => Duration::ZERO,
        Some(deadline) => deadline.saturating_duration_since(Instant::now()) / parts,
        None => Duration::MAX,
    }
}

/// Lets what was sent reach the child, for a moment, and closes its input.
async fn close_input(mut writer: JoinHandle<()>, orders: OrderWatch) {
    let wait = share(&orders, 8).min(FLUSH);
    if tokio::time::timeout(wait, &mut writer).await.is_ok() {
        return;
    }
    // A child that does not read: what it was to read goes with the pipe.
    writer.abort();
    let _ = writer.await;
}

/// The process has gone, and so have the ends of its pipes, unless a descendant took them along.
async fn end_pump(mut pump: JoinHandle<()>) {
    if tokio::time::timeout(DRAIN, &mut pump).await.is_err() {
        pump.abort();
        let _ = pump.await;
    }
}
