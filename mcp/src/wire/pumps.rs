//! The pumps between memory and a transport: the pipes of a child, or a transport that the program has opened itself. Each
//! ends when its transport does, or when its task is dropped.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, AsyncWriteExt, BufReader};
use tokio::sync::{mpsc, watch};

use super::hearing::{Hearing, ToServer, last_answers};
use super::inbox::{Inbox, Over};
use super::incoming::{self, Incoming};
use super::lent::Lent;
use super::lines::{LINE_LIMIT, Line, Lines};
use super::pending::Pending;
use super::recorder::Recorder;
use super::skeleton::Skeleton;
use super::stop::Stop;
use super::unplaced::Unplaced;
use crate::fault::{Fault, Flattened};
use crate::report::Outcome;

/// The number of lines that are written together, so that the reader of the pipe is woken once.
const AT_ONCE: usize = 16;

/// The ends of a session's pumps in memory.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) outgoing: mpsc::Receiver<Bytes>,
    /// Boxed, because a channel has room for 32 of them from the beginning, and most sessions have few at a time.
    pub(crate) incoming: mpsc::Sender<Box<ServerJsonRpcMessage>>,
    pub(crate) stop: Stop,
    pub(crate) pending: Arc<Pending>,
    pub(crate) recorder: Arc<Recorder>,
}

/// The work that carries messages, one future for each direction.
pub(crate) struct Flow {
    pub(crate) writing: BoxFuture<'static, ()>,
    pub(crate) reading: BoxFuture<'static, ()>,
}

impl Flow {
    pub(crate) fn of_pipes(
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl ToServer + 'static,
        pipes: Pipes,
        queues: Queues,
    ) -> Self {
        let Queues { outgoing, incoming, stop, pending, recorder } = queues;
        let (told, hearing) = watch::channel(Hearing::Open);
        let writing = write(output, pipes, outgoing, stop, recorder.clone(), told);
        let reading = read(input, pipes, incoming, pending, recorder, hearing);
        Self { writing: writing.boxed(), reading: reading.boxed() }
    }

    /// Both directions in one future.
    pub(super) fn of_one(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { writing: work.boxed(), reading: std::future::ready(()).boxed() }
    }
}

/// The origin of a pair of pipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipes {
    /// The standard streams of a child process.
    Child,
    /// The program has opened them.
    Adopted,
}

impl Pipes {
    /// The pipe that the server reads, in texts.
    fn input(self) -> &'static str {
        if self == Self::Child { "standard input" } else { "end of the pipe" }
    }

    /// The pipe that it writes.
    fn output(self) -> &'static str {
        if self == Self::Child { "standard output" } else { "end of the pipe" }
    }
}

/// Writes the messages of rmcp, line by line, and closes the pipe when there are no more: after `stop` no message is
/// sent, so the queue then has the last ones. `hearing` tells the reader that the server has closed its end.
async fn write(
    mut pipe: impl ToServer,
    pipes: Pipes,
    mut outbox: mpsc::Receiver<Bytes>,
    stop: Stop,
    recorder: Arc<Recorder>,
    hearing: watch::Sender<Hearing>,
) {
    let mut lines = Vec::new();
    loop {
        let is_open = *hearing.borrow() == Hearing::Open;
        let taken = tokio::select! {
            biased;
            taken = outbox.recv_many(&mut lines, AT_ONCE) => taken,
            () = stop.requested() => 0,
            has_read_all = pipe.closed(), if is_open => {
                let text = format!("the server has closed its {}", pipes.input());
                recorder.fault(Fault::new(Outcome::ProtocolError, text));
                hearing.send_replace(if has_read_all { Hearing::Closed } else { Hearing::Deaf });
                continue;
            }
        };
        if taken == 0 {
            return;
        }
        let written = async {
            match &lines[..] {
                [line] => pipe.write_all(line).await?,
                lines => pipe.write_all(&lines.concat()).await?,
            }
            pipe.flush().await
        };
        if let Err(error) = written.await {
            let text = format!("the server no longer reads its {}", pipes.input());
            recorder.fault(Fault::caused(Outcome::ProtocolError, text, error));
            hearing.send_replace(Hearing::Deaf);
            return;
        }
        recorder.written(lines.iter().map(Bytes::len).sum());
        lines.clear();
    }
}

/// Reads the messages of the server, to the end of the pipe or to the last answers: a server that can be sent nothing has no
/// session, even if its output stays open. Lines that are not messages are noted and skipped.
/// When the messages are no longer read, the pipe of a child is emptied all the same, so that the child can end.
async fn read(
    pipe: impl AsyncRead + Unpin,
    pipes: Pipes,
    messages: mpsc::Sender<Box<ServerJsonRpcMessage>>,
    pending: Arc<Pending>,
    recorder: Arc<Recorder>,
    hearing: watch::Receiver<Hearing>,
) {
    let mut lines = Lines::of(BufReader::new(pipe));
    let mut last_answers = std::pin::pin!(last_answers(hearing, &pending, &recorder));
    let (pending, recorder, transport) = (&*pending, &*recorder, pipes.output());
    let mut inbox = Inbox { messages, pending, recorder, transport, unplaced: Unplaced::default() };
    'messages: loop {
        // A line that is in the buffer costs no budget otherwise, so a child that floods its output would keep the thread.
        tokio::task::coop::consume_budget().await;
        let line = {
            // Not dropped before its end, because it holds a part of a line.
            let mut next = std::pin::pin!(lines.next());
            loop {
                let line = tokio::select! {
                    biased;
                    () = &mut last_answers => break 'messages,
                    () = inbox.due() => None,
                    line = &mut next => Some(line),
                };
                // At the end of the pipe no other answer comes.
                let is_end = matches!(line, Some(Ok(Line::End) | Err(_)));
                if (line.is_none() || is_end)
                    && let Err(Over) = inbox.release(is_end).await
                {
                    break 'messages;
                }
                if let Some(line) = line {
                    break line;
                }
            }
        };
        let read = match line {
            Ok(Line::Whole) => incoming::read(lines.line(), pending, None),
            Ok(Line::TooLong(skeleton)) => too_long(&skeleton, pending),
            Ok(Line::End) => return,
            Err(error) => {
                let text = format!("the server's {transport} cannot be read");
                recorder.fault(Fault::caused(Outcome::ProtocolError, text, error));
                return;
            }
        };
        if let Err(Over) = inbox.pass_on(read).await {
            break;
        }
    }
    // The session ends here.
    drop(inbox);
    if pipes == Pipes::Child {
        let mut rest = lines.into_rest();
        let _ = tokio::io::copy(&mut rest, &mut tokio::io::sink()).await;
    }
}

/// The answers in a line that is not kept, because of its length.
fn too_long(skeleton: &Skeleton, pending: &Pending) -> Vec<Incoming> {
    let why = format!("its line has more than {LINE_LIMIT} bytes");
    let answered = incoming::answered(skeleton, &why, pending);
    if answered.is_empty() {
        return vec![Incoming::Noise(format!("a line of more than {LINE_LIMIT} bytes"))];
    }
    answered
}

/// Carries messages in both directions over a transport of rmcp. A message that it has read is serialised again, so that it
/// is examined like the messages of every other server.
pub(super) async fn carry<T: Transport<RoleClient>>(mut transport: Lent<T>, queues: Queues) {
    let Queues { mut outgoing, incoming: messages, stop, pending, recorder } = queues;
    let broken = |error: &(dyn std::error::Error + 'static)| {
        let text = "the adopted transport is broken";
        recorder.fault(Fault::caused(Outcome::ProtocolError, text, Flattened::of(error)));
    };
    let mut inbox = Inbox {
        messages,
        pending: &pending,
        recorder: &recorder,
        transport: "the adopted transport",
        unplaced: Unplaced::default(),
    };
    // One message after the other; the transport is read meanwhile.
    let mut sending: Option<BoxFuture<'static, Result<(), T::Error>>> = None;
    loop {
        let passed_on = tokio::select! {
            biased;
            Some(sent) = async { Some(sending.as_mut()?.await) }, if sending.is_some() => {
                sending = None;
                if let Err(error) = sent {
                    return broken(&error);
                }
                Ok(())
            }
            line = outgoing.recv(), if sending.is_none() => {
                let Some(line) = line else { return };
                recorder.written(line.len());
                // It was written from such a message.
                if let Ok(message) = serde_json::from_slice::<ClientJsonRpcMessage>(&line) {
                    sending = Some(transport.send(message).boxed());
                }
                Ok(())
            }
            () = stop.requested(), if sending.is_none() => return,
            () = inbox.due() => inbox.release(false).await,
            message = transport.receive() => {
                // At its end the queue is dropped, which ends the session.
                let Some(message) = message else { return };
                let text = serde_json::to_vec(&message).unwrap_or_default();
                inbox.pass_on(incoming::read(&text, &pending, None)).await
            }
        };
        if let Err(Over) = passed_on {
            return;
        }
    }
}

#[cfg(test)]
mod tests;
