//! Connecting: each resource that is acquired has its exit on the stack before any later step can
//! fail.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use moored::ExitStack;
use tokio::sync::mpsc;

use super::leaving::Leaving;
use super::pump::{Pump, Pumps};
use super::{Session, Shared, exits};
use crate::fault::Fault;
use crate::order::OrderWatch;
use crate::params::{HttpParams, StdioParams, Transport};
use crate::policy::Restart;
use crate::process::unread::Unread;
use crate::process::{Pipes, ProcessGroup};
use crate::report::{ConnectPhase, ExitStatusReport, Outcome};
use crate::signal;
use crate::wire::desk::Desk;
use crate::wire::handshake::{self, Refusal, Terms};
use crate::wire::http::{HttpSession, headers};
use crate::wire::pending::Pending;
use crate::wire::pipe::PipeTransport;
use crate::wire::pumps::{self, Flow, Queues};
use crate::wire::recorder::Recorder;
use crate::wire::stderr::StderrTail;
use crate::wire::stop::{Exchanges, Stop};
use crate::wire::{Adopted, Link, LinkEnd, Peer, Side};

/// The number of messages under way in each direction. With more, the faster side waits.
const QUEUE: usize = 64;
/// The time that a broken pipe waits for the exit of the child, which is probably its cause.
const EXIT_AFTER_PIPE: Duration = Duration::from_millis(300);
/// The time that the pipe of a process that has exited may take to come to its end. Another process may hold it
/// open.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The context of one start of a server: the session, the state shared by sessions, and the regions that its owner
/// has entered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) session: &'a Arc<Session>,
    pub(super) shared: &'a Arc<Shared>,
    pub(super) leaving: &'a Leaving,
    /// The orders, as this start obeys them.
    pub(super) orders: &'a OrderWatch,
    pub(super) stack: &'a ExitStack,
    pub(super) pumps: &'a Pumps,
}

/// The resources of a session while it is connected or connecting.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) side: Side,
    pub(super) recorder: Arc<Recorder>,
    pub(super) stderr: Option<StderrTail>,
    pub(super) process: Option<Arc<ProcessGroup>>,
    /// Whether the server is started again after a failure.
    is_restarted: bool,
}

/// A server to which messages can be sent.
#[derive(Debug)]
pub(super) enum Ready {
    /// Messages go through queues. A child has a pipe whose unread bytes can be counted.
    Pipe(PipeTransport, Option<Unread>),
    Http(Arc<HttpSession>),
    /// The handshake was done by the program.
    Adopted(Peer),
}

impl Context<'_> {
    /// Starts the server or prepares to reach it, with every exit in place. All waits come afterwards, in
    /// [`handshake()`].
    pub(super) fn acquire(self) -> Result<(Held, Ready), Fault> {
        let exchanges = Exchanges::new().named(format!("exchanges of {}", self.session.name));
        let side = self.side(Stop::of(&exchanges))?;
        let mut held = Held {
            recorder: side.recorder.clone(),
            side,
            stderr: None,
            process: None,
            is_restarted: self.session.params.restart != Restart::Never,
        };
        let adopted = match &self.session.params.transport {
            Transport::Adopted(adopted) => adopted.peer(),
            _ => None,
        };
        if adopted.is_none() {
            self.stack.defer(exits::end_link(held.side.end.clone(), self.orders.clone()));
        }
        let ready = match &self.session.params.transport {
            Transport::Stdio(params) => {
                let (transport, unread) = self.stdio(params, &mut held)?;
                Ready::Pipe(transport, Some(unread))
            }
            Transport::Http(params) => Ready::Http(self.http(params, &held)?),
            Transport::Adopted(given) => match adopted {
                Some(peer) => Ready::Adopted(peer.clone()),
                None => Ready::Pipe(self.adopted(given, &held)?, None),
            },
        };
        // The last exit registered is the first to run, so no message is sent any more when the
        // other exits run.
        self.stack.defer(exits::stop_link(
            self.session.clone(),
            self.shared.clone(),
            self.leaving.clone(),
            held.process.clone(),
            held.side.clone(),
            exchanges,
            self.orders.clone(),
        ));
        Ok((held, ready))
    }

    /// Our side of the connection. Its callbacks end before the loop does, and after everything that may still tell them
    /// of a notification.
    fn side(self, stop: Stop) -> Result<Side, Fault> {
        let callbacks =
            self.session.params.callbacks.as_ref().unwrap_or(&self.shared.options.callbacks);
        let client = handshake::client(&self.shared.options.client_info, callbacks.capabilities())?;
        let client = Arc::new(client);
        let recorder = Recorder::new(self.session.warnings.clone(), self.session.attempts.clone());
        let recorder = Arc::new(recorder.hiding(self.session.secrets.clone()));
        let desk = match Desk::open(&self.session.name, callbacks, &recorder, &self.shared.at_work)
        {
            Some((desk, end)) => {
                self.stack.defer(exits::end_callbacks(end, self.orders.clone()));
                Some(desk)
            }
            None => None,
        };
        let pending = Arc::new(Pending::with(desk.clone()));
        Ok(Side { client, desk, pending, recorder, stop, end: LinkEnd::default() })
    }

    fn http(self, params: &HttpParams, held: &Held) -> Result<Arc<HttpSession>, Fault> {
        let target = headers::address(&params.url)?;
        let (headers, dropped) = headers::given(&params.headers)?;
        dropped.into_iter().for_each(|header| held.recorder.warn(header));
        let http = Arc::new(HttpSession::new(
            (&params.url, target),
            (headers, params.authorize.clone()),
            self.shared.client(&params.url)?,
            held.recorder.clone(),
            held.side.pending.clone(),
            (held.side.stop.clone(), self.pumps.spawner()),
        ));
        self.stack.defer(exits::end_session(
            self.session.clone(),
            self.shared.clone(),
            self.leaving.clone(),
            self.orders.clone(),
            http.clone(),
        ));
        Ok(http)
    }

    fn stdio(
        self,
        params: &StdioParams,
        held: &mut Held,
    ) -> Result<(PipeTransport, Unread), Fault> {
        held.recorder.step(ConnectPhase::Start, "starting the process");
        let shown = |text: &str| self.session.secrets.hide(text).into_owned();
        let watchdog = self.shared.watchdog();
        let (process, pipes) = spawn(params, self.shared).map_err(|fault| fault.reworded(shown))?;
        let listed = watchdog
            .map_or(Ok(()), |guard| process.guard(&guard?).map_err(|error| error.to_string()));
        if let Err(why) = listed {
            held.recorder.warn(format!("no watchdog guards this server against SIGKILL: {why}"));
        }
        let process = Arc::new(process);
        let stderr = StderrTail::default();
        let (transport, queues) = queues(held);
        let flow = Flow::of_pipes(pipes.stdout, pipes.stdin, pumps::Pipes::Child, queues);
        let writer = Pump::start(self.pumps, "stdin", flow.writing);
        let tail = stderr.clone().pump(pipes.stderr);
        let reader = Pump::start(self.pumps, "stdout and stderr", async {
            tokio::join!(flow.reading, tail);
        });
        self.stack.defer(exits::drain(reader));
        self.stack.defer(exits::leave_child(
            self.session.clone(),
            self.shared.clone(),
            self.leaving.clone(),
            self.orders.clone(),
            process.clone(),
            writer,
        ));
        held.stderr = Some(stderr);
        held.process = Some(process);
        Ok((transport, pipes.unread))
    }

    /// Takes a transport into use that the program has opened itself.
    fn adopted(self, adopted: &Adopted, held: &Held) -> Result<PipeTransport, Fault> {
        let (transport, queues) = queues(held);
        let Some(flow) = adopted.open(queues) else {
            let text = "the transport was adopted before, and it is adopted once";
            return Err(Fault::new(Outcome::Other, text));
        };
        let writer = Pump::start(self.pumps, "writer", flow.writing);
        let reader = Pump::start(self.pumps, "reader", flow.reading);
        self.stack.defer(exits::give_back(writer, reader, self.orders.clone()));
        Ok(transport)
    }
}

/// The queues between rmcp and the pumps of a session, from both sides.
fn queues(held: &Held) -> (PipeTransport, Queues) {
    let (outbox, outgoing) = mpsc::channel(QUEUE);
    let (incoming, inbox) = mpsc::channel(QUEUE);
    let Side { stop, pending, recorder, .. } = held.side.clone();
    let transport =
        PipeTransport::new(outbox, inbox, stop.clone(), pending.clone(), recorder.clone());
    (transport, Queues { outgoing, incoming, stop, pending, recorder })
}

/// Exchanges messages with the server until the session is up.
pub(super) async fn handshake(held: &Held, ready: Ready, terms: Terms) -> Result<Link, Fault> {
    let Held { side, recorder, process, .. } = held;
    match (ready, process) {
        (Ready::Adopted(peer), _) => Link::of_adopted(peer, &side.end),
        (Ready::Http(session), _) => {
            // Boxed, because the future of the owner holds it: it is large.
            let opened = Link::over_http(session, terms, side.clone()).boxed().await;
            opened.map_err(|refusal| refusal.fault)
        }
        (Ready::Pipe(transport, unread), process) => {
            let opened = Link::over_pipe(transport, terms, side.clone()).boxed();
            let opened = match process {
                Some(process) => held.unless_exited(process, opened).await,
                None => opened.await.map_err(|refusal| refusal.fault),
            };
            // A process that ended without having read a byte did not end because of the probe.
            let has_read_nothing = || {
                let unread = unread.and_then(|unread| unread.bytes());
                unread.is_some_and(|it| it >= recorder.all_written())
            };
            if opened.is_err() && has_read_nothing() {
                recorder.probing(false);
            }
            opened
        }
    }
}

impl Held {
    /// If a child exits during the handshake, its exit is the outcome, even if the pipe is broken. But if it had
    /// refused the handshake before, its refusal is the outcome.
    async fn unless_exited(
        &self,
        process: &ProcessGroup,
        opened: impl Future<Output = Result<Link, Refusal>>,
    ) -> Result<Link, Fault> {
        tokio::pin!(opened);
        let status = tokio::select! {
            biased;
            opened = &mut opened => return match opened {
                Ok(up) => Ok(up),
                Err(refusal) if refusal.answered => Err(refusal.fault),
                Err(refusal) => Err(self.explained(refusal.fault).await),
            },
            status = process.exited() => status,
        };
        // The child's output before its end is still in the pipe, and counts. If the handshake is complete with it, the
        // next request meets the end.
        match tokio::time::timeout(LAST_WORDS, opened).await {
            Ok(Ok(up)) => Ok(up),
            Ok(Err(refusal)) if refusal.answered => Err(refusal.fault),
            _ => Err(self.exited(status)),
        }
    }

    /// Ready when the session has ended by itself, with the cause.
    pub(super) async fn lost(&self) -> Fault {
        let ended = async {
            self.side.end.ended().await;
            self.recorder.recorded_fault().unwrap_or_else(|| self.closed())
        };
        let Some(process) = &self.process else {
            return tokio::select! {
                biased;
                fault = ended => fault,
                // Without a policy the session stays, because the next request tries to begin another HTTP session.
                fault = self.recorder.renewal_failed(), if self.is_restarted => fault,
            };
        };
        tokio::select! {
            biased;
            status = process.exited() => {
                // The answers in the pipe reach their requests first. The loop ends when it has read them all.
                let _ = tokio::time::timeout(LAST_WORDS, self.side.end.ended()).await;
                self.exited(status)
            }
            fault = ended => self.explained(fault).await,
        }
    }

    /// The fault of a server that exists and sends no more.
    fn closed(&self) -> Fault {
        let what = match self.process {
            Some(_) => "the server closed its standard output",
            None => "the server closed the connection",
        };
        Fault::new(Outcome::ProtocolError, format!("{what}{}", self.during()))
    }

    /// Whether the era probe made the attempt fail, as far as can be known: the process was probed, has read some input,
    /// and has not answered `initialize`, or has rejected it. Such a server can be started again.
    pub(super) fn failed_on_probe(&self) -> bool {
        self.process.is_some() && self.recorder.is_probing()
    }

    /// A broken pipe has a cause. If the child has exited, its exit is the fault.
    async fn explained(&self, fault: Fault) -> Fault {
        let Some(process) = &self.process else {
            return fault;
        };
        match tokio::time::timeout(EXIT_AFTER_PIPE, process.exited()).await {
            Ok(status) => self.exited(status),
            Err(_) => fault,
        }
    }

    /// The current activity of the session: the oldest request without an answer, or its phase.
    pub(super) fn phase(&self) -> Option<String> {
        // The phase of a handshake says more than its open questions.
        let open = self.side.pending.oldest().filter(|kind| !kind.opens()).map(|kind| kind.phase());
        open.or_else(|| self.recorder.current_phase())
    }

    /// The activity of the session at the time of a fault.
    fn during(&self) -> String {
        self.phase().map(|phase| format!(" while {phase}")).unwrap_or_default()
    }

    /// The fault of a child that has ended by itself.
    fn exited(&self, status: ExitStatusReport) -> Fault {
        let during = self.during();
        let how = match status {
            ExitStatusReport::Code(code) => format!("the server exited with status {code}{during}"),
            ExitStatusReport::Signal(signal) => {
                format!("the server was ended by {}{during}", signal::shown(signal))
            }
        };
        Fault::exited(how, status).after_words(self.recorder.last_words())
    }
}

fn spawn(params: &StdioParams, shared: &Shared) -> Result<(ProcessGroup, Pipes), Fault> {
    let cannot = |error| {
        let place = params.cwd.as_ref().map(|cwd| format!(" in {}", cwd.display()));
        let text = format!("cannot start {:?}{}", params.command, place.unwrap_or_default());
        Fault::caused(Outcome::SpawnFailed, text, error)
    };
    // A missing directory and a missing program are the same error to the operating system, but not to a user.
    if let Some(cwd) = &params.cwd
        && let Err(error) = std::fs::metadata(cwd)
    {
        return Err(cannot(error));
    }
    ProcessGroup::spawn(params, shared.inherited()).map_err(cannot)
}
