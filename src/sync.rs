//! The one door to shared memory.
//!
//! All state that two threads may touch comes through here, so that loom can replace it under `--cfg
//! loom`, and shuttle under `--cfg shuttle`. `tests/layers.rs` fails if another file names
//! `std::sync`, `parking_lot`, loom or shuttle.
//!
//! Some types stay those of `std` even then: [`Arc`] and [`Weak`], because `std::task::Wake` asks for
//! them; [`next_number`], because numbers only have to differ; [`Global`], because it takes part in no
//! protocol; and [`Once`], which has a flag beside it that the explorer sees.

use std::sync::PoisonError;
pub(crate) use std::sync::{Arc, Weak};

#[cfg(not(any(loom, shuttle)))]
mod door {
    pub(crate) use parking_lot::Mutex;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

    /// A place that is filled once, by the first caller, and read without a lock.
    #[derive(Debug, Default)]
    pub(crate) struct Once<T>(std::sync::OnceLock<T>);

    impl<T> Once<T> {
        pub(crate) const fn new() -> Self {
            Once(std::sync::OnceLock::new())
        }

        #[inline]
        pub(crate) fn get(&self) -> Option<&T> {
            self.0.get()
        }

        /// Fills the place with `value`, unless it is filled; returns its content.
        pub(crate) fn fill(&self, value: T) -> &T {
            self.0.get_or_init(|| value)
        }
    }

    /// The number of events in this process that can turn the answer "not cancelled" to "cancelled"; see `region/quiet.rs`.
    pub(crate) fn epoch() -> &'static AtomicU64 {
        static EPOCH: AtomicU64 = AtomicU64::new(1);
        &EPOCH
    }

    /// The number of events in this process that may change the times or the regions around a region: all events that begin an
    /// epoch, except requests, and some that do not begin one; see `region/request.rs`.
    pub(crate) fn tidings() -> &'static AtomicU64 {
        /// Every check reads the epoch, so this number must not be in the same cache line.
        #[repr(align(128))]
        struct Apart(AtomicU64);
        static TIDINGS: Apart = Apart(AtomicU64::new(0));
        &TIDINGS.0
    }

    macro_rules! ambient {
        ($(#[$about:meta])* static $name:ident: $type:ty = $init:expr;) => {
            std::thread_local! { $(#[$about])* static $name: $type = const { $init }; }
        };
    }
    pub(crate) use ambient;
}

#[cfg(any(loom, shuttle))]
mod door {
    #[cfg(loom)]
    use loom as explorer;
    #[cfg(all(shuttle, not(loom)))]
    use shuttle as explorer;

    pub(crate) use explorer::sync::MutexGuard;
    pub(crate) use explorer::sync::atomic::{
        AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering,
    };

    /// The explorer's mutex with `parking_lot`'s signature: poison is ignored.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(explorer::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Mutex(explorer::sync::Mutex::new(value))
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }
    }

    macro_rules! ambient {
        ($(#[$about:meta])* static $name:ident: $type:ty = $init:expr;) => {
            $crate::sync::explorer_thread_local! { $(#[$about])* static $name: $type = $init; }
        };
    }
    pub(crate) use ambient;
    #[cfg(loom)]
    pub(crate) use loom::thread_local as explorer_thread_local;
    #[cfg(all(shuttle, not(loom)))]
    pub(crate) use shuttle::thread_local as explorer_thread_local;

    #[derive(Debug)]
    pub(crate) struct Once<T> {
        value: std::sync::OnceLock<T>,
        /// The explorer does not see `value`, so it sees this lock: the second caller waits for the first, and acquires
        /// its writes.
        filling: Mutex<()>,
        filled: AtomicBool,
    }

    impl<T> Once<T> {
        pub(crate) fn new() -> Self {
            Once {
                value: std::sync::OnceLock::new(),
                filling: Mutex::new(()),
                filled: AtomicBool::new(false),
            }
        }

        pub(crate) fn get(&self) -> Option<&T> {
            if self.filled.load(Ordering::Acquire) { self.value.get() } else { None }
        }

        pub(crate) fn fill(&self, value: T) -> &T {
            let _filling = self.filling.lock();
            let value = self.value.get_or_init(|| value);
            self.filled.swap(true, Ordering::AcqRel);
            value
        }
    }

    impl<T> Default for Once<T> {
        fn default() -> Self {
            Once::new()
        }
    }

    explorer::lazy_static! {
        static ref EPOCH: AtomicU64 = AtomicU64::new(1);
        static ref TIDINGS: AtomicU64 = AtomicU64::new(0);
    }

    pub(crate) fn tidings() -> &'static AtomicU64 {
        &TIDINGS
    }

    pub(crate) fn epoch() -> &'static AtomicU64 {
        &EPOCH
    }
}

pub(crate) use door::*;

/// Whether an explorer of threads runs, for which everything is small.
pub(crate) const EXPLORED: bool = cfg!(any(loom, shuttle));

/// A number that no other call in this process returns; never 0. Later calls of one task get larger
/// numbers.
pub(crate) fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    /// A spawn writes it, so it has a cache line, and its neighbour, for itself: the epoch, which every check reads, must not
    /// be in the same one.
    #[repr(align(128))]
    struct Apart(AtomicU64);
    static NEXT: Apart = Apart(AtomicU64::new(1));
    NEXT.0.fetch_add(1, Ordering::Relaxed)
}

/// State of the process that takes part in no protocol: a setting, a list, a number of places. No user code runs while it is
/// read or changed (R18).
pub(crate) struct Global<T>(std::sync::RwLock<T>);

impl<T> Global<T> {
    pub(crate) const fn new(value: T) -> Self {
        Global(std::sync::RwLock::new(value))
    }

    pub(crate) fn read(&self) -> std::sync::RwLockReadGuard<'_, T> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> std::sync::RwLockWriteGuard<'_, T> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// For the thread of `inspect::watch`, which takes part in no protocol.
#[cfg(feature = "inspect")]
pub(crate) use std::sync::mpsc;
