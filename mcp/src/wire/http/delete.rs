//! The DELETE that ends a session on the server.

use std::pin::pin;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::StatusCode;
use tokio::sync::Semaphore;

use super::HttpSession;
use super::failure::Failure;
use super::headers::{PROTOCOL_VERSION, prepared};
use super::open::Stray;
use crate::fault;
use crate::order::OrderWatch;
use crate::report::Delete;
use crate::wire::message::Kind;

/// The time for which a DELETE holds its turn. A DELETE that hangs longer goes on waiting, but no
/// longer delays others.
const TURN: Duration = Duration::from_millis(500);

/// The outcome of the DELETEs of a session, and their faults.
#[derive(Debug)]
pub(crate) struct Deleted {
    pub(crate) delete: Delete,
    pub(crate) faults: Vec<String>,
}

impl Default for Deleted {
    fn default() -> Self {
        Self::of(Delete::NotApplicable)
    }
}

impl Deleted {
    fn of(delete: Delete) -> Self {
        Self { delete, faults: Vec::new() }
    }

    /// Adds a further DELETE. The first outcome stands, unless a later one is worse.
    fn join(&mut self, other: Self) {
        if self.delete == Delete::NotApplicable
            || (self.delete.is_clean() && !other.delete.is_clean())
        {
            self.delete = other.delete;
        }
        self.faults.extend(other.faults);
    }
}

impl HttpSession {
    /// Whether the server has opened a session that has to be ended.
    pub(crate) fn has_session(&self) -> bool {
        let open = self.open.lock();
        open.session_id.is_some() || !open.strays.is_empty()
    }

    /// Ends the session, once, and with it the sessions that were begun beside it. It may take as long as the order
    /// allows; `turns` bounds the number of DELETEs of a group under way. The session has been stopped before, and
    /// its exchanges have ended, because one of them might have received the id of a session.
    pub(crate) async fn delete(&self, turns: &Semaphore, orders: &OrderWatch) -> Deleted {
        // There is no time left for an exchange that is still under way.
        self.outliving.give_up();
        let sessions = self.open.lock().take_all();
        let each = sessions.into_iter().map(|it| self.delete_one(it, turns, orders));
        let mut all = Deleted::default();
        for deleted in join_all(each).await {
            all.join(deleted);
        }
        all
    }

    async fn delete_one(&self, session: Stray, turns: &Semaphore, orders: &OrderWatch) -> Deleted {
        let Stray { id, version } = session;
        let sending = async {
            let response = self.send(true, |client| {
                let request = client.delete(self.target.clone());
                let request = prepared(request, Some(&id), &self.headers);
                match &version {
                    Some(version) => request.header(PROTOCOL_VERSION, version),
                    None => request,
                }
            });
            let response = response.await?;
            match response.status() {
                status if status.is_success() => Ok(Delete::Terminated),
                StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                    Ok(Delete::NotSupported)
                }
                StatusCode::NOT_FOUND | StatusCode::GONE => Ok(Delete::AlreadyGone),
                _ => Err(Failure::of(response).await.0),
            }
        };
        let mut is_sent = false;
        let in_turn = async {
            let turn = turns.acquire().await;
            is_sent = true;
            let mut sending = pin!(sending);
            if let Ok(answer) = tokio::time::timeout(TURN, &mut sending).await {
                return answer;
            }
            drop(turn);
            sending.await
        };
        let Some(answer) = orders.in_time(in_turn).await else {
            return Deleted::of(if is_sent { Delete::TimedOut } else { Delete::NotSent });
        };
        match answer {
            Ok(delete) => Deleted::of(delete),
            Err(failure) => {
                let chain = fault::chain(&failure.fault(self, &Kind::Delete)).join(": ");
                Deleted { delete: Delete::Failed, faults: vec![format!("DELETE failed: {chain}")] }
            }
        }
    }
}
