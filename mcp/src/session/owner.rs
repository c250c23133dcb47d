//! The owner of a session: one task that connects it, serves it and leaves it. No other task does.

use std::sync::Arc;

use moored::{CancelScope, Cause, ExitFailure, ExitStack, Failure, ReasonKind, TaskGroup};
use tokio::time::Instant;

use super::attempt::{self, Berth, Held};
use super::leaving::{Leaving, millis};
use super::naming::{self, Claim};
use super::pump::Pumps;
use super::{Finished, Live, Session, Shared, Stage, Turn};
use crate::component::{ComponentInfo, ComponentKind};
use crate::error::ConnectError;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::report::{ErrorReport, LeaveReport, Outcome, ServerReport, SessionInfo};
use crate::wire::handshake::Terms;
use crate::wire::stderr::StderrTail;
use crate::wire::{Gone, Link, Offers};

/// The whole life of a session, from its turn to its final event. A server whose process ended at the era probe is
/// started once more, when its first process has been left.
pub(crate) async fn own(session: Arc<Session>, shared: Arc<Shared>) {
    let mut last_word = LastWord { session: session.clone(), shared: shared.clone(), said: false };
    let Some(turn) = session.turn(&shared).await else {
        let (life, leave) = (Life::default(), LeaveReport::nothing());
        refuse(&session, &shared, life, interrupted(), leave, &mut last_word);
        return;
    };
    let began = Instant::now();
    session.clock.lock().began = Some(began);
    session.tell(&shared, || EventKind::Connecting);
    let deadline = began + shared.options.connect_timeout;
    let mut life = Life { turn: Some(turn), deadline: Some(deadline), ..Life::default() };
    let mut left = start(&session, &shared, &mut life).await;
    if let Some(ended) = life.again.take() {
        if session.watch.current().leave_by.is_some() {
            refuse(&session, &shared, life, interrupted(), left.leave, &mut last_word);
            return;
        }
        let unclean = left_uncleanly(left.leave);
        life.ended_on_probe = Some(ended);
        left = start(&session, &shared, &mut life).await;
        left.leave.suppressed.splice(0..0, unclean);
        left.leave.clean = left.leave.judge();
    }
    last_word.say(finish(&session, &life, left.fault, left.leave));
}

/// The outcome of one start of a server.
#[derive(Debug)]
struct StartLeft {
    fault: Option<Fault>,
    leave: LeaveReport,
}

/// One start of a server: a group for its pumps, inside it a stack for its exits, inside that the session itself. All
/// failures are in one record, the session's own failure first.
async fn start(session: &Arc<Session>, shared: &Arc<Shared>, life: &mut Life) -> StartLeft {
    let leaving = Leaving::default();
    let pumps: Pumps = TaskGroup::new().named(format!("pumps of {}", session.name)).keep_going();
    let stack = ExitStack::new().named(format!("session {}", session.name));
    life.starts += 1;
    let left = pumps.run(async {
        let berth = Berth { session, shared, leaving: &leaving, stack: &stack, pumps: &pumps };
        let left = stack.run(async {
            let ended = live(berth, life).await;
            leaving.begin();
            if life.again.is_none() {
                begin_leaving(berth, life, ended.as_ref().err());
            }
            ended
        });
        Ok(left.await)
    });
    let (fault, suppressed) = match left.await {
        Ok(Ok(())) => (None, Vec::new()),
        Ok(Err(failure)) => sorted(failure),
        // The pumps return no errors, and their group is cancelled only by the end of the
        // runtime.
        Err(failure) => (None, vec![failure.to_string()]),
    };
    let leave = leaving.report(life.info.is_some(), suppressed);
    StartLeft { fault, leave }
}

/// The faults in leaving the first of two processes. Its exit status is ignored, because it ended by
/// itself.
fn left_uncleanly(mut leave: LeaveReport) -> Option<String> {
    leave.exit_status = None;
    if leave.judge() {
        return None;
    }
    let mut what = leave.signals.clone();
    what.extend(leave.survivors.iter().map(|pid| format!("process {pid} still runs")));
    what.extend(leave.suppressed.iter().cloned());
    let what = what.join(", ");
    Some(format!("the process that ended at server/discover was not left cleanly: {what}"))
}

/// The session's own failure, and the failures while leaving, in order.
fn sorted(failure: Failure<Fault>) -> (Option<Fault>, Vec<String>) {
    let mut fault = None;
    let mut suppressed = Vec::new();
    for cause in failure.into_causes() {
        match cause {
            Cause::Body(own) => fault = Some(own),
            Cause::Exit(ExitFailure::Failed { error, .. }) => suppressed.push(error.to_string()),
            other => suppressed.push(other.to_string()),
        }
    }
    (fault, suppressed)
}

/// The progress of a session.
#[derive(Debug, Default)]
struct Life {
    /// Set once it is up.
    info: Option<SessionInfo>,
    held: Option<Held>,
    /// The names of its components, until they are withdrawn.
    claim: Option<Claim>,
    /// A list that could not be read.
    list_fault: Option<Fault>,
    /// Given back with the outcome of the attempt.
    turn: Option<Turn>,
    /// The end of the attempt.
    deadline: Option<Instant>,
    /// The number of starts of the server.
    starts: u32,
    /// Set if it is to be started again: the end of its process.
    again: Option<String>,
    /// The end of its first process, once the second one is there.
    ended_on_probe: Option<String>,
}

impl Life {
    /// All warnings that did not prevent the session, from the first attempt to now.
    fn warnings(&self) -> Vec<String> {
        self.held.as_ref().map(|held| held.recorder.warnings()).unwrap_or_default()
    }
}

/// Connects and serves. `Ok` is a session that came up and was asked to leave.
async fn live(berth: Berth<'_>, life: &mut Life) -> Result<(), Fault> {
    let Berth { session, shared, .. } = berth;
    let attempted = attempt_in_time(berth, life).await;
    if let (Some(how), Err(_)) = (&life.again, &attempted) {
        let message = how.clone();
        session.tell(shared, || EventKind::StartedAgain { message });
    } else {
        session.clock.lock().outcome = Some(Instant::now());
        life.turn = None;
    }
    let (held, link, offers) = attempted?;

    held.recorder.connected();
    life.list_fault = offers.fault.clone();
    let names = &shared.options.names;
    let (components, warnings) = naming::named(names, &session.name, offers.all)?;
    warnings.into_iter().for_each(|warning| held.recorder.warn(warning));
    life.claim = Some(shared.claims.claim(&session.name, &components)?);
    let up = up(session, &held, &link, components, offers.fault);
    let info = up.info.clone();
    if !session.come_up(up) {
        return Err(interrupted());
    }
    life.info = Some(info.clone());
    session.tell(shared, || EventKind::Up(Box::new(info)));
    let mut orders = session.watch.clone();
    tokio::select! {
        biased;
        _ = orders.asked_to_leave(shared.options.budget) => Ok(()),
        fault = held.lost() => Err(fault),
    }
}

/// The attempt in a scope of its own, which its deadline or an order to leave cancels. The recorded reason tells which
/// of the two it was.
async fn attempt_in_time(berth: Berth<'_>, life: &mut Life) -> Result<(Held, Link, Offers), Fault> {
    let options = &berth.shared.options;
    let deadline = life.deadline.unwrap_or_else(Instant::now);
    let time_left = deadline.saturating_duration_since(Instant::now());
    let scope = CancelScope::new().named("connect").timeout(time_left);
    let ask = scope.handle();
    let mut orders = berth.session.watch.clone();
    let Life { held, again, ended_on_probe, .. } = &mut *life;
    let terms = Terms {
        era: berth.session.params.era,
        probe: ended_on_probe.is_none(),
        discover_timeout: options.discover_timeout,
        deadline,
    };
    let attempt = scope.run(async {
        let (acquired, ready) = berth.acquire()?;
        *held = Some(acquired.clone());
        let link = attempt::handshake(&acquired, ready, terms).await.inspect_err(|fault| {
            *again = acquired.ended_on_probe().then(|| fault.line());
        })?;
        if let Some(how) = ended_on_probe {
            acquired.recorder.warn(format!("{how}: it was started again"));
        }
        acquired.recorder.phase("reading what the server offers");
        let offers = tokio::select! {
            // `biased`: the lists of a server count if they are complete, even if the server is
            // gone by now.
            biased;
            offers = link.offers(options.page_cap, &acquired.recorder) => offers,
            fault = acquired.lost() => return Err(fault),
        };
        match offers {
            Ok(offers) => Ok((acquired, link, offers)),
            Err(Gone) => Err(acquired.lost().await),
        }
    });
    let relay = async {
        orders.asked_to_leave(options.budget).await;
        ask.cancel_because("the session is being left");
        std::future::pending::<()>().await
    };
    let attempted = tokio::select! {
        attempted = attempt => attempted,
        () = relay => unreachable!("it never ends"),
    };
    attempted.unwrap_or_else(|cancelled| {
        Err(match cancelled.reason().kind() {
            ReasonKind::Deadline => timed_out(life, options.connect_timeout),
            _ => interrupted(),
        })
    })
}

/// The session as its users see it.
fn up(
    session: &Session,
    held: &Held,
    link: &Link,
    components: Vec<ComponentInfo>,
    list_fault: Option<Fault>,
) -> Live {
    let info = SessionInfo {
        name: session.params.name.clone(),
        transport: session.kind(),
        era: link.era(),
        connect_ms: session.clock.lock().connect_ms().unwrap_or_default(),
        tools: Live::count(&components, ComponentKind::Tool),
        prompts: Live::count(&components, ComponentKind::Prompt),
        resources: Live::count(&components, ComponentKind::Resource),
        warnings: held.recorder.warnings(),
        list_error: list_fault.map(|fault| fault.report(None)),
    };
    Live { info, components, caller: link.caller() }
}

/// The outcome of an attempt that was interrupted, for any reason.
fn interrupted() -> Fault {
    Fault::new(Outcome::Closing, "the attempt was interrupted: the session is being left")
}

fn timed_out(life: &Life, limit: std::time::Duration) -> Fault {
    let phase = life.held.as_ref().and_then(Held::phase);
    let phase = phase.unwrap_or_else(|| "connecting".into());
    Fault::new(Outcome::TimedOut, format!("not connected within {limit:?}: still {phase}"))
}

/// From here on only exits run. A session that ended by itself has the whole budget; an order may
/// shorten it.
fn begin_leaving(berth: Berth<'_>, life: &mut Life, fault: Option<&Fault>) {
    let Berth { session, shared, .. } = berth;
    session.orders.leave_by(Instant::now() + shared.options.budget);
    session.advance(Stage::Leaving { fault: fault.cloned() });
    // Now that its components are withdrawn, another session may have their names.
    life.claim = None;
    if let Some(fault) = fault {
        session.tell(shared, || {
            let message = fault.line();
            match life.info {
                Some(_) => EventKind::Lost { message },
                None => EventKind::Failed { outcome: fault.outcome, message },
            }
        });
    }
}

/// The report of a session that has been left.
fn finish(session: &Session, life: &Life, fault: Option<Fault>, leave: LeaveReport) -> Finished {
    let stderr = life.held.as_ref().and_then(|held| held.stderr.as_ref());
    // The cause of its end is more important than a list that could not be read.
    let worst = fault.as_ref().or(life.list_fault.as_ref());
    let error = worst.map(|fault| ErrorReport {
        stderr_error: stderr.and_then(StderrTail::first_error),
        ..fault.report(stderr.map(StderrTail::text))
    });
    let clock = *session.clock.lock();
    let info = life.info.as_ref();
    let report = ServerReport {
        name: session.params.name.clone(),
        transport: session.kind(),
        era: info.and_then(|info| info.era.clone()),
        outcome: worst.map_or(Outcome::Ok, |fault| fault.outcome),
        error,
        connect_ms: clock.connect_ms(),
        waited_ms: millis(clock.waited),
        starts: life.starts,
        tools: info.map_or(0, |info| info.tools),
        prompts: info.map_or(0, |info| info.prompts),
        resources: info.map_or(0, |info| info.resources),
        warnings: life.warnings(),
        leave,
    };
    let error = match (info, &fault, &report.error) {
        (None, Some(fault), Some(told)) => Some(ConnectError::new(
            session.params.name.clone(),
            fault.outcome,
            told.clone(),
            Arc::new(fault.clone()),
        )),
        _ => None,
    };
    Finished { report, error, ended_by: fault }
}

/// Ends every wait for the end of a session, even if its owner was dropped or has panicked.
#[derive(Debug)]
struct LastWord {
    session: Arc<Session>,
    shared: Arc<Shared>,
    said: bool,
}

impl LastWord {
    fn say(&mut self, finished: Finished) {
        self.said = true;
        // Sent before the stage advances, so that a caller that has seen the close return has
        // been sent every event.
        self.session.tell(&self.shared, || EventKind::Left(Box::new(finished.report.clone())));
        self.session.advance(Stage::Left(Arc::new(finished)));
    }
}

impl Drop for LastWord {
    fn drop(&mut self) {
        if !self.said {
            let fault =
                Fault::new(Outcome::Other, "the session's owner was dropped before it had left");
            let mut leave = LeaveReport::nothing();
            leave.suppressed.push(fault.to_string());
            leave.clean = false;
            self.say(finish(&self.session, &Life::default(), Some(fault), leave));
        }
    }
}

/// The end of a server that was never started.
pub(crate) fn reject(session: &Arc<Session>, shared: &Arc<Shared>, fault: Fault) {
    let mut last_word = LastWord { session: session.clone(), shared: shared.clone(), said: false };
    refuse(session, shared, Life::default(), fault, LeaveReport::nothing(), &mut last_word);
}

/// The end of a server that is not started, or not once more.
fn refuse(
    session: &Session,
    shared: &Shared,
    life: Life,
    fault: Fault,
    leave: LeaveReport,
    last_word: &mut LastWord,
) {
    session.tell(shared, || EventKind::Failed { outcome: fault.outcome, message: fault.line() });
    if life.starts > 0 {
        session.clock.lock().outcome = Some(Instant::now());
    }
    last_word.say(finish(session, &life, Some(fault), leave));
}

/// The error of a session that came up and had ended before its caller looked.
pub(crate) fn ended(session: &Session, finished: &Finished) -> ConnectError {
    let fault = finished.ended_by.clone().unwrap_or_else(interrupted);
    let told = finished.report.error.clone().filter(|_| finished.ended_by.is_some());
    let report = told.unwrap_or_else(|| fault.report(None));
    ConnectError::new(session.params.name.clone(), fault.outcome, report, Arc::new(fault))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Takes a session to its end without an owner.
    pub(crate) fn left(session: &Session, leave: LeaveReport) {
        session.advance(Stage::Left(Arc::new(finish(session, &Life::default(), None, leave))));
    }
}
