//! A value that comes back to its owner when its user has dropped it.

use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// A pipe or a transport on its way back from a group that has left it: see [`Adopted`](crate::Adopted). A future of it.
/// `None` if it was leaked.
#[must_use = "without it, the transport is dropped when the group has left it"]
pub struct Returned<T>(BoxFuture<'static, Option<T>>);

impl<T: Send + 'static> Returned<T> {
    /// Two values that come back as one.
    pub(super) fn both<U: Send + 'static>(one: Self, other: Returned<U>) -> Returned<(T, U)> {
        let both = async move { Some((one.await?, other.await?)) };
        Returned(both.boxed())
    }
}

impl<T> Future for Returned<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll_unpin(cx)
    }
}

impl<T> std::fmt::Debug for Returned<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Returned")
    }
}

/// A value that is sent back when this is dropped.
#[derive(Debug)]
pub(crate) struct Lent<T> {
    /// `None` while it is dropped.
    value: Option<T>,
    // Carries the value itself, so it is a channel and no signal.
    back: Option<oneshot::Sender<T>>,
}

/// Lends `value`: returns the value for the user, and the future in which it comes back.
pub(super) fn lend<T: Send + 'static>(value: T) -> (Lent<T>, Returned<T>) {
    let (sender, receiver) = oneshot::channel();
    let lent = Lent { value: Some(value), back: Some(sender) };
    (lent, Returned(receiver.map(Result::ok).boxed()))
}

impl<T> Deref for Lent<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let Some(value) = &self.value else { unreachable!("it is taken by the drop alone") };
        value
    }
}

impl<T> DerefMut for Lent<T> {
    fn deref_mut(&mut self) -> &mut T {
        let Some(value) = &mut self.value else { unreachable!("it is taken by the drop alone") };
        value
    }
}

impl<T> Drop for Lent<T> {
    fn drop(&mut self) {
        if let (Some(value), Some(back)) = (self.value.take(), self.back.take()) {
            // If nobody waits for it, it is dropped here.
            let _unwanted = back.send(value);
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Lent<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut **self).poll_read(cx, buffer)
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Lent<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut **self).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut **self).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut **self).poll_shutdown(cx)
    }
}
