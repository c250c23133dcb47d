//! The results of a session: its description when it comes up, and its report when it has been left.

use std::sync::Arc;

use super::start::{Left, Life, interrupted};
use super::{Finished, Listing, Session};
use crate::component::ComponentKind;
use crate::duration::millis;
use crate::error::ConnectError;
use crate::fault::Fault;
use crate::report::{ErrorReport, Outcome, ServerReport, SessionInfo};

impl SessionInfo {
    /// Sets the numbers of components.
    pub(super) fn count(&mut self, listing: &Listing) {
        self.tools = listing.count(ComponentKind::Tool);
        self.prompts = listing.count(ComponentKind::Prompt);
        self.resources = listing.count(ComponentKind::Resource);
    }
}

/// The description of a session that comes up.
pub(super) fn info(
    session: &Session,
    era: Option<String>,
    connect_ms: u64,
    listing: &Listing,
    list_fault: Option<&Fault>,
) -> SessionInfo {
    let mut info = SessionInfo {
        name: session.params.name.clone(),
        transport: session.kind(),
        era,
        connect_ms,
        tools: 0,
        prompts: 0,
        resources: 0,
        warnings: session.warnings.all(),
        list_error: list_fault.map(|fault| fault.report(None)),
    };
    info.count(listing);
    info
}

/// The report of a fault of the last start, with the end of its standard error.
pub(super) fn error(life: &Life, fault: &Fault) -> ErrorReport {
    let Some((stderr, secrets)) =
        life.held.as_ref().and_then(|held| Some((held.stderr.as_ref()?, held.recorder.secrets())))
    else {
        return fault.report(None);
    };
    let stderr_error = stderr.first_error(secrets);
    ErrorReport { stderr_error, ..fault.report(Some(stderr.text(secrets))) }
}

/// The report of a session that has been left.
pub(super) fn finish(session: &Session, life: &Life, left: Left) -> Finished {
    let Left { fault, leave } = left;
    // The cause of its end is more important than a list that could not be read.
    let worst = fault.as_ref().or(life.list_fault());
    let error = worst.map(|fault| error(life, fault));
    let clock = *session.clock.lock();
    let info = life.info.as_ref();
    let report = ServerReport {
        name: session.params.name.clone(),
        transport: session.kind(),
        era: info.and_then(|info| info.era.clone()),
        server: info.and_then(|_| session.profile.lock().server().cloned()),
        outcome: worst.map_or(Outcome::Ok, |fault| fault.outcome),
        error,
        connect_ms: clock.connect_ms(),
        waited_ms: millis(clock.waited),
        attempts: session.attempts.all(),
        starts: session.starts(),
        tools: info.map_or(0, |info| info.tools),
        prompts: info.map_or(0, |info| info.prompts),
        resources: info.map_or(0, |info| info.resources),
        warnings: session.warnings.all(),
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

/// The error of a session that came up and had ended before its caller looked.
pub(crate) fn ended(session: &Session, finished: &Finished) -> ConnectError {
    let fault = finished.ended_by.clone().unwrap_or_else(interrupted);
    let told = finished.report.error.clone().filter(|_| finished.ended_by.is_some());
    let report = told.unwrap_or_else(|| fault.report(None));
    ConnectError::new(session.params.name.clone(), fault.outcome, report, Arc::new(fault))
}
