//! The DELETE that ends a session on the server.

use std::pin::pin;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::headers::{PROTOCOL_VERSION, prepared};
use super::{HttpSession, resend};
use crate::fault;
use crate::order::OrderWatch;
use crate::report::Delete;

/// How long a DELETE holds its turn. One that hangs longer waits on, but not in the way of others.
const TURN: Duration = Duration::from_millis(500);

/// What became of it, and the fault where there was one.
pub(crate) type Deleted = (Delete, Option<String>);

impl HttpSession {
    /// Whether the server has given us a session to end.
    pub(crate) fn has_session(&self) -> bool {
        self.open.lock().session_id.is_some()
    }

    /// Ends the session, once. It may take as long as the order allows; `turns` bounds how many DELETEs of a group are
    /// under way. The session has been stopped before.
    pub(crate) async fn delete(&self, turns: &Semaphore, mut orders: OrderWatch) -> Deleted {
        tokio::select! {
            biased;
            () = self.exchanges.wait() => {}
            () = out_of_time(&mut orders) => {}
        }
        let Some(id) = self.open.lock().session_id.take() else {
            return (Delete::NotApplicable, None);
        };
        let turn = tokio::select! {
            biased;
            () = out_of_time(&mut orders) => return (Delete::NotSent, None),
            turn = turns.acquire() => turn,
        };
        let mut turn = Some(turn);
        let mut headers = self.headers.clone();
        if let Some(version) = self.open.lock().protocol_version.clone() {
            headers.insert(PROTOCOL_VERSION, version);
        }
        let mut sent = pin!(resend::send(&self.client, true, |client| {
            prepared(client.delete(&*self.url), Some(&id), &headers)
        }));
        let mut turn_over = pin!(tokio::time::sleep(TURN));
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut sent => break answer,
                () = out_of_time(&mut orders) => return (Delete::TimedOut, None),
                () = &mut turn_over, if turn.is_some() => turn = None,
            }
        };
        match answer.map(|response| response.status()) {
            Ok(status) if status.is_success() => (Delete::Terminated, None),
            Ok(StatusCode::METHOD_NOT_ALLOWED) => (Delete::NotSupported, None),
            Ok(StatusCode::NOT_FOUND) => (Delete::AlreadyGone, None),
            Ok(status) => (Delete::Failed, Some(format!("DELETE was answered HTTP {status}"))),
            Err(error) => {
                let chain = fault::chain(&error.without_url()).join(": ");
                (Delete::Failed, Some(format!("DELETE failed: {chain}")))
            }
        }
    }
}

/// Ready when nothing may wait any longer: forced, or the budget is spent.
async fn out_of_time(orders: &mut OrderWatch) {
    loop {
        let order = orders.current();
        if order.force {
            return;
        }
        let end = order.end();
        tokio::select! {
            () = tokio::time::sleep_until(end.unwrap_or_else(Instant::now)), if end.is_some() => return,
            () = orders.tighter_than(order) => {}
        }
    }
}
