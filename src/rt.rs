//! The runtimes for which [`Clock`](crate::Clock) and [`Spawn`](crate::Spawn) are implemented, each behind
//! its feature.

mod delay;
#[cfg(feature = "smol")]
pub mod smol;
#[cfg(feature = "tokio")]
pub mod tokio;

pub(crate) use delay::Delay;

use std::time::Instant;

/// The running task's id in its runtime; 0 if none is known.
pub(crate) fn task_number() -> u64 {
    #[cfg(feature = "tokio")]
    return tokio::task_number();
    #[cfg(not(feature = "tokio"))]
    0
}

/// The present instant, by the clock that a [`Delay`] uses here.
pub(crate) fn now() -> Instant {
    // Outside a runtime, tokio's clock returns the system's instant.
    #[cfg(feature = "tokio")]
    return tokio::now();
    #[cfg(not(feature = "tokio"))]
    Instant::now()
}
