//! The owner of a session: one task that connects it, serves it and leaves it. Nobody else ever does.

use std::sync::Arc;

use moored::{CancelScope, Cause, ExitFailure, ExitStack, Failure, ReasonKind, TaskGroup};
use tokio::time::Instant;

use super::attempt::{self, Berth, Held};
use super::leaving::{Leaving, millis};
use super::pump::Pumps;
use super::{Finished, Live, Session, Shared, Stage};
use crate::error::ConnectError;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::report::{
    ComponentInfo, ComponentKind, ErrorReport, LeaveReport, Outcome, ServerReport, SessionInfo,
};
use crate::wire::stderr::StderrTail;
use crate::wire::{Gone, Link, Offers};

/// The whole life of a session: a group for its pumps, inside it a stack for its exits, inside that the session itself.
/// What went wrong stands in one record, the session's own failure first.
pub(crate) async fn own(session: Arc<Session>, shared: Arc<Shared>) {
    let mut last_word = LastWord { session: session.clone(), shared: shared.clone(), said: false };
    let leaving = Leaving::default();
    let pumps: Pumps = TaskGroup::new().named(format!("pumps of {}", session.name)).keep_going();
    let stack = ExitStack::new().named(format!("session {}", session.name));
    let mut life = Life::default();
    let left = pumps.run(async {
        let berth = Berth {
            session: &session,
            shared: &shared,
            leaving: &leaving,
            stack: &stack,
            pumps: &pumps,
        };
        let left = stack.run(async {
            let ended = live(berth, &mut life).await;
            begin_leaving(berth, &life, ended.as_ref().err());
            ended
        });
        Ok(left.await)
    });
    let (fault, suppressed) = match left.await {
        Ok(Ok(())) => (None, Vec::new()),
        Ok(Err(failure)) => sorted(failure),
        // The pumps return no errors, and nobody cancels their group but the end of the runtime.
        Err(failure) => (None, vec![failure.to_string()]),
    };
    let leave = leaving.report(life.info.is_some(), suppressed);
    last_word.say(finish(&session, &life, fault, leave));
}

/// The session's own failure, and what failed on the way out, in order.
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

/// What a session has come to by itself.
#[derive(Debug, Default)]
struct Life {
    /// Set once it is up.
    info: Option<SessionInfo>,
    held: Option<Held>,
    /// A list that could not be read.
    list_fault: Option<Fault>,
}

impl Life {
    /// Everything worth telling that stood in nobody's way, from the first attempt to now.
    fn warnings(&self) -> Vec<String> {
        self.held.as_ref().map(|held| held.recorder.warnings()).unwrap_or_default()
    }
}

/// Connects and serves. `Ok` is a session that came up and was asked to leave.
async fn live(berth: Berth<'_>, life: &mut Life) -> Result<(), Fault> {
    let Berth { session, shared, .. } = berth;
    let began = Instant::now();
    session.clock.lock().began = Some(began);
    session.tell(shared, || EventKind::Connecting);
    let attempted = attempt_in_time(berth, life).await;
    session.clock.lock().outcome = Some(Instant::now());
    let (held, link, offers) = attempted?;

    held.recorder.connected();
    life.list_fault = offers.fault.clone();
    let up = up(session, &held, &link, offers, began);
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

/// The attempt in a scope of its own, which its deadline cancels, or an order to leave. Which of the two it was is read
/// from the recorded reason.
async fn attempt_in_time(berth: Berth<'_>, life: &mut Life) -> Result<(Held, Link, Offers), Fault> {
    let options = &berth.shared.options;
    let scope = CancelScope::new().named("connect").timeout(options.connect_timeout);
    let ask = scope.handle();
    let mut orders = berth.session.watch.clone();
    let held = &mut life.held;
    let attempt = scope.run(async {
        let (acquired, ready) = berth.acquire()?;
        *held = Some(acquired.clone());
        let link = attempt::handshake(&acquired, ready).await?;
        acquired.recorder.phase("reading what the server offers");
        let offers = tokio::select! {
            // A server that has said everything has said it, even if it is gone by now.
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
fn up(session: &Session, held: &Held, link: &Link, offers: Offers, began: Instant) -> Live {
    let name = &session.params.name;
    let components: Vec<ComponentInfo> = offers
        .all
        .into_iter()
        .map(|offer| ComponentInfo {
            hooked: format!("{name}/{}", offer.name),
            server: name.clone(),
            wire: offer.wire,
            kind: offer.kind,
            description: offer.description,
        })
        .collect();
    let info = SessionInfo {
        name: name.clone(),
        transport: session.kind(),
        era: link.era(),
        connect_ms: millis(began.elapsed()),
        tools: Live::count(&components, ComponentKind::Tool),
        prompts: Live::count(&components, ComponentKind::Prompt),
        resources: Live::count(&components, ComponentKind::Resource),
        warnings: held.recorder.warnings(),
        list_error: offers.fault.map(|fault| fault.report(None)),
    };
    Live { info, components, caller: link.caller() }
}

/// The outcome of an attempt that was interrupted, by whomever.
fn interrupted() -> Fault {
    Fault::new(Outcome::Closing, "the attempt was interrupted: the session is being left")
}

fn timed_out(life: &Life, limit: std::time::Duration) -> Fault {
    let phase = life.held.as_ref().and_then(|held| held.recorder.current_phase());
    let phase = phase.unwrap_or_else(|| "connecting".into());
    Fault::new(Outcome::TimedOut, format!("not connected within {limit:?}: still {phase}"))
}

/// From here on only exits run. Whoever left by itself has the whole budget; an order may say less.
fn begin_leaving(berth: Berth<'_>, life: &Life, fault: Option<&Fault>) {
    let Berth { session, shared, leaving, .. } = berth;
    leaving.begin();
    session.orders.leave_by(Instant::now() + shared.options.budget);
    session.advance(Stage::Leaving { fault: fault.cloned() });
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
    // What ended it says more than a list that could not be read.
    let worst = fault.as_ref().or(life.list_fault.as_ref());
    let error = worst.map(|fault| ErrorReport {
        stderr_error: stderr.and_then(StderrTail::first_error),
        ..fault.report(stderr.map(StderrTail::text))
    });
    let clock = *session.clock.lock();
    let info = life.info.as_ref();
    let connect_ms = match (clock.began, clock.outcome) {
        (Some(began), Some(outcome)) => Some(millis(outcome - began)),
        _ => None,
    };
    let report = ServerReport {
        name: session.params.name.clone(),
        transport: session.kind(),
        era: info.and_then(|info| info.era.clone()),
        outcome: worst.map_or(Outcome::Ok, |fault| fault.outcome),
        error,
        connect_ms,
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

/// Sees to it that those who wait for the end of a session get one, even where its owner was dropped or has panicked.
#[derive(Debug)]
struct LastWord {
    session: Arc<Session>,
    shared: Arc<Shared>,
    said: bool,
}

impl LastWord {
    fn say(&mut self, finished: Finished) {
        self.said = true;
        // Told before it is known: whoever has seen the close return has been sent every event.
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
    session.tell(shared, || EventKind::Failed { outcome: fault.outcome, message: fault.line() });
    let finished = finish(session, &Life::default(), Some(fault), LeaveReport::nothing());
    LastWord { session: session.clone(), shared: shared.clone(), said: false }.say(finished);
}

/// The error of a session that came up and was gone before its caller looked.
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
