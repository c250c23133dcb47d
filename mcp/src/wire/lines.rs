//! Lines of a pipe, none without bound.

use tokio::io::{AsyncBufRead, AsyncBufReadExt};

use super::skeleton::Skeleton;

/// The longest line that is kept.
pub(crate) const LINE_LIMIT: usize = 16 * 1024 * 1024;

/// What was read.
#[derive(Debug)]
pub(crate) enum Line {
    /// A line. The last one counts without its end as well.
    Whole,
    /// A line beyond the limit, of which the outline is left.
    TooLong(Skeleton),
    /// The pipe is at its end.
    End,
}

/// Reads one line into `line`, which never grows beyond the limit.
pub(crate) async fn next(
    pipe: &mut (impl AsyncBufRead + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<Line> {
    line.clear();
    let mut too_long: Option<Skeleton> = None;
    loop {
        let chunk = pipe.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(match too_long {
                Some(skeleton) => Line::TooLong(skeleton),
                None if line.is_empty() => Line::End,
                None => Line::Whole,
            });
        }
        let (taken, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (chunk.len(), false),
        };
        if too_long.is_none() && line.len() + taken > LINE_LIMIT {
            too_long = Some(Skeleton::of(line));
            // What was kept is not only cleared but given back.
            *line = Vec::new();
        }
        match &mut too_long {
            Some(skeleton) => skeleton.feed(&chunk[..taken]),
            None => line.extend_from_slice(&chunk[..taken]),
        }
        pipe.consume(taken);
        if ended {
            return Ok(too_long.map_or(Line::Whole, Line::TooLong));
        }
    }
}

#[cfg(test)]
mod tests {
    use rmcp::model::RequestId;
    use tokio::io::BufReader;

    use super::*;

    #[tokio::test]
    async fn a_line_beyond_the_limit_is_skipped_and_known_by_its_id() {
        let mut said = b"{\"result\":{\"text\":\"".to_vec();
        said.resize(LINE_LIMIT + 10, b'x');
        said.extend_from_slice(b"\"},\"jsonrpc\":\"2.0\",\"id\":7}\nshort\nlast");
        let mut pipe = BufReader::new(&said[..]);
        let mut line = Vec::new();
        let Ok(Line::TooLong(skeleton)) = next(&mut pipe, &mut line).await else {
            panic!("too long");
        };
        assert_eq!(skeleton.answers(), Some(&RequestId::Number(7)));
        assert!(matches!(next(&mut pipe, &mut line).await, Ok(Line::Whole)));
        assert_eq!(line, b"short\n");
        assert!(matches!(next(&mut pipe, &mut line).await, Ok(Line::Whole)));
        assert_eq!(line, b"last");
        assert!(matches!(next(&mut pipe, &mut line).await, Ok(Line::End)));
    }
}
