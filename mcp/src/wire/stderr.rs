//! A child's standard error: its end, and the first line that names an error.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The number of bytes that are kept of the end.
const TAIL: usize = 4 * 1024;
/// The number of bytes that are kept of the line that names an error.
const LINE: usize = 512;
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
        let surplus = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..surplus);
        if self.error.is_some() {
            return;
        }
        for piece in chunk.split_inclusive(|byte| *byte == b'\n') {
            let room = LINE - self.line.len();
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

    /// The end, as text.
    pub(crate) fn text(&self) -> String {
        let mut kept = self.0.lock();
        // A tail that begins inside a character begins with the next one.
        let bytes = kept.tail.make_contiguous();
        let start = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }

    /// The first line that begins with "Error". A stack trace after it may have moved it out of the tail.
    pub(crate) fn first_error(&self) -> Option<String> {
        let kept = self.0.lock();
        let under_way = Some(&kept.line).filter(|line| line.starts_with(ERROR));
        let line = kept.error.as_ref().or(under_way)?;
        Some(String::from_utf8_lossy(line).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_standard_error_the_last_four_kibibytes_are_kept() {
        let tail = StderrTail::default();
        let said = [vec![b'a'; 5_000], b"the end".to_vec()].concat();
        tail.clone().pump(&said[..]).await;
        assert_eq!(tail.text().len(), TAIL);
        assert!(tail.text().ends_with("the end"));
        assert_eq!(tail.first_error(), None);
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
                let found = tail.first_error().expect("an error");
                assert_eq!(found.trim_end_matches('.'), error, "in pieces of {size}");
            }
        }
    }
}
