//! Lines of a pipe, each with a bound.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::skeleton::Skeleton;

/// The longest line that is kept.
pub(crate) const LINE_LIMIT: usize = 16 * 1024 * 1024;

/// The result of a read.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line, which is in [`Lines::line`]. The last line counts without its end as well.
    Whole,
    /// A line beyond the limit, of which the outline is kept.
    TooLong(Skeleton),
    /// The pipe is at its end.
    End,
}

/// The lines of a pipe.
#[derive(Debug)]
pub(crate) struct Lines<P> {
    pipe: P,
    line: Vec<u8>,
    /// Whether the pipe is inside a line that was returned already.
    inside: bool,
    limit: usize,
}

impl<P: AsyncBufRead + Unpin> Lines<P> {
    pub(crate) fn of(pipe: P) -> Self {
        Self::up_to(LINE_LIMIT, pipe)
    }

    /// Lines of a pipe that are no longer than `limit`.
    pub(crate) fn up_to(limit: usize, pipe: P) -> Self {
        Self { pipe, line: Vec::new(), inside: false, limit }
    }

    /// The line that was read last.
    pub(crate) fn line(&self) -> &[u8] {
        &self.line
    }

    /// The rest of the pipe.
    pub(crate) fn into_rest(self) -> P {
        self.pipe
    }

    /// Reads one line, and keeps no more of it than the limit. A line that is too long and is known to contain an
    /// answer is returned at once, because its end may never come.
    pub(crate) async fn next(&mut self) -> std::io::Result<Line> {
        self.line.clear();
        let mut too_long: Option<Skeleton> = None;
        loop {
            let chunk = self.pipe.fill_buf().await?;
            if chunk.is_empty() {
                return Ok(match too_long {
                    Some(skeleton) => Line::TooLong(skeleton),
                    None if self.line.is_empty() => Line::End,
                    None => Line::Whole,
                });
            }
            let (taken, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
                Some(end) => (end + 1, true),
                None => (chunk.len(), false),
            };
            if self.inside {
                self.inside = !ended;
                self.pipe.consume(taken);
                continue;
            }
            if too_long.is_none() && self.line.len() + taken > self.limit {
                too_long = Some(Skeleton::of(&self.line));
                // The memory of the line is not only cleared but freed.
                self.line = Vec::new();
            }
            match &mut too_long {
                Some(skeleton) => skeleton.feed(&chunk[..taken]),
                None => self.line.extend_from_slice(&chunk[..taken]),
            }
            self.pipe.consume(taken);
            if ended {
                return Ok(too_long.map_or(Line::Whole, Line::TooLong));
            }
            if let Some(skeleton) = too_long.take_if(|skeleton| skeleton.has_answer()) {
                self.inside = true;
                return Ok(Line::TooLong(skeleton));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::RequestId;
    use tokio::io::{AsyncWriteExt, BufReader};

    use super::*;

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_skipped_and_known_by_its_id() {
        for (before, after) in [
            (r#"{"result":{"text":""#, r#""},"jsonrpc":"2.0","id":7}"#),
            (r#"{"jsonrpc":"2.0","id":7,"result":{"text":""#, r#""}}"#),
            (r#"[{"id":7,"result":{"text":""#, r#""}},{"method":"m"}]"#),
        ] {
            let mut said = before.as_bytes().to_vec();
            said.resize(LINE_LIMIT + 100_000, b'x');
            said.extend_from_slice(after.as_bytes());
            said.extend_from_slice(b"\nshort\nlast");
            let mut lines = Lines::of(BufReader::new(&said[..]));
            let Ok(Line::TooLong(skeleton)) = lines.next().await else {
                panic!("too long");
            };
            assert_eq!(skeleton.answers().collect::<Vec<_>>(), [&RequestId::Number(7)]);
            assert!(matches!(lines.next().await, Ok(Line::Whole)));
            assert_eq!(lines.line(), b"short\n");
            assert!(matches!(lines.next().await, Ok(Line::Whole)));
            assert_eq!(lines.line(), b"last");
            assert!(matches!(lines.next().await, Ok(Line::End)));
        }
    }

    #[tokio::test]
    async fn an_answer_beyond_the_limit_is_told_though_its_line_never_ends() {
        let (mut server, pipe) = tokio::io::duplex(64 * 1024);
        let said = [br#"{"id":7,"result":""#, &vec![b'x'; LINE_LIMIT][..]].concat();
        let mut lines = Lines::of(BufReader::new(pipe));
        let (written, line) = tokio::join!(server.write_all(&said), lines.next());
        written.expect("written");
        assert!(matches!(line, Ok(Line::TooLong(_))), "{line:?}");
        let (written, line) = tokio::join!(server.write_all(b"xx\"}\nnext\n"), lines.next());
        written.expect("written");
        assert!(matches!(line, Ok(Line::Whole)), "{line:?}");
        assert_eq!(lines.line(), b"next\n");
    }
}
