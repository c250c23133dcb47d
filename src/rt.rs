//! The runtimes that fill in [`Clock`](crate::Clock) and [`Spawn`](crate::Spawn), each behind its feature.

#[cfg(feature = "smol")]
pub mod smol;
#[cfg(feature = "timer")]
pub(crate) mod timer;
#[cfg(feature = "tokio")]
pub mod tokio;

/// The running task's id in its runtime, 0 where none is known.
pub(crate) fn task_number() -> u64 {
    #[cfg(feature = "tokio")]
    return tokio::task_number();
    #[cfg(not(feature = "tokio"))]
    0
}
