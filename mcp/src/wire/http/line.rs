//! The handshake over HTTP: each request is a POST of its own, and the answers come in any order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use http::{HeaderName, HeaderValue};
use rmcp::model::{
    ClientJsonRpcMessage, ProtocolVersion, RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::streamable_http_client::StreamableHttpPostResponse;
use tokio::time::Instant;

use super::failure::Failure;
use super::headers::PROTOCOL_VERSION;
use super::outliving::UNTIL_STOPPED;
use super::{HttpSession, SessionClient};
use crate::wire::events;
use crate::wire::handshake::{Line, Said};
use crate::wire::message::{Kind, request_id};

const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// A POST, until its answer, which has an id if it is for a request; `None` if it was given up.
type Asked = BoxFuture<'static, Option<(Option<RequestId>, Said)>>;

/// The POSTs of a handshake that are under way. Each goes on if this is dropped before `deadline`, because its answer may
/// carry the id of a session that has to be ended.
pub(crate) struct Posts {
    session: Arc<HttpSession>,
    deadline: Instant,
    open: FuturesUnordered<Asked>,
}

impl Posts {
    /// A handshake on `session` that may take until `deadline`.
    pub(crate) fn new(session: Arc<HttpSession>, deadline: Instant) -> Self {
        Self { session, deadline, open: FuturesUnordered::new() }
    }
}

impl Drop for Posts {
    /// A server that had its whole time gets no more.
    fn drop(&mut self) {
        if Instant::now() >= self.deadline {
            self.session.outliving.give_up();
        }
    }
}

impl Line for Posts {
    async fn ask(&mut self, request: ClientJsonRpcMessage) -> bool {
        self.open.push(
            self.session.outliving.begin(UNTIL_STOPPED, question(self.session.clone(), request)),
        );
        true
    }

    async fn hear(&mut self) -> Option<(Option<RequestId>, Said)> {
        // `None` in `Some` is a POST that was given up; it has no answer.
        while let Some(heard) = self.open.next().await {
            if heard.is_some() {
                return heard;
            }
        }
        None
    }

    /// A session may have been opened for the request that did not count: its id is in the answer.
    async fn settle(&mut self, patience: Duration) {
        let all = async { while self.open.next().await.is_some() {} };
        if tokio::time::timeout(patience, all).await.is_err() {
            self.session.outliving.give_up();
        }
    }
}

/// Posts one request.
async fn question(
    session: Arc<HttpSession>,
    request: ClientJsonRpcMessage,
) -> (Option<RequestId>, Said) {
    let kind = Kind::of(&request);
    let mut headers = session.headers();
    if kind.is_probe() {
        if let Ok(version) = HeaderValue::from_str(ProtocolVersion::LATEST.as_str()) {
            headers.insert(PROTOCOL_VERSION, version);
        }
        headers.insert(METHOD, HeaderValue::from_static("server/discover"));
    }
    let client = SessionClient(session.clone());
    let answer = client.exchange(&request, &kind, None, headers, events::EVENT_LIMIT).await;
    let said = match answer {
        Ok(StreamableHttpPostResponse::Json(
            ServerJsonRpcMessage::Response(answer),
            session_id,
        )) => {
            if let (ServerResult::DiscoverResult(_), Some(id)) = (&answer.result, session_id) {
                session.open.lock().strays.retain(|stray| stray.id != id);
            }
            Ok(Said::Result(Box::new(answer.result)))
        }
        Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::Error(answer), _)) => {
            Ok(Said::error(answer.error))
        }
        Ok(_) => Err(Failure::NotAnAnswer("a request or a notification".into())),
        Err(failure) => Err(failure),
    };
    let said = said.unwrap_or_else(|failure| Said::Failed(failure.fault(&session, &kind)));
    (request_id(&request).cloned(), said)
}
