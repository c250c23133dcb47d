//! The count of allocations. It needs the feature `count`; such a build measures no time.

/// Allocations, the bytes they asked for, and the bytes that are in use.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Allocations {
    /// Calls of the allocator that returned a new block or a moved one.
    pub count: u64,
    /// The bytes that these calls asked for.
    pub bytes: u64,
    /// The bytes that are in use: asked for, and not given back.
    pub in_use: i64,
}

impl Allocations {
    /// The allocations since `before`.
    pub fn since(self, before: Self) -> Self {
        Allocations {
            count: self.count - before.count,
            bytes: self.bytes - before.bytes,
            in_use: self.in_use - before.in_use,
        }
    }

    /// Adds the allocations of another round.
    pub fn add(&mut self, other: Self) {
        self.count += other.count;
        self.bytes += other.bytes;
        self.in_use += other.in_use;
    }
}

/// Whether this build counts.
pub const COUNTS: bool = cfg!(feature = "count");

#[cfg(feature = "count")]
#[global_allocator]
static COUNTER: &stats_alloc::StatsAlloc<std::alloc::System> = &stats_alloc::INSTRUMENTED_SYSTEM;

/// The allocations of the process so far, on all threads; zero in a build that does not count.
#[cfg(feature = "count")]
pub fn allocations() -> Allocations {
    let stats = COUNTER.stats();
    let (allocated, freed) = (stats.bytes_allocated as u64, stats.bytes_deallocated as u64);
    Allocations {
        count: (stats.allocations + stats.reallocations) as u64,
        bytes: allocated,
        in_use: allocated as i64 - freed as i64,
    }
}

/// The allocations of the process so far, on all threads; zero in a build that does not count.
#[cfg(not(feature = "count"))]
pub fn allocations() -> Allocations {
    Allocations::default()
}
