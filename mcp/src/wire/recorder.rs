//! What a connection remembers: how far it had come, and what went wrong underneath rmcp.
//!
//! rmcp reports a broken connection as "transport closed". The cause was seen below it, by our client or our pumps, and
//! is kept here, so that the caller is told the cause.

use parking_lot::Mutex;

use crate::fault::Fault;

/// Notes beyond these add nothing a reader would miss.
const NOTES: usize = 16;

/// The memory of one connection.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    phase: Option<String>,
    fault: Option<Fault>,
    connected: bool,
    notes: Vec<String>,
    left_out: usize,
}

impl Recorder {
    /// The connection has come to this: a time-out will name it.
    pub(crate) fn phase(&self, phase: impl Into<String>) {
        self.0.lock().phase = Some(phase.into());
    }

    /// How far it has come.
    pub(crate) fn current_phase(&self) -> Option<String> {
        self.0.lock().phase.clone()
    }

    /// Something broke. While connecting the first fault is the cause and what follows are its consequences; later,
    /// where a fault need not be the end, the newest one is.
    pub(crate) fn fault(&self, fault: Fault) {
        let mut recorded = self.0.lock();
        if recorded.connected || recorded.fault.is_none() {
            recorded.fault = Some(fault);
        }
    }

    /// What broke.
    pub(crate) fn recorded_fault(&self) -> Option<Fault> {
        self.0.lock().fault.clone()
    }

    /// The session is up: what was survived on the way is not the cause of what comes.
    pub(crate) fn connected(&self) {
        let mut recorded = self.0.lock();
        recorded.connected = true;
        recorded.fault = None;
    }

    /// Something worth telling that stood in nobody's way.
    pub(crate) fn note(&self, note: impl Into<String>) {
        let mut recorded = self.0.lock();
        if recorded.notes.len() < NOTES {
            recorded.notes.push(note.into());
        } else {
            recorded.left_out += 1;
        }
    }

    /// The notes so far.
    pub(crate) fn notes(&self) -> Vec<String> {
        let recorded = self.0.lock();
        let mut notes = recorded.notes.clone();
        if recorded.left_out > 0 {
            notes.push(format!("and {} more of the kind", recorded.left_out));
        }
        notes
    }
}
