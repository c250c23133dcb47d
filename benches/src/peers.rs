//! The code that people write today, where it takes more than a call.

use futures::future::BoxFuture;
use std::any::Any;
use std::fmt;
use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;

/// Awaits a boxed future and catches its panic, as a stack written by hand does for each exit.
pub async fn caught(mut future: BoxFuture<'static, ()>) -> Result<(), Box<dyn Any + Send>> {
    poll_fn(move |cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(polled) => polled.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

/// Tokens, each the child of the one before it.
#[derive(Debug)]
pub struct ChildTokens(pub Vec<CancellationToken>);

impl ChildTokens {
    /// A root and `depth` tokens below it.
    pub fn chain(depth: u64) -> Self {
        let mut tokens = vec![CancellationToken::new()];
        for _ in 0..depth {
            tokens.push(tokens[tokens.len() - 1].child_token());
        }
        ChildTokens(tokens)
    }

    /// The one furthest from the root.
    pub fn innermost(&self) -> &CancellationToken {
        &self.0[self.0.len() - 1]
    }
}

/// tokio in both flavours.
pub struct Runtimes {
    /// On the thread that blocks on it.
    pub current: Runtime,
    /// On two workers.
    pub two: Runtime,
}

impl Runtimes {
    /// Starts both.
    ///
    /// # Errors
    ///
    /// Errors of the runtimes' builders.
    pub fn new() -> std::io::Result<Self> {
        let current = Builder::new_current_thread().enable_time().build()?;
        let two = Builder::new_multi_thread().worker_threads(2).enable_time().build()?;
        Ok(Runtimes { current, two })
    }
}

impl fmt::Debug for Runtimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Runtimes")
    }
}
