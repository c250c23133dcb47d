//! rmcp's interface to an HTTP client, as a session fills it in.

use std::sync::Arc;

use rmcp::model::ClientJsonRpcMessage;
use rmcp::transport::streamable_http_client::{StreamableHttpClient, StreamableHttpPostResponse};

use super::HttpError;
use super::headers::Headers;
use super::post::SessionClient;
use super::stream::{RmcpEvents, Way};
use crate::fault::Fault;
use crate::wire::events;

fn way(session_id: Option<Arc<str>>, headers: Headers, max_event: usize) -> Way {
    Way { session_id: session_id.map(|id| id.to_string()), headers, max_event }
}

impl StreamableHttpClient for SessionClient {
    type Error = Fault;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        self.post(message, session_id, headers, events::EVENT_LIMIT).await
    }

    async fn post_message_with_max_sse_event_size(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        self.post(message, session_id, headers, max_event).await
    }

    /// Leaving sends the only DELETE (see [`delete`](super::delete)).
    async fn delete_session(
        &self,
        _uri: Arc<str>,
        _session_id: Arc<str>,
        _auth_header: Option<String>,
        _headers: Headers,
    ) -> Result<(), HttpError> {
        Ok(())
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: Headers,
    ) -> Result<RmcpEvents, HttpError> {
        self.open_stream(way(session_id, headers, events::EVENT_LIMIT), last_event_id).await
    }

    async fn get_stream_with_max_sse_event_size(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        headers: Headers,
        max_event: usize,
    ) -> Result<RmcpEvents, HttpError> {
        self.open_stream(way(session_id, headers, max_event), last_event_id).await
    }
}
