//! The service that rmcp calls for the server's messages; the desk answers them.

use std::sync::Arc;

use rmcp::model::{
    ClientConfig, ClientResult, CustomResult, ErrorCode, ErrorData, ServerNotification,
    ServerRequest,
};
use rmcp::service::{
    InboundStreamOrigin, NotificationContext, RequestContext, RoleClient, Service,
};

use super::ask;
use super::desk::Desk;
use super::pending::Pending;
use super::raw;
use crate::callbacks::RequestError;

/// The client's side of a connection.
#[derive(Debug)]
pub(super) struct Answering {
    pub(super) config: ClientConfig,
    pub(super) desk: Option<Arc<Desk>>,
    pub(super) pending: Arc<Pending>,
}

impl Service<RoleClient> for Answering {
    /// Answers a request, in the group of the session. The future itself only waits, and cancels the callback when it is
    /// dropped or when the server takes its request back.
    async fn handle_request(
        &self,
        request: ServerRequest,
        context: RequestContext<RoleClient>,
    ) -> Result<ClientResult, ErrorData> {
        let request = match request {
            ServerRequest::PingRequest(_) => return Ok(ClientResult::empty(())),
            ServerRequest::CustomRequest(request) => request,
            // Our reader passes no other request on.
            _ => return Err(unknown("such a request")),
        };
        if !self.pending.is_wanted(&context.id) {
            return Err(taken_back());
        }
        let origin = context.extensions.get::<InboundStreamOrigin>();
        let stream = match origin {
            Some(InboundStreamOrigin::OutboundRequest(id)) => Some(id),
            Some(InboundStreamOrigin::Unassociated) | None => None,
        };
        let (method, params) = raw::take_request(request);
        if ask::is_modern(&context.peer) && !self.pending.is_of_a_request(stream, origin.is_some())
        {
            let text = "a server of this revision asks on behalf of a request of the client only";
            return Err(ErrorData::invalid_params(text, None));
        }
        let tag = self.pending.tag(stream);
        let asked = self.desk.as_ref().and_then(|desk| desk.ask(method.clone(), params, tag));
        let Some(answer) = asked else { return Err(unknown(&method)) };
        let answer = tokio::select! {
            biased;
            () = context.ct.cancelled() => return Err(taken_back()),
            answer = answer.given() => answer,
        };
        match answer {
            Ok(answer) => Ok(ClientResult::CustomResult(CustomResult(answer))),
            Err(RequestError { code, message, data }) => {
                Err(ErrorData::new(ErrorCode(code), message, data))
            }
        }
    }

    /// Our reader has seen it before, in the order of the server.
    async fn handle_notification(
        &self,
        _notification: ServerNotification,
        _context: NotificationContext<RoleClient>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }

    fn get_info(&self) -> ClientConfig {
        self.config.clone()
    }
}

/// The server does not wait for this answer.
fn taken_back() -> ErrorData {
    ErrorData::internal_error("the request was cancelled", None)
}

fn unknown(method: &str) -> ErrorData {
    ErrorData::new(
        ErrorCode::METHOD_NOT_FOUND,
        format!("this client does not answer {method}"),
        None,
    )
}
