//! The end of a group: every session is asked to leave, and one report tells of all.

use std::time::Duration;

use moored::CancelScope;
use tokio::time::Instant;

use super::State;
use super::registry::{Closing, Draining};
use crate::duration::millis;
use crate::report::{CloseReport, ServerReport};
use crate::session::Stage;

impl State {
    /// Closes the registry and asks every session to leave; the first call sets the times.
    pub(super) fn begin_closing(&self) -> Closing {
        let mut registry = self.registry.lock();
        // From the first call on no session is added, and an order stands.
        if let Some(closing) = registry.closing {
            return closing;
        }
        let closing = *registry.closing.insert(Closing { began: Instant::now() });
        self.shared.begin_closing();
        for session in registry.sessions() {
            session.orders.leave_within(self.shared.options.budget);
        }
        drop(registry);
        self.serving.cancel();
        closing
    }

    /// Closes the registry to new calls and new servers; the first call sets the times.
    pub(super) fn begin_draining(&self, budget: Duration) {
        let mut registry = self.registry.lock();
        if registry.closing.is_some() || registry.draining.is_some() {
            return;
        }
        let began = Instant::now();
        // A budget beyond the end of the clock is no limit.
        registry.draining = Some(Draining { began, deadline: began.checked_add(budget) });
        self.shared.drain();
        for session in registry.sessions() {
            session.drain(&self.shared);
        }
        drop(registry);
        self.serving.stop();
    }

    /// Bounds the time for which the group of the calls waits for them, if the group drains.
    pub(super) fn bound_draining(&self, serving: &CancelScope) {
        let draining = self.registry.lock().draining;
        if let Some(deadline) = draining.and_then(|draining| draining.deadline) {
            serving.set_deadline(deadline.into_std());
        }
    }

    /// The report of the sessions that have been left by now.
    pub(super) fn report(&self, began: Instant, ended: Instant) -> CloseReport {
        let (sessions, forgotten, draining) = {
            let registry = self.registry.lock();
            (registry.reported(), registry.forgotten, registry.draining)
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
            drain_ms: draining.map_or(0, |it| millis(began.saturating_duration_since(it.began))),
            leave_ms: millis(ended - began),
            servers,
        }
    }
}
