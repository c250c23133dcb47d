//! Answers without an id that may be for a request or for a notification.
//!
//! Some servers answer a notification, such as `notifications/initialized`, with an error because they do not know it, or
//! with an empty result. Such an answer has no id. If one request waits at that time, it may be the answer to that as well:
//! so it is held until the answer with an id comes, and is the answer if none does.

use std::time::Duration;

use rmcp::model::{ErrorData, ServerJsonRpcMessage};
use tokio::time::Instant;

use super::incoming::Doubtful;
use super::message::rejection;
use super::pending::Pending;

/// The time for which the answer to the request is awaited.
const HELD: Duration = Duration::from_secs(1);

/// An answer that is held.
#[derive(Debug)]
struct Held {
    answer: Doubtful,
    until: Instant,
}

/// The answer of one connection that is held, if there is one.
#[derive(Debug, Default)]
pub(super) struct Unplaced(Option<Held>);

impl Unplaced {
    /// Holds an answer. A second one ends the doubt: the first one was for the notification, and its description is
    /// returned.
    pub(super) fn hold(&mut self, answer: Doubtful) -> Option<String> {
        let now = Instant::now();
        let until = if self.0.is_none() { now + HELD } else { now };
        let first = self.0.replace(Held { answer, until })?;
        Some(first.answer.what)
    }

    /// The description of the held answer once the request has another one.
    pub(super) fn refuted(&mut self, pending: &Pending) -> Option<String> {
        let held = self.0.take_if(|held| pending.named(&held.answer.request).is_none())?;
        Some(held.answer.what)
    }

    /// Ready when the time of the held answer is over; never if there is none.
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

    /// Decides about the held answer: it is the answer to the request, which is returned, if that still waits. Otherwise
    /// its description goes to `note`.
    pub(super) fn release(
        &mut self,
        pending: &Pending,
        note: impl Fn(&str),
    ) -> Option<ServerJsonRpcMessage> {
        let Doubtful { request, error, what } = self.0.take()?.answer;
        if pending.answered(&request) {
            return Some(ServerJsonRpcMessage::error(error, Some(request)));
        }
        note(&what);
        None
    }
}

/// An error that is for no request.
pub(super) fn described(error: &ErrorData) -> String {
    format!("an error without an id: {}", rejection(error))
}
