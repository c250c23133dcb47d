//! Headers: the headers of the user, of the protocol, and of an answer.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE,
};
use reqwest::{RequestBuilder, Response, StatusCode, Url};

use crate::fault::Fault;
use crate::report::Outcome;

/// The headers of a session's requests.
pub(crate) type Headers = HashMap<HeaderName, HeaderValue>;

pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
pub(super) const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Headers that belong to the protocol or to the connection, and differ from request to request.
const RESERVED: [&str; 10] = [
    "accept",
    "connection",
    "content-length",
    "content-type",
    "last-event-id",
    "mcp-method",
    "mcp-name",
    "mcp-protocol-version",
    "mcp-session-id",
    "transfer-encoding",
];

/// Whether a header is none of the user's.
pub(super) fn is_reserved(name: &HeaderName) -> bool {
    RESERVED.contains(&name.as_str())
}

/// The headers of the user, checked, and a warning about each that is not sent.
pub(crate) fn given(given: &BTreeMap<String, String>) -> Result<(Headers, Vec<String>), Fault> {
    let mut headers = HashMap::new();
    let mut dropped = Vec::new();
    for (name, value) in given {
        let (Ok(parsed), Ok(mut value)) =
            (name.parse::<HeaderName>(), value.parse::<HeaderValue>())
        else {
            let text = format!("the header {name:?} cannot be sent as it is");
            return Err(Fault::new(Outcome::Other, text));
        };
        // Marked as sensitive, so that it is not shown with a request.
        value.set_sensitive(true);
        if is_reserved(&parsed) {
            dropped.push(format!(
                "the header {name:?} of the configuration is not sent: the protocol sets it itself"
            ));
        } else {
            headers.insert(parsed, value);
        }
    }
    Ok((headers, dropped))
}

/// A request with the headers of the protocol and of the user.
pub(super) fn prepared(
    request: RequestBuilder,
    session_id: Option<&str>,
    headers: &Headers,
) -> RequestBuilder {
    let mut request = request.header(ACCEPT, "application/json, text/event-stream");
    for (name, value) in headers {
        request = request.header(name, value);
    }
    match session_id {
        Some(id) => request.header(SESSION_ID, id),
        None => request,
    }
}

/// A header of an answer, if it is text.
pub(super) fn text(response: &Response, name: &HeaderName) -> Option<String> {
    response.headers().get(name)?.to_str().ok().map(str::to_owned)
}

/// Whether an answer is of this media type. Neither case nor parameters count (RFC 9110, section 8.3.1).
pub(super) fn is(response: &Response, media_type: &str) -> bool {
    is_media_type(response.headers(), media_type)
}

fn is_media_type(headers: &HeaderMap, media_type: &str) -> bool {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|value| value.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case(media_type))
}

/// Whether a header is there and is no text.
pub(super) fn is_no_text(response: &Response, name: &HeaderName) -> bool {
    response.headers().get(name).is_some_and(|value| value.to_str().is_err())
}

/// A content coding that is left when the client has removed those it knows: the body cannot be read.
pub(super) fn unknown_coding(response: &Response) -> Option<String> {
    text(response, &CONTENT_ENCODING)
        .filter(|coding| !coding.trim().eq_ignore_ascii_case("identity"))
}

/// All challenges of a 401 or 403.
pub(super) fn challenges(response: &Response) -> Vec<String> {
    let all = response.headers().get_all(WWW_AUTHENTICATE).iter();
    all.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

/// The time that a server with too much to do asks to wait (RFC 9110, section 10.2.3): a number of seconds, or a date.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let is_busy = matches!(
        response.status(),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
    );
    let value = response.headers().get(RETRY_AFTER).filter(|_| is_busy)?.to_str().ok()?;
    wait_of(value, SystemTime::now())
}

/// The time in a `Retry-After`; `None` if there is none to wait.
fn wait_of(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // More seconds than the type has are as good as its most.
        Duration::from_secs(value.parse().unwrap_or(u32::MAX).into())
    } else {
        httpdate::parse_http_date(value).ok()?.duration_since(now).ok()?
    };
    (!wait.is_zero()).then_some(wait)
}

/// The target of a redirect, in a form that may be shown.
pub(super) fn location(response: &Response) -> Option<String> {
    let location = response.headers().get(LOCATION)?.as_bytes();
    let location = String::from_utf8_lossy(location).into_owned();
    let location = response.url().join(&location).map_or(location, Into::into);
    Some(shown(&location))
}

/// Reads the address of a server. The error does not show it, because it may contain a secret anywhere.
pub(crate) fn address(url: &str) -> Result<Url, Fault> {
    let wrong = "the address of the server is not one of http or https";
    match Url::parse(url) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(url),
        Ok(_) => Err(Fault::new(Outcome::Other, wrong)),
        Err(error) => Err(Fault::caused(Outcome::Other, wrong, error)),
    }
}

/// An address in a form that may be shown: without user, password and query, which may be
/// secrets.
pub(crate) fn shown(url: &str) -> String {
    let Ok(mut url) = Url::parse(url) else {
        return url.to_owned();
    };
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_compared_whole_and_without_case() {
        for (value, is_json) in [
            ("application/json", true),
            ("Application/JSON", true),
            ("application/json;charset=utf-8", true),
            ("application/json ; charset=utf-8", true),
            ("application/jsonp", false),
            ("application/json-seq", false),
            ("text/json", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(value));
            assert_eq!(is_media_type(&headers, "application/json"), is_json, "{value:?}");
        }
        assert!(!is_media_type(&HeaderMap::new(), "application/json"));
    }

    #[test]
    fn the_time_to_wait_is_a_number_of_seconds_or_a_date() {
        let now = httpdate::parse_http_date("Fri, 27 Nov 2026 02:00:00 GMT").expect("a date");
        for (value, wait) in [
            ("30", Some(30)),
            (" 1 ", Some(1)),
            ("99999999999999999999", Some(u32::MAX.into())),
            ("Fri, 27 Nov 2026 02:00:45 GMT", Some(45)),
            ("Fri, 27 Nov 2026 01:00:00 GMT", None),
            ("0", None),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(wait_of(value, now), wait.map(Duration::from_secs), "{value:?}");
        }
    }

    #[test]
    fn headers_of_the_protocol_are_dropped_and_named() {
        let pairs = [("Accept", "*/*"), ("X-Key", "1"), ("mcp-session-id", "s")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let (headers, dropped) = given(&pairs.into()).expect("headers");
        assert_eq!(headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-key"]);
        assert_eq!(dropped.len(), 2);
        assert!(dropped[0].contains("\"Accept\""), "{dropped:?}");
        assert!(given(&[("a b".to_owned(), String::new())].into()).is_err());
    }

    #[test]
    fn an_address_that_cannot_be_used_is_told_without_being_shown() {
        address("http://127.0.0.1:1/mcp").expect("an address");
        address("HTTPS://h").expect("an address");
        for wrong in ["", "s3cret", "ftp://s3cret/", "localhost:80", "http://"] {
            let fault = address(wrong).expect_err(wrong).line();
            assert!(fault.contains("not one of http or https") && !fault.contains("s3cret"));
        }
    }

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        assert_eq!(shown("http://me:pw@127.0.0.1:1/mcp?key=1"), "http://127.0.0.1:1/mcp");
        assert_eq!(shown("not an address"), "not an address");
    }
}
