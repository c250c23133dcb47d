//! A reader that can be told to stop reading.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, ReadBuf};

/// Open until it is shut; it never opens again.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<AtomicBool>);

impl Gate {
    /// From now on no byte is read.
    pub(crate) fn shut(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Reads from `R` while its gate is open, and is pending for ever once it is shut.
///
/// It wakes no task when the gate is shut, because there is nothing to read.
#[derive(Debug)]
pub(crate) struct Gated<R> {
    inner: R,
    gate: Gate,
}

impl<R> Gated<R> {
    /// Puts a gate before `inner`.
    pub(crate) fn new(inner: R, gate: Gate) -> Self {
        Self { inner, gate }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Gated<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gate.0.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        Pin::new(&mut self.inner).poll_read(cx, buffer)
    }
}
