//! The pumps between a child's pipes and memory. Each ends when its pipe does, or when its task is dropped.

use std::sync::Arc;

use bytes::Bytes;
use rmcp::model::ServerJsonRpcMessage;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::incoming::{self, Incoming};
use super::lines::{LINE_LIMIT, Line, Lines};
use super::pending::Pending;
use super::recorder::Recorder;
use crate::fault::Fault;
use crate::report::Outcome;

/// Writes the messages of rmcp, line by line, and closes the pipe when there are no more: after `stop` no message is
/// sent, so the queue then has the last ones.
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
        recorder.written(line.len());
    }
}

/// Reads the messages of the server, to the end of the pipe. Lines that are not messages are noted and skipped.
/// When the messages are no longer read, the pipe is emptied all the same, so that the child can end.
pub(crate) async fn read(
    pipe: impl AsyncRead + Unpin,
    inbox: mpsc::Sender<ServerJsonRpcMessage>,
    pending: Arc<Pending>,
    recorder: Arc<Recorder>,
) {
    let mut lines = Lines::of(BufReader::with_capacity(64 * 1024, pipe));
    loop {
        let incoming = match lines.next().await {
            Ok(Line::Whole) => incoming::read(lines.line(), &pending, None),
            Ok(Line::TooLong(skeleton)) => {
                let why = format!("its line has more than {LINE_LIMIT} bytes");
                let answered = incoming::answered(&skeleton, &why, &pending);
                if answered.is_empty() {
                    recorder.note(format!(
                        "a line of more than {LINE_LIMIT} bytes, on standard output"
                    ));
                }
                answered
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
        };
        for incoming in incoming {
            match incoming {
                Incoming::Noise(what) => recorder.note(format!("{what}, on standard output")),
                Incoming::Message(message, mark) => {
                    if let Some(mark) = mark {
                        recorder.warn(mark);
                    }
                    if inbox.send(message).await.is_err() {
                        let mut rest = lines.into_rest();
                        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::warnings::Warnings;

    #[tokio::test]
    async fn a_banner_before_the_first_message_is_noted_and_skipped() {
        let (inbox, mut messages) = mpsc::channel(4);
        let warnings = Arc::<Warnings>::default();
        let recorder = Arc::new(Recorder::new(warnings.clone()));
        let said: &[u8] =
            b"Welcome!\n\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
        read(said, inbox, Arc::default(), recorder).await;
        assert!(matches!(messages.recv().await, Some(ServerJsonRpcMessage::Notification(_))));
        assert_eq!(warnings.all(), ["not a message: Welcome!, on standard output"]);
    }
}
