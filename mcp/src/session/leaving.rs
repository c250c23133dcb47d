//! The record of leaving a session: each exit writes its part, the owner makes a report of it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::duration::millis;
use crate::process::teardown::ChildLeft;
use crate::report::{Delete, LeavePhase, LeaveReport, PhaseReport};

/// The growing record.
#[derive(Debug, Clone, Default)]
pub(crate) struct Leaving(Arc<Mutex<Record>>);

#[derive(Debug, Default)]
struct Record {
    began: Option<Instant>,
    phase: Option<(LeavePhase, Instant)>,
    phases: Vec<PhaseReport>,
    delete: Option<Delete>,
    child: Option<ChildLeft>,
}

impl Leaving {
    /// Leaving begins now.
    pub(crate) fn begin(&self) {
        self.0.lock().began.get_or_insert_with(Instant::now);
    }

    /// A phase begins, and with it ends the one before.
    pub(crate) fn phase(&self, phase: LeavePhase) {
        let mut record = self.0.lock();
        record.end_phase();
        record.phase = Some((phase, Instant::now()));
    }

    /// The current phase is over; the time after it belongs to no phase.
    pub(crate) fn end_phase(&self) {
        self.0.lock().end_phase();
    }

    /// The outcome of the DELETE.
    pub(crate) fn deleted(&self, delete: Delete) {
        self.0.lock().delete = Some(delete);
    }

    /// The record of leaving the child.
    pub(crate) fn child(&self, child: ChildLeft) {
        self.0.lock().child = Some(child);
    }

    /// The report, with the failures while leaving. `was_up` tells whether there was a session to leave, even without a
    /// child or a DELETE.
    pub(crate) fn report(&self, was_up: bool, suppressed: Vec<String>) -> LeaveReport {
        let mut record = self.0.lock();
        record.end_phase();
        let mut report = LeaveReport::nothing();
        report.phases = std::mem::take(&mut record.phases);
        report.suppressed = suppressed;
        report.delete = record.delete.unwrap_or(Delete::NotApplicable);
        let had_child = record.child.is_some();
        if let Some(child) = record.child.take() {
            report.signals = child.signals.into_iter().map(str::to_owned).collect();
            report.exit_status = child.status;
            report.survivors = child.survivors;
            report.descendants = child.descendants;
        }
        if was_up || had_child || report.delete != Delete::NotApplicable {
            report.ms = record.began.map_or(0, |began| millis(began.elapsed()));
        }
        report.clean = report.judge();
        report
    }
}

impl Record {
    fn end_phase(&mut self) {
        if let Some((phase, began)) = self.phase.take() {
            self.phases.push(PhaseReport { phase, ms: millis(began.elapsed()) });
        }
    }
}
