//! Server-sent events by the HTML standard, each with a bound.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use sse_stream::{Error as SseError, Sse, SseByteStream};

use super::body::preview;

/// The largest single event.
pub(crate) const EVENT_LIMIT: usize = 16 * 1024 * 1024;

/// A stream of events. It ends with its first error.
pub(crate) type Events = BoxStream<'static, Result<Sse, SseError>>;

/// An event of more than this many bytes.
#[derive(Debug, thiserror::Error)]
#[error("an event is larger than {0} bytes")]
struct TooLarge(usize);

/// Reads a body as events, none larger than `max_event`.
pub(crate) fn events<S, E>(bytes: S, max_event: usize) -> Events
where
    S: Stream<Item = Result<Bytes, E>> + Send + 'static,
    E: std::error::Error + Send + Sync + 'static,
{
    let mut gauge = EventGauge::default();
    let mut decoder = Utf8::default();
    let bounded = bytes.map(move |chunk| {
        let chunk = chunk.map_err(std::io::Error::other)?;
        if gauge.largest_after(&chunk) > max_event {
            return Err(std::io::Error::other(TooLarge(max_event)));
        }
        Ok(decoder.decode(chunk))
    });
    SseByteStream::new(bounded).boxed()
}

/// The text of an error that says that an event was too large. A retry would bring the same event.
pub(crate) fn too_large(error: &SseError) -> Option<String> {
    let SseError::Body(error) = error else { return None };
    let error = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref)?;
    error.downcast_ref::<TooLarge>().map(TooLarge::to_string)
}

/// An event of a type that is neither a message nor a keep-alive, described in one line: gateways tell the cause of a
/// failure so.
pub(crate) fn of_another_type(event: &Sse) -> Option<String> {
    const ALIVE: [&str; 6] = ["", "message", "ping", "heartbeat", "keepalive", "keep-alive"];
    let of = event.event.as_deref().filter(|of| !ALIVE.contains(of))?;
    let data = preview(event.data.as_deref()?.as_bytes())?;
    Some(format!("of the type {:?}: {data}", preview(of.as_bytes()).unwrap_or_default()))
}

/// The data of an event that may contain a message; `None` for a keep-alive, an event of another type, and one
/// without data.
pub(crate) fn message(event: &Sse) -> Option<&str> {
    let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
    event.data.as_deref().filter(|data| is_message && !data.trim().is_empty())
}

/// Measures the event under way: the bytes that the parser keeps in memory. Comments are not kept.
#[derive(Debug, Default)]
struct EventGauge {
    event: usize,
    line: usize,
    comment: bool,
    after_cr: bool,
}

impl EventGauge {
    /// Takes a chunk, and returns the size of the largest event so far.
    fn largest_after(&mut self, chunk: &[u8]) -> usize {
        let mut largest = self.event;
        for byte in chunk {
            let after_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                // The second half of one line end.
                b'\n' if after_cr => {}
                b'\r' | b'\n' => {
                    if self.line == 0 {
                        self.event = 0;
                    }
                    self.line = 0;
                }
                _ => {
                    if self.line == 0 {
                        self.comment = *byte == b':';
                    }
                    self.line += 1;
                    if !self.comment {
                        self.event += 1;
                        largest = largest.max(self.event);
                    }
                }
            }
        }
        largest
    }
}

/// Decodes UTF-8 that comes in pieces. Malformed bytes become U+FFFD, as the standard demands.
#[derive(Debug, Default)]
struct Utf8 {
    /// The beginning of a character that the last piece cut off.
    rest: Vec<u8>,
}

impl Utf8 {
    fn decode(&mut self, piece: Bytes) -> Bytes {
        let whole = if self.rest.is_empty() {
            piece
        } else {
            let mut whole = std::mem::take(&mut self.rest);
            whole.extend_from_slice(&piece);
            whole.into()
        };
        let complete = match std::str::from_utf8(&whole) {
            Ok(_) => return whole,
            Err(_) => whole.len() - unfinished(&whole),
        };
        self.rest = whole[complete..].to_vec();
        match String::from_utf8_lossy(&whole[..complete]) {
            Cow::Borrowed(_) => whole.slice(..complete),
            Cow::Owned(mended) => mended.into(),
        }
    }
}

/// The number of bytes at the end that are only the beginning of a character.
fn unfinished(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last();
    let end = last.map_or(&[][..], |chunk| chunk.invalid());
    let could_go_on =
        std::str::from_utf8(end).err().is_some_and(|error| error.error_len().is_none());
    if could_go_on { end.len() } else { 0 }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    /// The texts read from `text` when it comes in pieces of `size` bytes.
    async fn read(text: &[u8], size: usize) -> Vec<String> {
        let pieces: Vec<_> = text
            .chunks(size)
            .map(|piece| Ok::<_, std::io::Error>(Bytes::copy_from_slice(piece)))
            .collect();
        let events = events(stream::iter(pieces), 64);
        events
            .filter_map(async |event| match event {
                Ok(event) => message(&event).map(str::to_owned),
                Err(error) => Some(format!("{}", too_large(&error).is_some())),
            })
            .collect()
            .await
    }

    #[tokio::test]
    async fn a_stream_is_read_by_the_html_standard() {
        for (text, messages) in [
            (&b"data: a\n\ndata: b\n\n"[..], &["a", "b"][..]),
            (b"data: a\r\rdata: b\r\n\r\n", &["a", "b"]),
            (b"\xef\xbb\xbfdata:a\n\n", &["a"]),
            (b": comment\nnonsense: x\nno colon\nretry: soon\ndata: a\n\n", &["a"]),
            (b"event: ping\ndata: {}\n\nevent: message\ndata: a\n\n", &["a"]),
            (b"data: a\ndata: b\n\n", &["a\nb"]),
            (b"id: 1\ndata\n\ndata: \n\ndata: a\n\n", &["a"]),
            (b"event: x\nevent: message\nid: 1\nid: 2\ndata: a\n\n", &["a"]),
            (b"data: broken off", &[]),
            (b"data: a\xffb\n\n", &["a\u{fffd}b"]),
            ("data: gr\u{fc}\u{df}e \u{1f600}\n\n".as_bytes(), &["gr\u{fc}\u{df}e \u{1f600}"]),
        ] {
            for size in [1, 2, 3, 7, 1_000] {
                let shown = String::from_utf8_lossy(text);
                assert_eq!(read(text, size).await, messages, "in pieces of {size}: {shown}");
            }
        }
    }

    #[test]
    fn an_event_of_another_type_is_described_unless_it_only_keeps_the_stream_alive() {
        let event = |of: Option<&str>, data: Option<&str>| Sse {
            event: of.map(str::to_owned),
            data: data.map(str::to_owned),
            ..Sse::default()
        };
        let down = event(Some("error"), Some("{\"message\":\n\"down\"}"));
        let said = of_another_type(&down).expect("it says something");
        assert_eq!(said, "of the type \"error\": {\"message\": \"down\"}");
        for quiet in [
            event(None, Some("x")),
            event(Some("message"), Some("x")),
            event(Some("ping"), Some("{}")),
            event(Some("error"), None),
            event(Some("error"), Some(" ")),
        ] {
            assert_eq!(of_another_type(&quiet), None, "{quiet:?}");
        }
    }

    #[tokio::test]
    async fn an_event_without_end_is_an_error_and_comments_are_not_counted() {
        let endless = [b"data: ", &[b'x'; 100][..]].concat();
        assert_eq!(read(&endless, 9).await, ["true"]);
        let kept_alive = [b":\n".repeat(100), b"data: a\n\n".to_vec()].concat();
        assert_eq!(read(&kept_alive, 9).await, ["a"]);
        let by_cr = b"data: a\r\r".repeat(20);
        assert_eq!(read(&by_cr, 9).await.len(), 20);
    }
}
