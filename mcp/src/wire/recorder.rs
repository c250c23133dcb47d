//! The record of a connection: its phase, and the faults below rmcp.
//!
//! rmcp reports a broken connection as "transport closed". The cause was seen below it, by our client or our pumps, and
//! is kept here, so that the caller gets the cause.

use parking_lot::Mutex;

use crate::fault::Fault;

/// Notes beyond this number are only counted, because a server may repeat its noise for ever.
const NOTES: usize = 16;
/// Warnings beyond this number are only counted. The number is larger than that of notes, because each warning
/// names another item.
const WARNINGS: usize = 256;

/// The record of one connection.
#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Recorded>);

#[derive(Debug, Default)]
struct Recorded {
    phase: Option<String>,
    fault: Option<Fault>,
    connected: bool,
    probing: bool,
    written: u64,
    notes: Bounded<NOTES>,
    warnings: Bounded<WARNINGS>,
}

/// The first `N` texts, and the number of later ones.
#[derive(Debug, Default)]
struct Bounded<const N: usize> {
    kept: Vec<String>,
    left_out: usize,
}

impl<const N: usize> Bounded<N> {
    fn push(&mut self, text: String) {
        if self.kept.len() < N {
            self.kept.push(text);
        } else {
            self.left_out += 1;
        }
    }

    fn texts(&self) -> impl Iterator<Item = String> {
        let more = (self.left_out > 0).then(|| format!("and {} more of the kind", self.left_out));
        self.kept.iter().cloned().chain(more)
    }
}

impl Recorder {
    /// The connection has reached this phase, which a time-out will name.
    pub(crate) fn phase(&self, phase: impl Into<String>) {
        self.0.lock().phase = Some(phase.into());
    }

    /// The phase.
    pub(crate) fn current_phase(&self) -> Option<String> {
        self.0.lock().phase.clone()
    }

    /// Records a fault. While connecting the first fault is the cause and later ones are its consequences. Later,
    /// when a fault need not be the end, the newest one counts.
    pub(crate) fn fault(&self, fault: Fault) {
        let mut recorded = self.0.lock();
        if recorded.connected || recorded.fault.is_none() {
            recorded.fault = Some(fault);
        }
    }

    /// The recorded fault.
    pub(crate) fn recorded_fault(&self) -> Option<Fault> {
        self.0.lock().fault.clone()
    }

    /// The session is up: faults that it has survived are not the cause of later ones.
    pub(crate) fn connected(&self) {
        let mut recorded = self.0.lock();
        recorded.connected = true;
        recorded.fault = None;
        recorded.phase = None;
    }

    /// Whether the session has come up.
    pub(crate) fn is_connected(&self) -> bool {
        self.0.lock().connected
    }

    /// Records whether an end of the server would now be its answer to the era probe.
    pub(crate) fn probing(&self, probing: bool) {
        self.0.lock().probing = probing;
    }

    /// Whether the server was probed, and has not answered `initialize` yet.
    pub(crate) fn is_probing(&self) -> bool {
        self.0.lock().probing
    }

    /// Adds to the number of bytes written to the server's standard input.
    pub(crate) fn written(&self, bytes: usize) {
        self.0.lock().written += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// The number of bytes written to the server's standard input.
    pub(crate) fn all_written(&self) -> u64 {
        self.0.lock().written
    }

    /// Noise that did not prevent the session, such as a line on standard output that is not a
    /// message.
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.0.lock().notes.push(note.into());
    }

    /// A finding about the server that did not prevent the session, such as an item of a list that cannot be
    /// read.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        self.0.lock().warnings.push(warning.into());
    }

    /// The notes so far, then the warnings so far.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let recorded = self.0.lock();
        recorded.notes.texts().chain(recorded.warnings.texts()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_does_not_push_out_a_warning() {
        let recorder = Recorder::default();
        for line in 0..NOTES + 2 {
            recorder.note(format!("noise {line}"));
        }
        recorder.warn("a finding");
        let warnings = recorder.warnings();
        assert_eq!(warnings.len(), NOTES + 2, "{warnings:?}");
        assert_eq!(warnings[NOTES..], ["and 2 more of the kind", "a finding"]);
    }
}
