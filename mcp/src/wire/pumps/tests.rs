//! The pumps of a child, by their reader and their writer.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use parking_lot::Mutex;
use tokio::io::{AsyncWrite, ReadBuf};

use super::*;
use crate::wire::lent::lend;
use crate::wire::warnings::Warnings;

#[tokio::test]
async fn a_child_that_floods_its_output_leaves_other_tasks_their_turn() {
    let (inbox, _messages) = mpsc::channel(4);
    let recorder = Arc::new(Recorder::new(Arc::<Warnings>::default(), Arc::default()));
    let (pipe, reads) = (tokio::io::repeat(b'\n'), Arc::new(AtomicUsize::new(0)));
    let counted = Counted { pipe, reads: reads.clone() };
    let (_open, hearing) = watch::channel(Hearing::Open);
    let reading =
        tokio::spawn(read(counted, Pipes::Child, inbox, Arc::default(), recorder, hearing));
    for turns in 0..10 {
        tokio::task::yield_now().await;
        // A turn of tokio's is 128 steps, and each read brings 8 KiB.
        assert!(reads.load(Ordering::Relaxed) <= turns + 1, "{reads:?} reads in {turns} turns");
    }
    reading.abort();
}

/// A pipe that counts its reads.
struct Counted<P> {
    pipe: P,
    reads: Arc<AtomicUsize>,
}

impl<P: AsyncRead + Unpin> AsyncRead for Counted<P> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let it = self.get_mut();
        it.reads.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut it.pipe).poll_read(cx, buf)
    }
}

/// A pipe that keeps what is written at once.
#[derive(Clone, Default)]
struct Writes(Arc<Mutex<Vec<Vec<u8>>>>);

impl AsyncWrite for Writes {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        text: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.0.lock().push(text.to_vec());
        Poll::Ready(Ok(text.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn lines_that_wait_are_written_together() {
    let (outbox, lines) = mpsc::channel(4);
    for line in ["one\n", "two\n", "three\n"] {
        outbox.send(Bytes::from_static(line.as_bytes())).await.expect("room");
    }
    drop(outbox);
    let recorder = Arc::new(Recorder::new(Arc::<Warnings>::default(), Arc::default()));
    let stop = Stop::of(&crate::wire::stop::Exchanges::new());
    let writes = Writes::default();
    let (open, _) = watch::channel(Hearing::Open);
    write(lend(writes.clone()).0, Pipes::Child, lines, stop, recorder.clone(), open).await;
    assert_eq!(*writes.0.lock(), [b"one\ntwo\nthree\n"]);
    assert_eq!(recorder.all_written(), 14);
}

#[tokio::test]
async fn a_banner_before_the_first_message_is_noted_and_skipped() {
    let (inbox, mut messages) = mpsc::channel(4);
    let warnings = Arc::<Warnings>::default();
    let recorder = Arc::new(Recorder::new(warnings.clone(), Arc::default()));
    let said: &[u8] =
        b"Welcome!\n\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
    let (_open, hearing) = watch::channel(Hearing::Open);
    read(said, Pipes::Child, inbox, Arc::default(), recorder, hearing).await;
    assert!(matches!(
        messages.recv().await.as_deref(),
        Some(ServerJsonRpcMessage::Notification(_))
    ));
    assert_eq!(warnings.all(), ["not a message: Welcome!, on standard output"]);
}

/// A server that has closed its input and keeps its output open ends its session with the cause, after the answers
/// that it still had.
#[tokio::test(start_paused = true)]
async fn a_server_that_closes_only_its_input_is_lost_after_its_last_answers() {
    for pipes in [Pipes::Child, Pipes::Adopted] {
        let (outbox, outgoing) = mpsc::channel(4);
        let (incoming, mut messages) = mpsc::channel(4);
        let exchanges = crate::wire::stop::Exchanges::new();
        let recorder = Arc::new(Recorder::new(Arc::<Warnings>::default(), Arc::default()));
        let queues = Queues {
            outgoing,
            incoming,
            stop: Stop::of(&exchanges),
            pending: Arc::default(),
            recorder: recorder.clone(),
        };
        let (output, servers_input) = tokio::io::duplex(64);
        let (mut servers_output, input) = tokio::io::duplex(4096);
        drop(servers_input);
        let Flow { writing, reading } = Flow::of_pipes(input, lend(output).0, pipes, queues);
        let (writing, reading) = (tokio::spawn(writing), tokio::spawn(reading));
        outbox.send(Bytes::from_static(b"{}\n")).await.expect("room");
        writing.await.expect("the writer ends");
        let late = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n";
        servers_output.write_all(late).await.expect("the output is read");
        assert!(matches!(
            messages.recv().await.as_deref(),
            Some(ServerJsonRpcMessage::Notification(_))
        ));
        assert!(messages.recv().await.is_none(), "{pipes:?}: the session ends");
        let fault = recorder.recorded_fault().expect("a cause").line();
        assert!(fault.starts_with("the server no longer reads its"), "{fault}");
        drop(servers_output);
        reading.await.expect("the reader ends with the pipe");
    }
}
