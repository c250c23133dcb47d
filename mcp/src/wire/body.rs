//! Bodies of answers: bounded, and shown in part.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

/// The largest answer in one piece.
pub(crate) const JSON_LIMIT: usize = 16 * 1024 * 1024;
/// The longest time for which the body of an error status is read. The status says more than the body, and must not be lost
/// because of it.
const ERROR_TIME: Duration = Duration::from_secs(2);
/// The largest part that is read of a body with an error status.
pub(crate) const ERROR_LIMIT: usize = 64 * 1024;
/// The largest part of a body that an error text repeats.
const PREVIEW: usize = 200;

/// The number of characters after which a server's text is cut off.
const CLIPPED: usize = 2_000;

/// The reason why a body cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection broke while the body came.
    #[error(transparent)]
    Broken(#[from] reqwest::Error),
    /// Larger than allowed.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
}

/// The beginning of a body as one line; `None` if it is empty.
pub(crate) fn preview(body: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(&body[..body.len().min(PREVIEW)]);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    (!line.is_empty()).then_some(line)
}

/// A text of a server as a part of an error text: whole, unless it is longer than any reader wants.
pub(crate) fn clipped(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(CLIPPED) {
        None => text.into(),
        Some((end, _)) => format!("{}.. ({} bytes)", &text[..end], text.len()).into(),
    }
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

/// The beginning of a body with an error status: as much of the body as comes within a bounded space and time.
pub(crate) async fn beginning(mut response: reqwest::Response) -> Vec<u8> {
    let deadline = Instant::now() + ERROR_TIME;
    let mut body = Vec::new();
    while body.len() < ERROR_LIMIT
        && let Ok(Ok(Some(chunk))) = timeout_at(deadline, response.chunk()).await
    {
        let room = ERROR_LIMIT - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    body
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_beginning_of_an_errors_body_is_read_however_it_goes_on() {
        let response = |body: reqwest::Body| reqwest::Response::from(http::Response::new(body));
        let large = vec![b'x'; ERROR_LIMIT + 1];
        assert_eq!(beginning(response(large.into())).await.len(), ERROR_LIMIT);
        let words = stream::iter([Ok::<_, std::io::Error>("some words")]);
        let silent =
            reqwest::Body::wrap_stream(futures_util::StreamExt::chain(words, stream::pending()));
        assert_eq!(beginning(response(silent)).await, b"some words");
    }

    #[test]
    fn a_text_without_end_is_cut_off_between_characters() {
        assert_eq!(clipped("licence expired"), "licence expired");
        let long = clipped(&"\u{e9}".repeat(CLIPPED + 1)).into_owned();
        assert!(long.starts_with(&"\u{e9}".repeat(CLIPPED)) && long.ends_with(".. (4002 bytes)"));
    }

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(preview(b"  <html>\n <p>no</p>").as_deref(), Some("<html> <p>no</p>"));
        assert_eq!(preview(b" \n"), None);
    }
}
