//! The record of the attempts to connect: the time that each of them spends in each phase.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::duration::millis;
use crate::report::{AttemptReport, ConnectPhase, ConnectPhaseReport};

/// Attempts beyond this number are forgotten, the oldest first: a server that is started again and again has any number.
const KEPT: usize = 16;

/// The attempts of one session, from its first start to its last.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    ended: VecDeque<AttemptReport>,
    current: Option<Current>,
}

#[derive(Debug)]
struct Current {
    began: Instant,
    phase: Option<(ConnectPhase, Instant)>,
    phases: Vec<ConnectPhaseReport>,
}

impl Attempts {
    /// An attempt begins; it ends when the returned value is dropped.
    pub(crate) fn begin(&self) -> UnderWay<'_> {
        let current = Current { began: Instant::now(), phase: None, phases: Vec::new() };
        self.0.lock().current = Some(current);
        UnderWay(self)
    }

    /// The attempt has reached this phase, and with it ends the one before.
    pub(crate) fn phase(&self, phase: ConnectPhase) {
        let mut record = self.0.lock();
        let Some(current) = &mut record.current else { return };
        if current.phase.is_none_or(|(before, _)| before != phase) {
            current.end_phase();
            current.phase = Some((phase, Instant::now()));
        }
    }

    /// The server is started again, because of the end of the last attempt or of its session.
    pub(crate) fn restarted(&self, because: String) {
        if let Some(last) = self.0.lock().ended.back_mut() {
            last.restarted_because = Some(because);
        }
    }

    /// The attempts that have ended.
    pub(crate) fn all(&self) -> Vec<AttemptReport> {
        self.0.lock().ended.iter().cloned().collect()
    }
}

/// An attempt that is under way.
#[derive(Debug)]
pub(crate) struct UnderWay<'a>(&'a Attempts);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        let mut record = self.0.0.lock();
        let Some(mut current) = record.current.take() else { return };
        current.end_phase();
        if record.ended.len() == KEPT {
            record.ended.pop_front();
        }
        let ms = millis(current.began.elapsed());
        record.ended.push_back(AttemptReport {
            ms,
            phases: current.phases,
            restarted_because: None,
        });
    }
}

impl Current {
    fn end_phase(&mut self) {
        if let Some((phase, began)) = self.phase.take() {
            self.phases.push(ConnectPhaseReport { phase, ms: millis(began.elapsed()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_attempt_has_its_phases_and_the_oldest_are_forgotten() {
        let attempts = Attempts::default();
        attempts.phase(ConnectPhase::List);
        assert_eq!(attempts.all(), []);
        {
            let _first = attempts.begin();
            for (phase, ms) in [
                (ConnectPhase::Start, 1),
                (ConnectPhase::Probe, 20),
                (ConnectPhase::Initialize, 300),
                (ConnectPhase::Initialize, 4_000),
            ] {
                attempts.phase(phase);
                tokio::time::advance(Duration::from_millis(ms)).await;
            }
        }
        let phase = |phase, ms| ConnectPhaseReport { phase, ms };
        let attempt = |ms, phases| AttemptReport { ms, phases, restarted_because: None };
        let phases = vec![
            phase(ConnectPhase::Start, 1),
            phase(ConnectPhase::Probe, 20),
            phase(ConnectPhase::Initialize, 4_300),
        ];
        assert_eq!(attempts.all(), [attempt(4_321, phases)]);
        for _ in 0..KEPT {
            drop(attempts.begin());
        }
        assert_eq!(attempts.all(), vec![attempt(0, Vec::new()); KEPT]);
    }
}
