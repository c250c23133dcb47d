//! The figures of this process along the way, and their end.

use std::time::{Duration, Instant};

use crate::ALLOCATOR;
use crate::invariants::Left;

/// The growth of the memory in use after the first tenth that still counts as flat: buffers and tables that the process
/// keeps.
const FLAT_KIB: usize = 512;
/// The growth of the resident memory after the first tenth that still counts as flat. It contains what the allocator keeps of
/// the most that was in use. With 200 sessions at once it grows in the first rounds by up to 19 MiB, by 8 MiB if the allocator
/// has a single arena, and then no more, while the memory in use between the rounds stays at 127 KiB.
const FLAT_MIB: u64 = 32;

/// A course of equal steps.
pub(super) struct Course {
    what: String,
    steps: usize,
    began: Instant,
    before: Left,
    /// The memory after the first tenth: in use, in KiB, and resident, in MiB.
    first: Option<(usize, u64)>,
}

impl Course {
    pub(super) fn of(what: &str, steps: usize) -> Self {
        println!("{what}, {steps} times");
        Self { what: what.into(), steps, began: Instant::now(), before: Left::now(), first: None }
    }

    /// Counts a step; a line is printed ten times in all.
    pub(super) fn step(&mut self, n: usize) {
        let tenth = (self.steps / 10).max(1);
        if (n + 1).is_multiple_of(tenth) {
            let (left, kib, mib) = (Left::now(), in_use(), resident());
            self.first.get_or_insert((kib, mib));
            println!(
                "  {:>6}  {:>8.1?}  {kib} KiB in use, {mib} MiB resident, {} descriptors, {} tasks, {} processes",
                n + 1,
                self.began.elapsed(),
                left.descriptors,
                left.tasks,
                left.processes.len()
            );
        }
    }

    /// Nothing is left, and memory has stayed where it was.
    pub(super) async fn end(self) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let left = Left::now();
            // The clients keep connections for a while; they have gone with the group.
            if left.tasks == 0 && left.processes.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "{}: {left:#?}", self.what);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let (left, kib, mib) = (Left::now(), in_use(), resident());
        let (first_kib, first_mib) = self.first.unwrap_or_default();
        println!(
            "  in all {:.1?}; afterwards {kib} KiB in use ({first_kib} after a tenth), {mib} MiB resident ({first_mib}), {} descriptors ({} before), 0 tasks, 0 processes",
            self.began.elapsed(),
            left.descriptors,
            self.before.descriptors
        );
        assert!(kib <= first_kib + FLAT_KIB, "{}: the memory in use grows", self.what);
        assert!(mib <= first_mib + FLAT_MIB, "{}: the resident memory grows", self.what);
        assert!(left.descriptors <= self.before.descriptors + 1, "{}: descriptors", self.what);
    }
}

/// The memory that was allocated and not freed, in KiB.
fn in_use() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated) / 1024
}

/// The memory of this process, in MiB.
pub(crate) fn resident() -> u64 {
    resident_of(std::process::id())
}

/// The memory of a process, in MiB.
pub(super) fn resident_of(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024
}
