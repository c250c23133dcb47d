//! The tree of open regions (feature `inspect`): each region, its owner, the place where it was entered, and
//! its current wait with its duration.
//!
//! [`snapshot`] answers now, as a tree to read or as JSON; [`record`] answers over time, as a timeline that a
//! trace viewer opens; [`watch`] tells of what does not end. With the features `inspect` and `tokio` together,
//! `on_signal` prints the tree whenever the process gets `SIGUSR1`. With the feature on, every region is listed while it is
//! open, at the cost of a lock and two clock reads each; with the feature off none of this exists.
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
//! An exit that has begun and not ended has a line of its own below the region that runs it, which names the stack it was
//! registered in, the place, and which of the stack's exits it is: `exit 1 of 2 of exit stack`. The page
//! [`guide::hangs`](crate::guide::hangs) reads such a tree line by line.

mod json;
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
