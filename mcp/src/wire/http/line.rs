//! The handshake over HTTP: each request is a POST of its own, and the answers come in any order.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderName, HeaderValue};
use rmcp::model::{
    ClientJsonRpcMessage, ProtocolVersion, RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::streamable_http_client::StreamableHttpPostResponse;

use super::failure::Failure;
use super::headers::PROTOCOL_VERSION;
use super::{HttpSession, SessionClient};
use crate::fault::Fault;
use crate::report::Outcome;
use crate::wire::events;
use crate::wire::handshake::{Line, Said};
use crate::wire::message::{Kind, request_id};

const METHOD: HeaderName = HeaderName::from_static("mcp-method");

/// The POSTs of a handshake that are under way.
pub(crate) struct Posts {
    session: Arc<HttpSession>,
    open: FuturesUnordered<BoxFuture<'static, (Option<RequestId>, Said)>>,
}

impl Posts {
    /// A handshake on `session`.
    pub(crate) fn new(session: Arc<HttpSession>) -> Self {
        Self { session, open: FuturesUnordered::new() }
    }
}

impl Line for Posts {
    async fn ask(&mut self, request: ClientJsonRpcMessage) -> bool {
        self.open.push(question(self.session.clone(), request).boxed());
        true
    }

    async fn hear(&mut self) -> Option<(Option<RequestId>, Said)> {
        self.open.next().await
    }

    /// A session may have been opened for the request that did not count: its id is in the answer.
    async fn settle(&mut self, patience: Duration) {
        let all = async { while self.open.next().await.is_some() {} };
        let _some_are_late = tokio::time::timeout(patience, all).await;
    }
}

/// Posts one request.
async fn question(
    session: Arc<HttpSession>,
    request: ClientJsonRpcMessage,
) -> (Option<RequestId>, Said) {
    let Some(_under_way) = session.stop.exchange() else {
        let text = "the connection has ended";
        return (request_id(&request).cloned(), Said::Failed(Fault::new(Outcome::Closing, text)));
    };
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
