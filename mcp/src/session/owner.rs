//! The owner of a session: one task that connects it, serves it and leaves it. No other task does.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::start::{Left, Life, interrupted, start};
use super::{Down, Finished, Session, Shared, Stage, reporting};
use crate::duration::bounded;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::order::Ordered;
use crate::report::{LeaveReport, Outcome};

/// The number of starts whose faults while leaving are kept for the report.
const UNCLEAN: usize = 16;

/// The whole life of a session, from its turn to its final event.
pub(crate) async fn own(session: Arc<Session>, ordered: Ordered, shared: Arc<Shared>) {
    let _entered = ordered.enter();
    let mut last_word = LastWord::of(&session, &shared);
    send_warnings(&session, &shared);
    let mut life = Life::default();
    let mut left = Box::pin(run(&session, &shared, &mut life)).await;
    let mut unclean = Vec::new();
    while let Some(pause) = goes_down(&session, &shared, &mut life, &left) {
        if !is_awaited(&session, pause).await {
            session.tell(&shared, || EventKind::Closing);
            break;
        }
        if let Some(fault) = &left.fault {
            session.attempts.restarted(fault.line());
        }
        let before = std::mem::replace(&mut left.leave, LeaveReport::nothing());
        let number = session.starts();
        let faults = left_uncleanly(before, &format!("the process of start {number}"));
        unclean.extend(faults.filter(|_| unclean.len() < UNCLEAN));
        let next = Box::pin(run(&session, &shared, &mut life)).await;
        left.leave = next.leave;
        // The cause of the loss is more important than the interruption of another start.
        if next.fault.as_ref().is_none_or(|fault| fault.outcome != Outcome::Closing) {
            left.fault = next.fault;
        }
    }
    left.leave.suppressed.splice(0..0, unclean);
    left.leave.clean = left.leave.judge();
    life.withdraw(&shared);
    last_word.say(reporting::finish(&session, &life, left));
    shared.take_spent(life.spent());
}

/// Takes a session that was lost down, if its server is to be started again. Returns the pause before that.
fn goes_down(session: &Session, shared: &Shared, life: &mut Life, left: &Left) -> Option<Duration> {
    let fault = left.fault.as_ref()?;
    if !life.comes_back(session, shared, fault) {
        return None;
    }
    let pause = life.comebacks.next(session, fault)?;
    let report = reporting::error(life, fault);
    session.advance(Stage::Down(Arc::new(Down { fault: fault.clone(), report })));
    // Looked at after the stage has advanced: a group that drains meanwhile sees the stage and asks the session to leave.
    if shared.is_draining() {
        session.orders.leave_within(shared.options.budget);
    }
    session.tell(shared, || EventKind::Restarting { message: fault.line(), after: pause });
    Some(pause)
}

/// Waits for the end of a pause. `false` if the session was asked to leave before.
async fn is_awaited(session: &Session, pause: Duration) -> bool {
    tokio::select! {
        biased;
        () = session.watch.asked_to_leave() => false,
        () = tokio::time::sleep(pause) => true,
    }
}

/// Waits for a turn and starts the server. If the era probe made that fail, the server is started once more when its
/// first process has been left. From then on it is not probed.
async fn run(session: &Arc<Session>, shared: &Arc<Shared>, life: &mut Life) -> Left {
    let Some(turn) = session.turn(shared).await else {
        return refused(session, shared, interrupted(), LeaveReport::nothing());
    };
    let began = Instant::now();
    session.clock.lock().began.get_or_insert(began);
    session.tell(shared, || EventKind::Connecting);
    life.began = Some(began);
    life.deadline = Some(began + bounded(shared.options.connect_timeout));
    life.turn = Some(turn);
    let left = Box::pin(start(session, shared, life)).await;
    let Some(ended) = life.again.take() else { return left };
    if session.watch.is_asked_to_leave() {
        return refused(session, shared, interrupted(), left.leave);
    }
    let unclean = left_uncleanly(left.leave, "the process that failed at server/discover");
    session.attempts.restarted(ended.clone());
    life.failed_on_probe = Some(ended);
    let mut left = Box::pin(start(session, shared, life)).await;
    left.leave.suppressed.splice(0..0, unclean);
    left.leave.clean = left.leave.judge();
    left
}

/// The faults in leaving one of several processes. Its exit status is ignored, because it ended by itself, or was left
/// for having rejected the handshake.
fn left_uncleanly(mut leave: LeaveReport, process: &str) -> Option<String> {
    leave.exit_status = None;
    if leave.judge() {
        return None;
    }
    let mut what = leave.signals.clone();
    what.extend(leave.survivors.iter().map(|pid| format!("process {pid} still runs")));
    what.extend(leave.suppressed.iter().cloned());
    let what = what.join(", ");
    Some(format!("{process} was not left cleanly: {what}"))
}

/// The end of a server that is not started, or not once more.
fn refused(session: &Session, shared: &Shared, fault: Fault, leave: LeaveReport) -> Left {
    session.tell(shared, || EventKind::Failed { outcome: fault.outcome, message: fault.line() });
    if session.starts() > 0 {
        session.clock.lock().outcome.get_or_insert_with(Instant::now);
    }
    Left { fault: Some(fault), leave }
}

/// The end of a server that was never started.
pub(crate) fn reject(session: &Arc<Session>, shared: &Arc<Shared>, fault: Fault) {
    let left = refused(session, shared, fault, LeaveReport::nothing());
    LastWord::of(session, shared).say(reporting::finish(session, &Life::default(), left));
}

/// Sends an event for each warning.
fn send_warnings(session: &Session, shared: &Arc<Shared>) {
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
