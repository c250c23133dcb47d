//! A stopwatch, for time or for allocations: what is set up and taken down stays outside.

use crate::allocations::{Allocations, allocations};
use std::time::{Duration, Instant};

/// Adds up what its contender does inside [`time`](Watch::time), and nothing else.
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

    /// The end of what is measured.
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
