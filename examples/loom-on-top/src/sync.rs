//! This library's door to shared memory: loom's under `--cfg loom`, else `std`'s.

#[cfg(loom)]
pub(crate) use loom::sync::Mutex;
#[cfg(not(loom))]
pub(crate) use std::sync::Mutex;
