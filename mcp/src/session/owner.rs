//! The owner of a session: one task that connects it, serves it and leaves it. Nobody else ever does.

use std::sync::Arc;

use tokio::time::Instant;

use super::attempt::{self, Held};
use super::leaving::{Leaving, millis};
use super::{Finished, Live, Session, Shared, Stage};
use crate::error::ConnectError;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::interim::ExitStack;
use crate::report::{
    ComponentInfo, ComponentKind, LeaveReport, Outcome, ServerReport, SessionInfo,
};
use crate::wire::{Link, Offers};

/// The whole life of a session.
pub(crate) async fn own(session: Arc<Session>, shared: Arc<Shared>) {
    let mut last_word = LastWord { session: session.clone(), shared: shared.clone(), said: false };
    let leaving = Leaving::default();
    let stack = ExitStack::new().named(&session.name);
    let mut life = Life::default();
    let ended = stack
        .run(async {
            let ended = live(&session, &shared, &stack, &leaving, &mut life).await;
            begin_leaving(&session, &shared, &leaving, &life, ended.as_ref().err());
            ended
        })
        .await;
    let finished = finish(&session, &life, ended.err(), leaving.report(life.info.is_some()));
    last_word.say(finished);
}

/// What a session has come to by itself.
#[derive(Debug, Default)]
struct Life {
    /// Set once it is up.
    info: Option<SessionInfo>,
    held: Option<Held>,
}

/// Connects and serves. `Ok` is a session that came up and was asked to leave.
async fn live(
    session: &Arc<Session>,
    shared: &Arc<Shared>,
    stack: &ExitStack,
    leaving: &Leaving,
    life: &mut Life,
) -> Result<(), Fault> {
    let began = Instant::now();
    session.clock.lock().began = Some(began);
    session.tell(shared, EventKind::Connecting);
    let mut orders = session.watch.clone();
    let limit = shared.options.connect_timeout;

    let attempt = async {
        let (held, ready) = attempt::acquire(session, shared, stack, leaving).await?;
        life.held = Some(held.clone());
        let link = attempt::handshake(&held, ready).await?;
        held.recorder.phase("reading what the server offers");
        let offers = tokio::select! {
            offers = link.offers(shared.options.page_cap) => offers,
            fault = lost(&held) => return Err(fault),
        };
        Ok((held, link, offers))
    };
    let attempted = tokio::select! {
        biased;
        _ = orders.to_leave(shared.options.budget) => Err(interrupted()),
        attempted = attempt => attempted,
        () = tokio::time::sleep_until(began + limit) => Err(Fault::new(Outcome::TimedOut, "")),
    };
    session.clock.lock().outcome = Some(Instant::now());
    let (held, link, offers) = attempted.map_err(|fault| match fault.outcome {
        Outcome::TimedOut if fault.to_string().is_empty() => timed_out(life, limit),
        _ => fault,
    })?;

    held.recorder.connected();
    let up = up(session, &held, &link, offers, began);
    life.info = Some(up.info.clone());
    session.tell(shared, EventKind::Up(Box::new(up.info.clone())));
    session.advance(Stage::Up(Arc::new(up)));
    tokio::select! {
        biased;
        _ = orders.to_leave(shared.options.budget) => Ok(()),
        fault = lost(&held) => Err(fault),
    }
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
    let mut warnings = held.recorder.notes();
    warnings.extend(offers.warnings);
    let info = SessionInfo {
        name: name.clone(),
        transport: session.kind(),
        era: link.era(),
        connect_ms: millis(began.elapsed()),
        tools: Live::count(&components, ComponentKind::Tool),
        prompts: Live::count(&components, ComponentKind::Prompt),
        resources: Live::count(&components, ComponentKind::Resource),
        warnings,
    };
    Live { info, components, caller: link.caller() }
}

/// Ready when the session has ended by itself, with the cause.
async fn lost(held: &Held) -> Fault {
    match &held.process {
        None => {
            held.end.ended().await;
            ended_fault(held)
        }
        Some(process) => tokio::select! {
            biased;
            status = process.exited() => attempt::exited(held, status),
            () = held.end.ended() => attempt::explained(held, ended_fault(held)).await,
        },
    }
}

/// What the recorder knows of an end that nobody asked for.
fn ended_fault(held: &Held) -> Fault {
    held.recorder
        .recorded_fault()
        .unwrap_or_else(|| Fault::new(Outcome::Other, "the server closed the connection"))
}

fn interrupted() -> Fault {
    Fault::new(Outcome::Closing, "the attempt was interrupted: the session is being left")
}

fn timed_out(life: &Life, limit: std::time::Duration) -> Fault {
    let phase = life.held.as_ref().and_then(|held| held.recorder.current_phase());
    let phase = phase.unwrap_or_else(|| "connecting".into());
    Fault::new(Outcome::TimedOut, format!("not connected within {limit:?}: still {phase}"))
}

/// From here on only exits run. Whoever left by itself has the whole budget; an order may say less.
fn begin_leaving(
    session: &Session,
    shared: &Shared,
    leaving: &Leaving,
    life: &Life,
    fault: Option<&Fault>,
) {
    leaving.begin();
    session.orders.leave_by(Instant::now() + shared.options.budget);
    session.advance(Stage::Leaving { fault: fault.cloned() });
    if let Some(fault) = fault {
        let message = fault.line();
        session.tell(
            shared,
            match life.info {
                Some(_) => EventKind::Lost { message },
                None => EventKind::Failed { outcome: fault.outcome, message },
            },
        );
    }
}

/// The report of a session that has been left.
fn finish(session: &Session, life: &Life, fault: Option<Fault>, leave: LeaveReport) -> Finished {
    let tail = || life.held.as_ref().and_then(|held| held.stderr.as_ref()).map(|tail| tail.text());
    let error = fault.as_ref().map(|fault| fault.report(tail()));
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
        outcome: fault.as_ref().map_or(Outcome::Ok, |fault| fault.outcome),
        error,
        connect_ms,
        tools: info.map_or(0, |info| info.tools),
        prompts: info.map_or(0, |info| info.prompts),
        resources: info.map_or(0, |info| info.resources),
        leave,
    };
    let error = match (info, fault, &report.error) {
        (None, Some(fault), Some(told)) => Some(ConnectError::new(
            session.params.name.clone(),
            fault.outcome,
            told.clone(),
            Some(Arc::new(fault)),
        )),
        _ => None,
    };
    Finished { report, error }
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
        let report = Box::new(finished.report.clone());
        self.session.advance(Stage::Left(Arc::new(finished)));
        self.session.tell(&self.shared, EventKind::Left(report));
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
    let message = fault.line();
    session.tell(shared, EventKind::Failed { outcome: fault.outcome, message });
    let finished = finish(session, &Life::default(), Some(fault), LeaveReport::nothing());
    LastWord { session: session.clone(), shared: shared.clone(), said: false }.say(finished);
}

/// The error of a session that came up and was gone before its caller looked.
pub(crate) fn ended(session: &Session, finished: &Finished) -> ConnectError {
    let fault = interrupted();
    let report = finished.report.error.clone().unwrap_or_else(|| fault.report(None));
    let outcome = match finished.report.outcome {
        Outcome::Ok => Outcome::Closing,
        other => other,
    };
    ConnectError::new(session.params.name.clone(), outcome, report, Some(Arc::new(fault)))
}
