//! One look at the process table for all callers at about the same time.
//!
//! Whether another process is alive in a group can only be read from the table of all processes. When two hundred
//! children are left at once, two hundred readings of a table of hundreds of processes would be most of the work.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::members::{self, Table};

/// The next look waits this many times the duration of the last one, so that looking takes at most a fifth of one
/// processor's time.
const REST: u32 = 4;
/// The next look waits no longer than this, even if reading the table is slow.
const LONGEST_REST: Duration = Duration::from_millis(20);

/// Reads the process table for a group of sessions.
#[derive(Debug, Default)]
pub(crate) struct Census {
    asked: AtomicU64,
    latest: Mutex<Latest>,
}

/// The newest look.
#[derive(Debug, Default)]
struct Latest {
    /// The number of callers when the look began: it answers all of them.
    answers: u64,
    table: Option<Arc<Table>>,
    next: Option<Instant>,
}

impl Census {
    /// The process table at some moment after this call; `None` if the operating system does not report it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the next caller looks instead.
    pub(crate) async fn taken(&self) -> Option<Arc<Table>> {
        let ticket = self.asked.fetch_add(1, Ordering::AcqRel) + 1;
        let mut latest = self.latest.lock().await;
        if latest.answers < ticket {
            if let Some(next) = latest.next {
                tokio::time::sleep_until(next).await;
            }
            latest.answers = self.asked.load(Ordering::Acquire);
            let began = Instant::now();
            latest.table = members::table().map(Arc::new);
            let ended = Instant::now();
            latest.next = Some(ended + ((ended - began) * REST).min(LONGEST_REST));
        }
        latest.table.clone()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use futures_util::future::join;

    use super::*;

    #[tokio::test]
    async fn who_waits_together_gets_one_look_and_who_asks_later_a_newer_one() {
        let census = Census::default();
        let looking = census.latest.lock().await;
        let mut both = std::pin::pin!(join(census.taken(), census.taken()));
        assert!((&mut both).now_or_never().is_none());
        drop(looking);
        let (one, two) = both.await;
        let (one, two) = (one.expect("a table"), two.expect("a table"));
        assert!(Arc::ptr_eq(&one, &two));
        let later = census.taken().await.expect("a table");
        assert!(!Arc::ptr_eq(&later, &one));
    }
}
