//! The owner of a session: one task that connects it, serves it and leaves it. No other task does.

use std::sync::Arc;

use tokio::time::Instant;

use super::start::{Left, Life, interrupted, start};
use super::{Finished, Session, Shared, Stage, reporting};
use crate::event::EventKind;
use crate::fault::Fault;
use crate::report::{LeaveReport, Outcome};

/// The whole life of a session, from its turn to its final event.
pub(crate) async fn own(session: Arc<Session>, shared: Arc<Shared>) {
    let mut last_word = LastWord::of(&session, &shared);
    listen_to_warnings(&session, &shared);
    let mut life = Life::default();
    let left = Box::pin(run(&session, &shared, &mut life)).await;
    last_word.say(reporting::finish(&session, &life, left));
}

/// Waits for a turn and starts the server. If its process ended at the era probe, the server is started once more when
/// its first process has been left.
async fn run(session: &Arc<Session>, shared: &Arc<Shared>, life: &mut Life) -> Left {
    let Some(turn) = session.turn(shared).await else {
        return refused(session, shared, interrupted(), LeaveReport::nothing());
    };
    let began = Instant::now();
    session.clock.lock().began = Some(began);
    session.tell(shared, || EventKind::Connecting);
    life.deadline = Some(began + shared.options.connect_timeout);
    life.turn = Some(turn);
    let left = Box::pin(start(session, shared, life)).await;
    let Some(ended) = life.again.take() else { return left };
    if session.watch.is_asked_to_leave() {
        return refused(session, shared, interrupted(), left.leave);
    }
    let unclean = left_uncleanly(left.leave);
    life.ended_on_probe = Some(ended);
    let mut left = Box::pin(start(session, shared, life)).await;
    left.leave.suppressed.splice(0..0, unclean);
    left.leave.clean = left.leave.judge();
    left
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

/// The end of a server that is not started, or not once more.
fn refused(session: &Session, shared: &Shared, fault: Fault, leave: LeaveReport) -> Left {
    session.tell(shared, || EventKind::Failed { outcome: fault.outcome, message: fault.line() });
    if session.starts() > 0 {
        session.clock.lock().outcome = Some(Instant::now());
    }
    Left { fault: Some(fault), leave }
}

/// The end of a server that was never started.
pub(crate) fn reject(session: &Arc<Session>, shared: &Arc<Shared>, fault: Fault) {
    let left = refused(session, shared, fault, LeaveReport::nothing());
    LastWord::of(session, shared).say(reporting::finish(session, &Life::default(), left));
}

/// Sends an event for each warning.
fn listen_to_warnings(session: &Session, shared: &Arc<Shared>) {
    let (index, name, shared) = (session.index, session.name.clone(), shared.clone());
    session.warnings.tell(move |message| {
        shared.tell(index, &name, || EventKind::Warning { message: message.to_owned() });
    });
}

/// Ends every wait for the end of a session, even if its owner was dropped or has panicked.
#[derive(Debug)]
struct LastWord {
    session: Arc<Session>,
    shared: Arc<Shared>,
    said: bool,
}

impl LastWord {
    fn of(session: &Arc<Session>, shared: &Arc<Shared>) -> Self {
        Self { session: session.clone(), shared: shared.clone(), said: false }
    }

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
            let left = Left { fault: Some(fault), leave };
            self.say(reporting::finish(&self.session, &Life::default(), left));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Takes a session to its end without an owner.
    pub(crate) fn left(session: &Session, leave: LeaveReport) {
        let left = Left { fault: None, leave };
        let finished = reporting::finish(session, &Life::default(), left);
        session.advance(Stage::Left(Arc::new(finished)));
    }
}
