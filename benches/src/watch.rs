//! A stopwatch, for time or for allocations. Setting up and taking down stay outside.

use crate::allocations::{Allocations, allocations};
use std::time::{Duration, Instant};

/// Adds up the time or allocations of its contender inside [`time`](Watch::time).
#[derive(Debug, Default)]
pub struct Watch {
    pub(crate) spent: Duration,
    pub(crate) allocated: Allocations,
    pub(crate) overlap: Option<f64>,
    started: Option<(Instant, Allocations)>,
}

impl Watch {
    /// Measures `work`. Its result is returned, so that it is dropped outside.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.start();
        let done = work();
        self.stop();
        done
    }

    /// Measures from here to [`stop`](Watch::stop), across awaits.
    pub fn start(&mut self) {
        let before = allocations();
        self.started = Some((Instant::now(), before));
    }

    /// Ends the measured part.
    pub fn stop(&mut self) {
        if let Some((started, before)) = self.started.take() {
            self.spent += started.elapsed();
            self.allocated.add(allocations().since(before));
        }
    }

    /// Adds a time that the contender took itself.
    pub fn add(&mut self, spent: Duration) {
        self.spent += spent;
    }

    /// Notes how far two threads ran at the same time; the worst one counts.
    pub fn overlapped(&mut self, overlap: f64) {
        self.overlap = Some(self.overlap.map_or(overlap, |worst| worst.min(overlap)));
    }
}
