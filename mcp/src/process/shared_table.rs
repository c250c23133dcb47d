//! One reading of the process table for all callers at about the same time.
//!
//! Whether another process is alive in a group can only be read from the table of all processes. When two hundred
//! children are left at once, two hundred readings of a table of hundreds of processes would be most of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Notify};

use super::members::{self, Table};

/// A reading waits this long for the callers that are announced. Most of two hundred children that are left at once end within a few of these.
const PATIENCE: Duration = Duration::from_millis(10);

/// Reads the process table for a group of sessions.
#[derive(Debug, Default)]
pub(crate) struct SharedTable {
    asked: AtomicU64,
    /// The number of [`Announced`].
    announced: AtomicUsize,
    /// Tells the caller that waits for the next reading that no other caller is announced.
    complete: Notify,
    latest: Mutex<Latest>,
}

/// A caller that will ask for a reading soon. Callers that ask before wait for it, so that one reading does for all. This value
/// ends when it asks, or when it is dropped.
#[derive(Debug)]
pub(crate) struct Announced<'a>(&'a SharedTable);

impl Drop for Announced<'_> {
    fn drop(&mut self) {
        if self.0.announced.fetch_sub(1, Ordering::AcqRel) == 1 {
            // Kept if no caller waits yet. The caller that gets it too late counts again.
            self.0.complete.notify_one();
        }
    }
}

/// The newest reading.
#[derive(Debug, Default)]
struct Latest {
    /// The number of callers when the reading began: it answers all of them.
    answers: u64,
    table: Option<Arc<Table>>,
}

impl SharedTable {
    /// Announces a caller.
    pub(crate) fn announce(&self) -> Announced<'_> {
        self.announced.fetch_add(1, Ordering::AcqRel);
        Announced(self)
    }

    /// The process table at some moment after this call; `None` if the operating system does not report it. `announced` is the
    /// announcement of this call.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next caller reads instead.
    pub(crate) async fn read(&self, announced: Option<Announced<'_>>) -> Option<Arc<Table>> {
        let call = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        // After the call is counted, so that a reading that waited for this caller answers it.
        drop(announced);
        let mut latest = self.latest.lock().await;
        if latest.answers < call {
            self.gathered().await;
            latest.answers = self.asked.load(Ordering::Acquire);
            latest.table = members::table().map(Arc::new);
        }
        latest.table.clone()
    }

    /// Waits until no other caller is announced, for as long as [`PATIENCE`]. There is one waiter: the holder of the lock.
    async fn gathered(&self) {
        let complete = async {
            while self.announced.load(Ordering::Acquire) > 0 {
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
    async fn callers_that_wait_together_get_one_reading_and_a_later_caller_gets_a_newer_one() {
        let processes = SharedTable::default();
        let reading = processes.latest.lock().await;
        let mut both = std::pin::pin!(join(processes.read(None), processes.read(None)));
        assert!((&mut both).now_or_never().is_none());
        drop(reading);
        let (one, two) = both.await;
        let (one, two) = (one.expect("a table"), two.expect("a table"));
        assert!(Arc::ptr_eq(&one, &two));
        let later = processes.read(None).await.expect("a table");
        assert!(!Arc::ptr_eq(&later, &one));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_waits_for_the_callers_that_are_announced_and_for_no_others() {
        let processes = SharedTable::default();
        let began = Instant::now();
        let (one, two) = (processes.announce(), processes.announce());
        let mut first = std::pin::pin!(processes.read(Some(one)));
        assert!((&mut first).now_or_never().is_none(), "another caller is announced");
        let mut second = std::pin::pin!(processes.read(Some(two)));
        assert!((&mut second).now_or_never().is_none(), "the first one reads");
        let (first, second) = join(first, second).await;
        assert!(Arc::ptr_eq(&first.expect("a table"), &second.expect("a table")));
        assert_eq!(Instant::now(), began, "the last caller was waited for, and nothing else");

        let _never_asks = processes.announce();
        processes.read(None).await.expect("a table");
        assert_eq!(
            began.elapsed(),
            PATIENCE,
            "a caller that does not come is not waited for longer"
        );
    }
}
