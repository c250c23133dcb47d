//! The end of a group: every session is asked to leave, and one report tells of all.

use tokio::time::Instant;

use super::State;
use super::registry::Closing;
use crate::report::{CloseReport, ServerReport};
use crate::session::{Stage, millis};

impl State {
    /// Closes the registry and asks every session to leave; the first call sets the times.
    pub(super) fn begin_closing(&self) -> Closing {
        let mut registry = self.registry.lock();
        let began = Instant::now();
        let first = Closing { began, deadline: began + self.shared.options.budget };
        let closing = *registry.closing.get_or_insert(first);
        for session in registry.sessions() {
            session.orders.leave_by(closing.deadline);
        }
        drop(registry);
        self.closed.cancel();
        closing
    }

    /// The report of the sessions that have been left by now.
    pub(super) fn report(&self, began: Instant, ended: Instant) -> CloseReport {
        let (sessions, forgotten) = {
            let registry = self.registry.lock();
            (registry.reported(), registry.forgotten)
        };
        let mut servers: Vec<ServerReport> = Vec::new();
        let mut clock = forgotten.clock;
        for session in sessions {
            clock = clock.spanning(*session.clock.lock());
            if let Stage::Left(finished) = session.stage() {
                servers.push(finished.report.clone());
            }
        }
        CloseReport {
            version: CloseReport::VERSION,
            clean: !forgotten.unclean && servers.iter().all(|server| server.leave.clean),
            connect_ms: clock
                .began
                .zip(clock.outcome)
                .map_or(0, |(first, last)| millis(last - first)),
            leave_ms: millis(ended - began),
            servers,
        }
    }
}
