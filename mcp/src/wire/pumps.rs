//! The three pumps between a child's pipes and memory. Each ends when its pipe does, or when its task is dropped.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rmcp::model::ServerJsonRpcMessage;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::recorder::Recorder;
use super::{Sieve, body};
use crate::fault::Fault;
use crate::report::Outcome;

/// The longest line that is read as a message; the rest of a longer one is skipped.
const LINE_LIMIT: usize = 16 * 1024 * 1024;
/// How much of standard error is kept.
const TAIL: usize = 4 * 1024;

/// Writes what rmcp sends, line by line, and closes the pipe when there is nothing more to come: after `stop` nothing is
/// sent, so what is in the queue then is the rest.
pub(crate) async fn write(
    mut pipe: impl AsyncWrite + Unpin,
    mut outbox: mpsc::Receiver<Bytes>,
    stop: CancellationToken,
    recorder: Arc<Recorder>,
) {
    let mut next = async || {
        tokio::select! {
            biased;
            line = outbox.recv() => line,
            () = stop.cancelled() => None,
        }
    };
    while let Some(line) = next().await {
        if let Err(error) = pipe.write_all(&line).await {
            recorder.fault(Fault::caused(
                Outcome::ProtocolError,
                "the server no longer reads its standard input",
                error,
            ));
            return;
        }
    }
}

/// Reads what the server says. Lines that are no message are noted and skipped; when nobody listens any more, the pipe
/// is emptied all the same, so that the child can end.
pub(crate) async fn read(
    pipe: impl AsyncRead + Unpin,
    inbox: mpsc::Sender<ServerJsonRpcMessage>,
    recorder: Arc<Recorder>,
    sieve: Arc<Sieve>,
) {
    let mut pipe = BufReader::with_capacity(64 * 1024, pipe);
    let mut line = Vec::new();
    loop {
        match next_line(&mut pipe, &mut line).await {
            Ok(Line::Whole) => {}
            Ok(Line::TooLong) => {
                recorder.note(format!(
                    "a line of more than {LINE_LIMIT} bytes on standard output was skipped"
                ));
                continue;
            }
            Ok(Line::End) => return,
            Err(error) => {
                recorder.fault(Fault::caused(
                    Outcome::ProtocolError,
                    "the server's standard output cannot be read",
                    error,
                ));
                return;
            }
        }
        let Some(text) = body::preview(&line) else {
            continue;
        };
        match sieve.read(&line) {
            Ok(message) => {
                if inbox.send(message).await.is_err() {
                    let _ = tokio::io::copy(&mut pipe, &mut tokio::io::sink()).await;
                    return;
                }
            }
            Err(_) => recorder.note(format!("not a message, on standard output: {text}")),
        }
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads one line into `line`, which never grows beyond the limit.
async fn next_line(
    pipe: &mut (impl AsyncBufReadExt + Unpin),
    line: &mut Vec<u8>,
) -> std::io::Result<Line> {
    line.clear();
    let mut too_long = false;
    loop {
        let chunk = pipe.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(if too_long {
                Line::TooLong
            } else if line.is_empty() {
                Line::End
            } else {
                Line::Whole
            });
        }
        let (taken, ended) = match chunk.iter().position(|byte| *byte == b'\n') {
            Some(end) => (end + 1, true),
            None => (chunk.len(), false),
        };
        if line.len() + taken > LINE_LIMIT {
            too_long = true;
            line.clear();
        } else if !too_long {
            line.extend_from_slice(&chunk[..taken]);
        }
        pipe.consume(taken);
        if ended {
            return Ok(if too_long { Line::TooLong } else { Line::Whole });
        }
    }
}

/// The end of what a child wrote to its standard error.
#[derive(Debug, Clone, Default)]
pub(crate) struct StderrTail(Arc<Mutex<VecDeque<u8>>>);

impl StderrTail {
    /// Reads standard error to its end and keeps the last of it.
    pub(crate) async fn pump(self, mut pipe: impl AsyncRead + Unpin) {
        let mut chunk = vec![0; 8 * 1024];
        while let Ok(read) = pipe.read(&mut chunk).await {
            if read == 0 {
                return;
            }
            let mut tail = self.0.lock();
            tail.extend(&chunk[..read]);
            let surplus = tail.len().saturating_sub(TAIL);
            tail.drain(..surplus);
        }
    }

    /// What is kept, as text.
    pub(crate) fn text(&self) -> String {
        let mut tail = self.0.lock();
        // A tail that begins inside a character begins with the next one.
        let bytes = tail.make_contiguous();
        let start = bytes.iter().take(3).take_while(|byte| **byte & 0xC0 == 0x80).count();
        String::from_utf8_lossy(&bytes[start..]).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_banner_before_the_first_message_is_noted_and_skipped() {
        let (inbox, mut messages) = mpsc::channel(4);
        let recorder = Arc::new(Recorder::default());
        let said: &[u8] = b"Welcome!\n\n{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}\n";
        read(said, inbox, recorder.clone(), Arc::default()).await;
        assert!(matches!(messages.recv().await, Some(ServerJsonRpcMessage::Response(_))));
        assert_eq!(recorder.warnings(), ["not a message, on standard output: Welcome!"]);
    }

    #[tokio::test]
    async fn an_endless_line_is_skipped_and_the_next_one_read() {
        let mut said = vec![b'x'; LINE_LIMIT + 10];
        said.extend_from_slice(b"\nshort\n");
        let mut pipe = BufReader::new(&said[..]);
        let mut line = Vec::new();
        assert!(matches!(next_line(&mut pipe, &mut line).await, Ok(Line::TooLong)));
        assert!(matches!(next_line(&mut pipe, &mut line).await, Ok(Line::Whole)));
        assert_eq!(line, b"short\n");
        assert!(matches!(next_line(&mut pipe, &mut line).await, Ok(Line::End)));
    }

    #[tokio::test]
    async fn of_standard_error_the_last_four_kibibytes_are_kept() {
        let tail = StderrTail::default();
        let said = [vec![b'a'; 5_000], b"the end".to_vec()].concat();
        tail.clone().pump(&said[..]).await;
        assert_eq!(tail.text().len(), TAIL);
        assert!(tail.text().ends_with("the end"));
    }
}
