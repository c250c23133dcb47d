//! A child's standard error: its end, and the first line that names an error.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::secrets::Secrets;

/// The number of bytes that are kept of the end.
const TAIL: usize = 4 * 1024;
/// The number of bytes that are kept of the line that names an error.
const LINE: usize = 512;
/// The further bytes that are kept before the tail and after such a line, so that a secret at their edge is recognised.
const EDGE: usize = 4 * 1024;
/// The beginning of such a line.
const ERROR: &[u8] = b"Error";

/// The parts that are kept of a child's standard error.
#[derive(Debug, Clone, Default)]
pub(crate) struct StderrTail(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    tail: VecDeque<u8>,
    /// The beginning of the line under way.
    line: Vec<u8>,
    error: Option<Vec<u8>>,
}

impl Kept {
    fn take(&mut self, chunk: &[u8]) {
        self.tail.extend(chunk);
        let surplus = self.tail.len().saturating_sub(TAIL + EDGE);
        self.tail.drain(..surplus);
        if self.error.is_some() {
            return;
        }
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE + EDGE - self.line.len();
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if line.starts_with(ERROR) {
                    self.error = Some(line);
                    return;
                }
            }
        }
    }
}

impl StderrTail {
    /// Reads standard error to its end.
    pub(crate) async fn pump(self, mut pipe: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; 1024];
        while let Ok(read) = pipe.read(&mut chunk).await {
            if read == 0 {
                return;
            }
            self.0.lock().take(&chunk[..read]);
        }
    }

    /// The end, as text, without the secrets. An end that begins inside a character begins with the next one.
    pub(crate) fn text(&self, secrets: &Secrets) -> String {
        let mut kept = self.0.lock();
        let text = String::from_utf8_lossy(kept.tail.make_contiguous());
        secrets.hide_between(&text, text.len().saturating_sub(TAIL), text.len())
    }

    /// The first line that begins with "Error", without the secrets. A stack trace after it may have moved it out of the tail.
    pub(crate) fn first_error(&self, secrets: &Secrets) -> Option<String> {
        let kept = self.0.lock();
        let under_way = Some(&kept.line).filter(|line| line.starts_with(ERROR));
        let line = kept.error.as_ref().or(under_way)?;
        let line = String::from_utf8_lossy(line);
        Some(secrets.hide_between(&line, 0, LINE).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_standard_error_the_last_four_kibibytes_are_kept() {
        let tail = StderrTail::default();
        let said = [vec![b'a'; 15_000], b"the end".to_vec()].concat();
        tail.clone().pump(&said[..]).await;
        assert_eq!(tail.text(&Secrets::default()).len(), TAIL);
        assert!(tail.text(&Secrets::default()).ends_with("the end"));
        assert_eq!(tail.first_error(&Secrets::default()), None);
    }

    #[test]
    fn the_first_line_that_begins_with_error_is_kept() {
        for (said, error) in [
            (
                "node:1\nError: Cannot find module 'x'\n  at y\nError: again\n",
                "Error: Cannot find module 'x'",
            ),
            ("Error at the very end", "Error at the very end"),
            ("no Error here\nErrors: 2\n", "Errors: 2"),
        ] {
            for size in [1, 3, 1_000] {
                let mut kept = Kept::default();
                said.as_bytes().chunks(size).for_each(|chunk| kept.take(chunk));
                kept.take(&[b'.'; 5_000]);
                let tail = StderrTail(Arc::new(Mutex::new(kept)));
                let found = tail.first_error(&Secrets::default()).expect("an error");
                assert_eq!(found.trim_end_matches('.'), error, "in pieces of {size}");
            }
        }
    }

    #[test]
    fn a_secret_is_hidden_also_at_the_edge_of_the_tail() {
        let params = crate::params::ServerParams::stdio("s", Default::default());
        let secrets = Secrets::of(&params.secret("s3cret-1234"));
        for after in [TAIL - 5, TAIL - 11, TAIL, 3] {
            let mut kept = Kept::default();
            kept.take(&[b'.'; 2 * TAIL]);
            kept.take(b"s3cret-1234");
            kept.take(&vec![b'.'; after]);
            let text = StderrTail(Arc::new(Mutex::new(kept))).text(&secrets);
            assert!(text.len() <= TAIL && !text.contains("1234"), "{after}: {text}");
        }
        let mut kept = Kept::default();
        kept.take(
            format!("Error: {}s3cret-1234{}", ".".repeat(LINE - 12), ".".repeat(LINE)).as_bytes(),
        );
        let tail = StderrTail(Arc::new(Mutex::new(kept)));
        let line = tail.first_error(&secrets).expect("an error");
        assert!(line.len() <= LINE && !line.contains("s3"), "{line}");
    }
}
