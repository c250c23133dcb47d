//! The sessions that a server has opened for us: the current one, others beside it, and the answer that opened it.

use std::collections::HashSet;
use std::time::Duration;

use http::HeaderValue;
use rmcp::model::{ClientJsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerResult};
use rmcp::transport::streamable_http_client::StreamableHttpPostResponse;

use tokio::time::Instant;

use crate::wire::handshake::Agreed;
use crate::wire::message::{Kind, request_id};

/// The time for which an answer 404 is not taken for the end of a session, if a new session has brought the same answer.
/// Without it, a server that answers a list with 404 would be initialized anew without end, because the lists of each new
/// session are read.
const REFUTED: Duration = Duration::from_secs(60);

/// The open sessions.
#[derive(Debug, Default)]
pub(super) struct Open {
    pub(super) session_id: Option<String>,
    /// Sessions that the server has begun and that are not used: it gave their ids to a probe that it refused, or to an
    /// `initialize` that did not count in the end.
    pub(super) strays: Vec<Stray>,
    pub(super) protocol_version: Option<HeaderValue>,
    /// The server's answer to the first request, which rmcp will send once more.
    answer: Option<Box<ServerResult>>,
    /// Whether the handshake has succeeded.
    is_agreed: bool,
    /// Whether it has, in the older era.
    is_legacy: bool,
    /// Whether requests that are under way together share a connection, as those of HTTP/2 do.
    pub(super) shares_connection: bool,
    /// Whether a session is being begun that replaces an expired one.
    is_renewing: bool,
    /// The requests that met a session which the server no longer knew. Each of them is sent once more, in a new session.
    expired: HashSet<RequestId>,
    /// The kinds of request that met 404 in a new session as well, and when.
    refuted: Vec<(Kind, Instant)>,
}

/// A session that is not used.
#[derive(Debug)]
pub(super) struct Stray {
    pub(super) id: String,
    /// The revision with which it was begun, if it is known.
    pub(super) version: Option<HeaderValue>,
}

impl Open {
    /// The handshake has succeeded.
    pub(super) fn agreed(&mut self, agreed: Agreed) {
        let is_legacy = agreed.is_legacy();
        if !is_legacy {
            // A session that was begun beside the modern era.
            let version = self.protocol_version.take();
            let aside = self.session_id.take().map(|id| Stray { id, version });
            self.strays.extend(aside);
        }
        self.protocol_version = HeaderValue::from_str(agreed.version().as_str()).ok();
        self.answer = Some(agreed.replay());
        self.is_agreed = true;
        self.is_legacy = is_legacy;
    }

    /// Whether the session is up and of the older era, in which a request is cancelled by a notification.
    pub(super) fn is_legacy(&self) -> bool {
        self.is_legacy
    }

    /// The answer to rmcp's own first request. A later `initialize`, for a session that has expired, is sent.
    pub(super) fn replay(
        &mut self,
        message: &ClientJsonRpcMessage,
        kind: &Kind,
    ) -> Option<StreamableHttpPostResponse> {
        let id = request_id(message).filter(|_| kind.opens())?.clone();
        let answer = ServerJsonRpcMessage::response(*self.answer.take()?, id);
        Some(StreamableHttpPostResponse::Json(answer, self.session_id.clone()))
    }

    /// An answer came with the id of a session. That session has to be ended, even if the answer is
    /// an error.
    pub(super) fn learned(&mut self, kind: &Kind, id: &str) {
        if kind.is_probe() {
            self.strays.push(Stray { id: id.to_owned(), version: None });
        } else if kind.is_initialize() {
            let before = self.session_id.replace(id.to_owned());
            // A session that is begun anew takes the place of one that the server no longer knows.
            if self.is_agreed {
                self.is_renewing = true;
            } else {
                self.strays.extend(before.map(|id| Stray { id, version: None }));
            }
        }
    }

    /// Whether a message of this kind begins a session that replaces an expired one.
    pub(super) fn renews(&self, kind: &Kind) -> bool {
        self.is_agreed && kind.is_initialize()
    }

    /// A message of this kind was accepted by the server. Returns whether it has completed a session that replaces an
    /// expired one.
    pub(super) fn taken(&mut self, kind: &Kind) -> bool {
        *kind == Kind::Initialized && std::mem::take(&mut self.is_renewing)
    }

    /// A request was answered as if its session were unknown. Returns whether that counts: it does not for the session
    /// that was begun for this request, nor for a while for others of the kind.
    pub(super) fn expires(&mut self, kind: &Kind, request: Option<&RequestId>) -> bool {
        let Some(request) = request else { return true };
        self.refuted.retain(|(_, at)| at.elapsed() < REFUTED);
        if self.expired.remove(request) {
            self.refuted.retain(|(other, _)| other != kind);
            self.refuted.push((kind.clone(), Instant::now()));
            return false;
        }
        if self.refuted.iter().any(|(other, _)| other == kind) {
            return false;
        }
        self.expired.insert(request.clone());
        true
    }

    /// The sessions to end, the current one first. A session without a revision was begun by a server that speaks the
    /// agreed one, if that has sessions.
    pub(super) fn take_all(&mut self) -> Vec<Stray> {
        let version = self.protocol_version.clone().filter(|_| self.session_id.is_some());
        let own = self.session_id.take().map(|id| Stray { id, version: version.clone() });
        let mut all: Vec<Stray> = Vec::new();
        for mut session in own.into_iter().chain(std::mem::take(&mut self.strays)) {
            if !all.iter().any(|known| known.id == session.id) {
                session.version = session.version.or_else(|| version.clone());
                all.push(session);
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_404_that_a_new_session_brings_as_well_begins_no_further_session() {
        let mut open = Open::default();
        let list = Kind::Request("tools/list".into());
        let call = Kind::Request("tools/call".into());
        let id = |number| Some(RequestId::Number(number));
        assert!(open.expires(&list, id(1).as_ref()));
        assert!(!open.expires(&list, id(1).as_ref()), "sent once more");
        assert!(!open.expires(&list, id(2).as_ref()), "the new session's list");
        assert!(open.expires(&call, id(3).as_ref()), "another kind says more");
        tokio::time::advance(REFUTED).await;
        assert!(open.expires(&list, id(4).as_ref()), "the session may have expired meanwhile");
    }
}
