//! Bodies of answers: bounded, and read as messages.

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use rmcp::model::ServerJsonRpcMessage;
use sse_stream::{Error as SseError, Sse, SseStream};

/// The largest answer in one piece.
pub(crate) const JSON_LIMIT: usize = 16 * 1024 * 1024;
/// The most that is read of a body beside an error status.
pub(crate) const ERROR_LIMIT: usize = 64 * 1024;
/// The largest single event of a stream.
pub(crate) const EVENT_LIMIT: usize = 16 * 1024 * 1024;
/// The most of a body that an error text repeats.
const PREVIEW: usize = 200;

/// A stream of server-sent events.
pub(crate) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// Why a body is no message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection broke while the body came.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    /// Larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// It is something else.
    #[error("{error}: {preview}")]
    NotAMessage {
        /// The parser's words.
        error: String,
        /// How it begins.
        preview: String,
    },
    /// The stream broke.
    #[error("the response stream broke")]
    Stream(#[source] Flattened),
    /// The stream ended before the answer.
    #[error("the response stream ended without an answer")]
    NoAnswer,
}

impl BodyError {
    pub(crate) fn not_a_message(error: serde_json::Error, body: &[u8]) -> Self {
        Self::NotAMessage {
            error: error.to_string(),
            preview: preview(body).unwrap_or_else(|| "an empty body".into()),
        }
    }
}

/// The chain of an error that cannot be cloned, as an error that can.
#[derive(Debug, Clone)]
pub(crate) struct Flattened {
    text: String,
    source: Option<Box<Flattened>>,
}

impl Flattened {
    /// Copies the texts from `error` inwards.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        Self {
            text: error.to_string(),
            source: error.source().map(|source| Box::new(Self::of(source))),
        }
    }
}

impl std::fmt::Display for Flattened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Flattened {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

/// The beginning of a body as one line; `None` where it is empty.
pub(crate) fn preview(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(PREVIEW)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

/// Reads a body, no further than `limit`.
pub(crate) async fn bounded(
    mut response: reqwest::Response,
    limit: usize,
) -> Result<Vec<u8>, BodyError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > limit {
            return Err(BodyError::TooLarge(limit));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// Reads a body as server-sent events, none larger than `max_event`.
pub(crate) fn events<S>(bytes: S, max_event: usize) -> Events
where
    S: Stream<Item = Result<Bytes, reqwest::Error>> + Send + 'static,
{
    let mut gauge = EventGauge::default();
    let bounded = bytes.map(move |chunk| {
        let chunk = chunk.map_err(|error| std::io::Error::other(error.without_url()))?;
        if gauge.largest_after(&chunk) > max_event {
            return Err(std::io::Error::other(BodyError::TooLarge(max_event)));
        }
        Ok(chunk)
    });
    SseStream::from_bytes_stream(bounded).boxed()
}

/// Measures the event that is under way: what the parser has to hold in memory.
#[derive(Debug, Default)]
struct EventGauge {
    event: usize,
    line: usize,
}

impl EventGauge {
    /// Takes a chunk in and says how large the largest event has become.
    fn largest_after(&mut self, chunk: &[u8]) -> usize {
        let mut largest = self.event;
        for byte in chunk {
            match byte {
                b'\n' if self.line == 0 => self.event = 0,
                b'\n' => self.line = 0,
                b'\r' => {}
                _ => {
                    self.line += 1;
                    self.event += 1;
                    largest = largest.max(self.event);
                }
            }
        }
        largest
    }
}

/// The first response or error of a stream; what comes before it is not for a handshake.
pub(crate) async fn first_answer(mut events: Events) -> Result<ServerJsonRpcMessage, BodyError> {
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| BodyError::Stream(Flattened::of(&error)))?;
        let data = event.data.unwrap_or_default();
        if data.trim().is_empty() {
            continue;
        }
        let message = serde_json::from_str::<ServerJsonRpcMessage>(&data)
            .map_err(|error| BodyError::not_a_message(error, data.as_bytes()))?;
        if matches!(message, ServerJsonRpcMessage::Response(_) | ServerJsonRpcMessage::Error(_)) {
            return Ok(message);
        }
    }
    Err(BodyError::NoAnswer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_measured_across_chunks_and_lines() {
        let mut gauge = EventGauge::default();
        assert_eq!(gauge.largest_after(b"data: ab\n"), 8);
        assert_eq!(gauge.largest_after(b"data: c\r\n\r\ndata"), 15);
        assert_eq!(gauge.largest_after(b": d"), 7);
    }

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(preview(b"  <html>\n <p>no</p>").as_deref(), Some("<html> <p>no</p>"));
        assert_eq!(preview(b" \n"), None);
    }
}
