//! Whether a server still reads its messages: the reading end of its pipe may be closed while its output stays open.

use std::os::fd::AsFd;
use std::time::Duration;

use tokio::io::{AsyncWrite, Interest};
use tokio::net::unix::pipe;
use tokio::sync::watch;

use super::lent::Lent;
use super::pending::Pending;
use super::recorder::Recorder;

/// The time that answers may still come from a server that has closed its input: it may have read requests before.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// A pipe to a server.
pub(crate) trait ToServer: AsyncWrite + Send + Unpin {
    /// Ready when the server has closed its end of the pipe; never if that cannot be observed. Returns whether it has
    /// read everything before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a closed end stays visible.
    fn closed(&self) -> impl Future<Output = bool> + Send;
}

impl ToServer for pipe::Sender {
    async fn closed(&self) -> bool {
        loop {
            match self.ready(Interest::ERROR).await {
                Ok(ready) if ready.is_error() => {
                    return rustix::io::ioctl_fionread(self.as_fd())
                        .is_ok_and(|unread| unread == 0);
                }
                Ok(_) => tokio::task::yield_now().await,
                // The runtime shuts down.
                Err(_) => return std::future::pending().await,
            }
        }
    }
}

/// A pipe of another kind tells that its other end is closed only to a caller that writes.
impl<W: AsyncWrite + Send + Unpin> ToServer for Lent<W> {
    fn closed(&self) -> impl Future<Output = bool> + Send {
        std::future::pending()
    }
}

/// The state of a server's input, as the writer of its pipe knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hearing {
    /// It reads, as far as is known.
    Open,
    /// It has closed its input, after it had read every message.
    Closed,
    /// It has closed its input, and there is a message that it has not read.
    Deaf,
}

/// Ready when a server has closed its input and no more answers are awaited. A server that is up may still answer the
/// requests that it has read, in the time that these have. A server that is not up cannot come up any more.
pub(super) async fn last_answers(
    mut hearing: watch::Receiver<Hearing>,
    pending: &Pending,
    recorder: &Recorder,
) {
    if hearing.wait_for(|it| *it != Hearing::Open).await.is_err() {
        // A writer that ends in order has no more messages; its server still has answers.
        return std::future::pending().await;
    }
    loop {
        tokio::select! {
            is_deaf = async { hearing.wait_for(|it| *it == Hearing::Deaf).await.is_ok() } => {
                if !is_deaf {
                    return std::future::pending().await;
                }
                break;
            }
            () = tokio::time::sleep(LAST_ANSWERS) => {
                if !recorder.is_connected() || pending.oldest().is_none() {
                    return;
                }
            }
        }
    }
    tokio::time::sleep(LAST_ANSWERS).await;
}
