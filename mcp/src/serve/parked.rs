//! Requests of the newer era that wait for their clients' answers. Each has a state that only its client knows.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;

use moored::{CancelScope, DropGuard, ReasonKind};
use parking_lot::Mutex;
use rmcp::ErrorData;

use super::Core;
use super::answering::running::Running;

/// The requests that wait.
#[derive(Debug, Default)]
pub(super) struct Parked(Mutex<HashMap<String, Place>>);

#[derive(Debug)]
struct Place {
    running: Running,
    owner: Arc<str>,
    /// Dropped with the place, which ends the wait for its time limit.
    _waits: DropGuard,
}

impl Parked {
    /// Cancels all of them.
    pub(super) fn clear(&self) {
        let all = std::mem::take(&mut *self.0.lock());
        drop(all);
    }
}

impl Core {
    /// Lets a request wait, and returns the state with which the client resumes it. It is cancelled at its time limit.
    ///
    /// # Errors
    ///
    /// If the limit of waiting requests is reached. The request is cancelled then.
    pub(super) fn park(
        self: &Arc<Self>,
        running: Running,
        owner: &Arc<str>,
    ) -> Result<String, ErrorData> {
        let waiting = CancelScope::new().named("parked request").timeout(self.options.parked_for);
        // 122 random bits of the operating system, which cannot be guessed.
        let state = uuid::Uuid::new_v4().to_string();
        let place = Place { running, owner: owner.clone(), _waits: waiting.handle().drop_guard() };
        {
            let mut all = self.parked.0.lock();
            if all.len() >= self.options.parked {
                drop(all);
                drop(place);
                let text = "too many requests wait for the input of their clients";
                return Err(ErrorData::internal_error(text, None));
            }
            all.insert(state.clone(), place);
        }
        let (core, its) = (Arc::downgrade(self), state.clone());
        self.rest(async move {
            let Err(ended) = waiting.run(pending::<Infallible>()).await;
            if ended.reason().kind() == ReasonKind::Deadline {
                // The drop cancels the request; it comes outside the lock.
                let place = core.upgrade().and_then(|core| core.parked.0.lock().remove(&its));
                drop(place);
            }
        });
        Ok(state)
    }

    /// Takes the request with this state, if it belongs to this client and is the same request.
    ///
    /// # Errors
    ///
    /// If it is not. The error does not reveal other requests.
    pub(super) fn resume(
        &self,
        state: &str,
        owner: &Arc<str>,
        what: &str,
    ) -> Result<Running, ErrorData> {
        let mut all = self.parked.0.lock();
        let is_it = |place: &Place| place.owner == *owner && place.running.what == what;
        if all.get(state).is_some_and(is_it)
            && let Some(place) = all.remove(state)
        {
            return Ok(place.running);
        }
        let text = "the requestState belongs to no request that waits: it was answered, or its time is over";
        Err(ErrorData::invalid_params(text, None))
    }
}
