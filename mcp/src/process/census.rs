//! One look at the process table for all callers at about the same time.
//!
//! Whether another process is alive in a group can only be read from the table of all processes. When two hundred
//! children are left at once, two hundred readings of a table of hundreds of processes would be most of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::members::{self, Table};

/// A look waits this long for the callers that are awaited. Most of two hundred children that are left at once end within a few of these.
const PATIENCE: Duration = Duration::from_millis(10);

/// Reads the process table for a group of sessions.
#[derive(Debug, Default)]
pub(crate) struct Census {
    asked: AtomicU64,
    /// The number of [`Awaited`].
    awaited: AtomicUsize,
    /// Tells the caller that waits for the next look that no other caller is awaited.
    complete: Notify,
    latest: Mutex<Latest>,
}

/// A caller that will ask for a look soon. Callers that are here already wait for it, so that one look does for all. This value
/// ends when it asks, or when it is dropped.
#[derive(Debug)]
pub(crate) struct Awaited<'a>(&'a Census);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        if self.0.awaited.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Kept if no caller waits yet. The caller that gets it too late counts again.
            self.0.complete.notify_one();
        }
    }
}

/// The newest look.
#[derive(Debug, Default)]
struct Latest {
    /// The number of callers when the look began: it answers all of them.
    answers: u64,
    table: Option<Arc<Table>>,
}

impl Census {
    /// Announces a caller.
    pub(crate) fn awaits(&self) -> Awaited<'_> {
        self.awaited.fetch_add(1, Ordering::AcqRel);
        Awaited(self)
    }

    /// The process table at some moment after this call; `None` if the operating system does not report it. `awaited` is the
    /// announcement of this call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next caller looks instead.
    pub(crate) async fn taken(&self, awaited: Option<Awaited<'_>>) -> Option<Arc<Table>> {
        let ticket = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        // After the ticket is taken, so that a look that waited for this caller answers it.
        drop(awaited);
        let mut latest = self.latest.lock().await;
        if latest.answers < ticket {
            self.gathered().await;
            latest.answers = self.asked.load(Ordering::Acquire);
            latest.table = members::table().map(Arc::new);
        }
        latest.table.clone()
    }

    /// Waits until no other caller is awaited, for as long as [`PATIENCE`]. There is one waiter: the holder of the lock.
    async fn gathered(&self) {
        let complete = async {
            while self.awaited.load(Ordering::Acquire) > 0 {
                self.complete.notified().await;
            }
        };
        let _late = tokio::time::timeout(PATIENCE, complete).await;
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test]
    async fn who_waits_together_gets_one_look_and_who_asks_later_a_newer_one() {
        let census = Census::default();
        let looking = census.latest.lock().await;
        let mut both = std::pin::pin!(join(census.taken(None), census.taken(None)));
        assert!((&mut both).now_or_never().is_none());
        drop(looking);
        let (one, two) = both.await;
        let (one, two) = (one.expect("a table"), two.expect("a table"));
        assert!(Arc::ptr_eq(&one, &two));
        let later = census.taken(None).await.expect("a table");
        assert!(!Arc::ptr_eq(&later, &one));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_waits_for_the_callers_that_are_awaited_and_for_no_others() {
        let census = Census::default();
        let began = Instant::now();
        let (one, two) = (census.awaits(), census.awaits());
        let mut first = std::pin::pin!(census.taken(Some(one)));
        assert!((&mut first).now_or_never().is_none(), "another caller is awaited");
        let mut second = std::pin::pin!(census.taken(Some(two)));
        assert!((&mut second).now_or_never().is_none(), "the first one looks");
        let (first, second) = join(first, second).await;
        assert!(Arc::ptr_eq(&first.expect("a table"), &second.expect("a table")));
        assert_eq!(Instant::now(), began, "the last caller was waited for, and nothing else");

        let _never_asks = census.awaits();
        census.taken(None).await.expect("a table");
        assert_eq!(
            began.elapsed(),
            PATIENCE,
            "a caller that does not come is not waited for longer"
        );
    }
}
