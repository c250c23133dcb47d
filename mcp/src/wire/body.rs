//! Bodies of answers: bounded, and shown in part.

/// The largest answer in one piece.
pub(crate) const JSON_LIMIT: usize = 16 * 1024 * 1024;
/// The largest part that is read of a body with an error status.
pub(crate) const ERROR_LIMIT: usize = 64 * 1024;
/// The largest part of a body that an error text repeats.
const PREVIEW: usize = 200;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preview_is_one_short_line() {
        assert_eq!(preview(b"  <html>\n <p>no</p>").as_deref(), Some("<html> <p>no</p>"));
        assert_eq!(preview(b" \n"), None);
    }
}
