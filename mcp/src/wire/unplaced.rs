//! Errors without an id that may be for a request or for a notification.
//!
//! Some servers refuse a notification that they do not know, such as `notifications/initialized`, with an error, which has
//! no id. If one request waits at that time, the error may be its answer as well: so it is held until the answer comes, and
//! is the answer if none does.

use std::time::Duration;

use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use tokio::time::Instant;

use super::message::rejection;
use super::pending::Pending;

/// The time for which the answer to the request is awaited.
const HELD: Duration = Duration::from_secs(1);

/// An error that is held.
#[derive(Debug)]
struct Held {
    error: ErrorData,
    request: RequestId,
    until: Instant,
}

/// The error of one connection that is held, if there is one.
#[derive(Debug, Default)]
pub(super) struct Unplaced(Option<Held>);

impl Unplaced {
    /// Holds an error that may be for `request`. A second error ends the doubt: the first one was for the notification, and
    /// its description is returned.
    pub(super) fn hold(&mut self, error: ErrorData, request: RequestId) -> Option<String> {
        let until = Instant::now() + HELD;
        match &mut self.0 {
            None => {
                self.0 = Some(Held { error, request, until });
                None
            }
            Some(held) => {
                let first = std::mem::replace(&mut held.error, error);
                (held.request, held.until) = (request, Instant::now());
                Some(described(&first))
            }
        }
    }

    /// The description of the held error once the request has another answer.
    pub(super) fn refuted(&mut self, pending: &Pending) -> Option<String> {
        let held = self.0.take_if(|held| pending.named(&held.request).is_none())?;
        Some(described(&held.error))
    }

    /// Ready when the time of the held error is over; never if there is none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn due(&self) {
        match &self.0 {
            Some(held) => tokio::time::sleep_until(held.until).await,
            None => std::future::pending().await,
        }
    }

    /// Decides about the held error: it is the answer to the request, which is returned, if that still waits. Otherwise its
    /// description goes to `note`.
    pub(super) fn release(
        &mut self,
        pending: &Pending,
        note: impl Fn(&str),
    ) -> Option<ServerJsonRpcMessage> {
        let Held { error, request, .. } = self.0.take()?;
        if pending.answered(&request) {
            return Some(ServerJsonRpcMessage::error(error, Some(request)));
        }
        note(&described(&error));
        None
    }
}

/// An error that is for no request.
pub(super) fn described(error: &ErrorData) -> String {
    format!("an error without an id: {}", rejection(error))
}
