//! Texts that are perhaps the answer to a request.
//!
//! Some servers answer a notification, such as `notifications/initialized`, with an error because they do not know it, or
//! with an empty result. Such an answer has no id. If one request waits at that time, it may be the answer to that as well.
//! Other servers write a log to their standard output, and a line of it may show an answer behind other text, though the
//! answer itself may also stand behind a banner without a line break. Both are held until the answer comes that is
//! certain, and are the answer if none does.

use std::time::Duration;

use rmcp::model::{ErrorData, RequestId, ServerJsonRpcMessage};
use tokio::time::Instant;

use super::incoming::{Doubt, Doubtful};
use super::message::rejection;
use super::pending::Pending;

/// The time for which the certain answer is awaited.
const HELD: Duration = Duration::from_secs(1);

/// An answer that is held.
#[derive(Debug)]
struct Held {
    answer: Doubtful,
    until: Instant,
}

/// The answers of one connection that are held: one without an id at most, and one behind text for each request.
#[derive(Debug, Default)]
pub(super) struct Unplaced(Vec<Held>);

impl Unplaced {
    /// Holds an answer. Returns the description of the answer that it puts out of doubt.
    ///
    /// A second one without an id says that the first one was for the notification. A second one behind text is another
    /// line of the log.
    pub(super) fn hold(&mut self, answer: Doubtful) -> Option<String> {
        let now = Instant::now();
        let held = self.0.iter_mut().find(|held| held.is_rival_of(answer.doubt, &answer.request));
        match held {
            None => {
                self.0.push(Held { answer, until: now + HELD });
                None
            }
            Some(_) if answer.doubt == Doubt::BehindText => Some(answer.what),
            Some(held) => {
                let first = std::mem::replace(held, Held { answer, until: now });
                Some(first.answer.what)
            }
        }
    }

    /// The descriptions of the held answers whose requests have other ones now.
    pub(super) fn refuted(&mut self, pending: &Pending) -> Vec<String> {
        let refuted = |held: &mut Held| pending.named(&held.answer.request).is_none();
        self.0.extract_if(.., refuted).map(|held| held.answer.what).collect()
    }

    /// Ready when the time of a held answer is over; never if there is none.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe.
    pub(super) async fn due(&self) {
        match self.0.iter().map(|held| held.until).min() {
            Some(until) => tokio::time::sleep_until(until).await,
            None => std::future::pending().await,
        }
    }

    /// Takes the held answers out whose time is over; all of them if no further answer comes.
    pub(super) fn release(&mut self, is_end: bool) -> Vec<Doubtful> {
        let now = Instant::now();
        let over = |held: &mut Held| is_end || held.until <= now;
        self.0.extract_if(.., over).map(|held| held.answer).collect()
    }
}

impl Held {
    fn is_rival_of(&self, doubt: Doubt, request: &RequestId) -> bool {
        let is_for_it = doubt == Doubt::NoId || self.answer.request == *request;
        self.answer.doubt == doubt && is_for_it
    }
}

/// The failure of the request, if that still waits; else the description of the text.
pub(super) fn decided(answer: Doubtful, pending: &Pending) -> Result<ServerJsonRpcMessage, String> {
    let Doubtful { request, error, what, .. } = answer;
    if pending.answered(&request) {
        return Ok(ServerJsonRpcMessage::error(error, Some(request)));
    }
    Err(what)
}

/// An error that is for no request.
pub(super) fn described(error: &ErrorData) -> String {
    format!("an error without an id: {}", rejection(error))
}
