//! Pages in a browser (CORS, by the Fetch standard): a browser lets a page send JSON and read the answer only if the answer
//! says so, and asks that beforehand.
//!
//! Only an admitted origin comes here. Nothing is said of cookies, so none are sent.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};

use super::body::{self, Body};

/// The headers of an answer that a client reads.
const READ: HeaderValue =
    HeaderValue::from_static("Mcp-Session-Id, MCP-Protocol-Version, WWW-Authenticate, Retry-After");
const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, DELETE");
/// The seconds for which a browser need not ask again.
const KEPT: HeaderValue = HeaderValue::from_static("600");

/// The answer to a browser that asks what a page may send; `None` for other requests. It has no token yet.
pub(super) fn preflight(method: &Method, headers: &HeaderMap) -> Option<Response<Body>> {
    let asks = headers.contains_key(ORIGIN) && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if *method != Method::OPTIONS || !asks {
        return None;
    }
    let mut response = body::empty(StatusCode::NO_CONTENT);
    let told = response.headers_mut();
    told.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
    told.insert(ACCESS_CONTROL_MAX_AGE, KEPT);
    // All of them, because those of a tool's parameters have names of its server's choice.
    for wanted in headers.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
        told.append(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
    }
    Some(response)
}

/// Lets the page that sent the request read the answer.
pub(super) fn share(response: &mut Response<Body>, origin: Option<HeaderValue>) {
    let Some(origin) = origin else { return };
    let told = response.headers_mut();
    told.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    told.insert(ACCESS_CONTROL_EXPOSE_HEADERS, READ);
    told.append(VARY, HeaderValue::from_static("Origin"));
}
