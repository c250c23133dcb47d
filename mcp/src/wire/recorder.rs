//! The record of a connection: its phase, and the faults below rmcp.
//!
//! rmcp reports a broken connection as "transport closed". The cause was seen below it, by our client or our pumps, and
//! is kept here, so that the caller gets the cause.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::attempts::Attempts;
use super::secrets::Secrets;
use super::warnings::Warnings;
use crate::fault::Fault;
use crate::report::ConnectPhase;

/// The record of one connection.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    recorded: Mutex<Recorded>,
    /// The failure to replace an expired HTTP session, and the wake-up of the owner that reads it.
    unrenewed: OnceLock<Fault>,
    renewal_failed: Notify,
    /// The warnings of the session, which outlive this connection.
    warnings: Arc<Warnings>,
    /// The attempts of the session, this one among them.
    attempts: Arc<Attempts>,
    /// The secrets of the server, which no text of this record has.
    secrets: Arc<Secrets>,
}

#[derive(Debug, Default)]
struct Recorded {
    phase: Option<String>,
    fault: Option<Fault>,
    connected: bool,
    probing: bool,
    written: u64,
    /// The number of requests that wait for their credentials.
    unauthorized: usize,
    /// The last words of a server that is not up yet.
    said: Option<String>,
}

impl Recorder {
    /// The record of a connection of the session that has these warnings and attempts.
    pub(crate) fn new(warnings: Arc<Warnings>, attempts: Arc<Attempts>) -> Self {
        Self { warnings, attempts, ..Self::default() }
    }

    /// The same record, without these secrets in its texts.
    pub(crate) fn hiding(self, secrets: Arc<Secrets>) -> Self {
        Self { secrets, ..self }
    }

    /// The secrets of the server.
    pub(crate) fn secrets(&self) -> &Arc<Secrets> {
        &self.secrets
    }

    /// The attempt has reached this phase, which is in its report. A time-out is reported with the text `what`.
    pub(crate) fn step(&self, phase: ConnectPhase, what: impl Into<String>) {
        self.attempts.phase(phase);
        self.phase(what);
    }

    /// The HTTP session has expired, and no other one could be begun.
    pub(crate) fn not_renewed(&self, fault: Fault) {
        self.unrenewed.get_or_init(|| fault);
        self.renewal_failed.notify_one();
    }

    /// Ready when an expired HTTP session could not be replaced, with the cause.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe, for one waiter.
    pub(crate) async fn renewal_failed(&self) -> Fault {
        loop {
            if let Some(fault) = self.unrenewed.get() {
                return fault.clone();
            }
            self.renewal_failed.notified().await;
        }
    }

    /// The connection has reached this phase, which a time-out will name.
    pub(crate) fn phase(&self, phase: impl Into<String>) {
        self.recorded.lock().phase = Some(phase.into());
    }

    /// The phase.
    pub(crate) fn current_phase(&self) -> Option<String> {
        let recorded = self.recorded.lock();
        let phase = recorded.phase.clone()?;
        if recorded.unauthorized == 0 {
            return Some(phase);
        }
        Some(format!(
            "{phase}, for which there are no credentials yet (their provider, a login or an authorization server takes so long)"
        ))
    }

    /// A request waits for its credentials until the returned value is dropped.
    pub(crate) fn unauthorized(self: &Arc<Self>) -> Unauthorized {
        self.recorded.lock().unauthorized += 1;
        Unauthorized(self.clone())
    }

    /// Records a fault. While connecting the first fault is the cause and later ones are its consequences. Later,
    /// when a fault need not be the end, the newest one counts.
    pub(crate) fn fault(&self, fault: Fault) {
        let fault = fault.reworded(|text| self.secrets.hide(text).into_owned());
        let mut recorded = self.recorded.lock();
        if recorded.connected || recorded.fault.is_none() {
            recorded.fault = Some(fault);
        }
    }

    /// The recorded fault.
    pub(crate) fn recorded_fault(&self) -> Option<Fault> {
        self.recorded.lock().fault.clone()
    }

    /// The session is up: faults that it has survived are not the cause of later ones.
    pub(crate) fn connected(&self) {
        let mut recorded = self.recorded.lock();
        recorded.connected = true;
        recorded.fault = None;
        recorded.phase = None;
        recorded.said = None;
    }

    /// A server that is not up yet has said this. If it exits, it may be the cause.
    pub(crate) fn said(&self, said: String) {
        self.recorded.lock().said = Some(said);
    }

    /// The last words of a server that did not come up.
    pub(crate) fn last_words(&self) -> Option<String> {
        self.recorded.lock().said.clone()
    }

    /// Whether the session has come up.
    pub(crate) fn is_connected(&self) -> bool {
        self.recorded.lock().connected
    }

    /// Records whether a failure of the server would now be due to the era probe.
    pub(crate) fn probing(&self, probing: bool) {
        self.recorded.lock().probing = probing;
    }

    /// Whether a failure of the server is now due to the era probe.
    pub(crate) fn is_probing(&self) -> bool {
        self.recorded.lock().probing
    }

    /// Adds to the number of bytes written to the server's standard input.
    pub(crate) fn written(&self, bytes: usize) {
        self.recorded.lock().written += u64::try_from(bytes).unwrap_or(u64::MAX);
    }

    /// The number of bytes written to the server's standard input.
    pub(crate) fn all_written(&self) -> u64 {
        self.recorded.lock().written
    }

    /// Noise that did not prevent the session, such as a line on standard output that is not a
    /// message.
    pub(crate) fn note(&self, note: impl Into<String>) {
        self.warnings.note(self.secrets.hide(&note.into()).into_owned());
    }

    /// A finding about the server that did not prevent the session, such as an item of a list that cannot be
    /// read.
    pub(crate) fn warn(&self, warning: impl Into<String>) {
        self.warnings.warn(self.secrets.hide(&warning.into()).into_owned());
    }
}

/// A request that waits for its credentials.
#[derive(Debug)]
pub(crate) struct Unauthorized(Arc<Recorder>);

impl Drop for Unauthorized {
    fn drop(&mut self) {
        self.0.recorded.lock().unauthorized -= 1;
    }
}
