//! The tree of open regions (feature `inspect`): each region, its owner, the place where it was entered, and
//! its current wait with its duration.
//!
//! [`snapshot`] shows the present state, as a tree to read or as JSON; [`record`] shows a period, as a timeline that a
//! trace viewer opens; [`watch`] reports regions that do not end. With the features `inspect` and `tokio` together,
//! `on_signal` prints the tree whenever the process gets `SIGUSR1`. With the feature on, every region is listed while
//! it is open, at the cost of a lock and two clock reads each; with the feature off, this module does not exist and
//! costs nothing. The figures are [below](#cost).
//!
//! ```
//! use moored::{CancelScope, checkpoint, inspect};
//!
//! # futures::executor::block_on(async {
//! let scope = CancelScope::new().named("request");
//! scope
//!     .run(async {
//!         checkpoint().await;
//!         let open = inspect::snapshot();
//!         assert!(open.to_string().contains("cancel scope `request`"));
//!     })
//!     .await
//!     .unwrap();
//! # });
//! ```
//!
//! An exit that has begun and not ended has its own line below the region that runs it. The line names its stack, its
//! place, and its number among the exits of the stack: `exit 1 of 2 of exit stack`. The page
//! [`guide::hangs`](crate::guide::hangs) reads such a tree line by line.
#![doc = include_str!("inspect/cost.md")]

mod region;
#[cfg(all(feature = "tokio", unix))]
mod signal;
mod snapshot;
mod timeline;
mod watch;

pub use region::{Exit, Region};
#[cfg(all(feature = "tokio", unix))]
pub use signal::on_signal;
pub use snapshot::{Snapshot, snapshot};
pub use timeline::{Recording, Timeline, record};
pub use watch::{Watch, watch};
