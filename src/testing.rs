//! For tests of code that uses this crate (feature `testing`): a clock that is moved by hand, futures that
//! are polled by hand, and a count of live regions.

mod clock;
mod cut;
// It counts steps inside the crate, so it is a module of the unit tests.
#[cfg(test)]
#[path = "../tests/growth/mod.rs"]
mod growth;
mod hand;

pub use crate::region::live_regions;
pub use clock::MockClock;
pub use cut::{Cut, cut};
pub use hand::{Hand, hand};
