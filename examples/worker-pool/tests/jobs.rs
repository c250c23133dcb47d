//! No job is lost, however its run ends.
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]

use moored::rt::tokio::Tokio;
use moored::task;
use sqlite_pool::Pool;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use worker_pool::{Job, Limits, Queue};

const LIMITS: Limits = Limits {
    workers: 3,
    per_job: Duration::from_secs(60),
    tries: 3,
    grace: Duration::from_secs(60),
};

async fn queue(jobs: &[&str]) -> (TempDir, Queue) {
    let folder = tempfile::tempdir().unwrap();
    let queue = Queue::open(Pool::new(folder.path().join("jobs.db"), 3)).await.unwrap();
    for job in jobs {
        queue.add(*job).await.unwrap();
    }
    (folder, queue)
}

async fn states(queue: &Queue) -> [i64; 4] {
    let mut states = [0; 4];
    for (state, count) in ["new", "taken", "done", "dead"].into_iter().zip(&mut states) {
        *count = queue.count(state).await.unwrap();
    }
    states
}

#[tokio::test]
async fn jobs_that_fail_are_tried_again_and_given_up_after_their_tries() {
    task(async {
        let (_folder, queue) = queue(&["sound", "flaky", "broken", "sound"]).await;
        let tries = Arc::new(AtomicI64::new(0));
        let counted = Arc::clone(&tries);
        let run = move |job: Job| {
            let tries = Arc::clone(&counted);
            async move {
                tries.fetch_add(1, Ordering::SeqCst);
                match &*job.work {
                    "flaky" if job.attempt < 2 => Err("not yet".into()),
                    "broken" => Err("never".into()),
                    _ => Ok(()),
                }
            }
        };
        queue.run(LIMITS, &Tokio::current(), pending(), run).await.unwrap();
        assert_eq!(states(&queue).await, [0, 0, 3, 1]);
        assert_eq!(tries.load(Ordering::SeqCst), 1 + 2 + 3 + 1);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_cut_off_and_counts_as_a_try() {
    task(async {
        let (_folder, queue) = queue(&["hangs", "sound"]).await;
        let limits = Limits { per_job: Duration::from_millis(20), tries: 2, ..LIMITS };
        let run =
            |job: Job| async move { if job.work == "hangs" { pending().await } else { Ok(()) } };
        queue.run(limits, &Tokio::current(), pending(), run).await.unwrap();
        assert_eq!(states(&queue).await, [0, 0, 1, 1]);
    })
    .await;
}

#[tokio::test]
async fn a_stop_lets_jobs_finish_and_leaves_the_others_in_the_queue() {
    task(async {
        let (_folder, queue) = queue(&["one", "two", "three"]).await;
        let limits = Limits { workers: 1, ..LIMITS };
        let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
        let begun = std::sync::Mutex::new(Some(begun));
        let run = move |_: Job| {
            let begun = begun.lock().unwrap().take();
            async move {
                drop(begun);
                // Ends by itself, after the stop.
                moored::stop_requested().await;
                Ok(())
            }
        };
        let stop = async { drop(has_begun.await) };
        queue.run(limits, &Tokio::current(), stop, run).await.unwrap();
        assert_eq!(states(&queue).await, [2, 0, 1, 0]);
    })
    .await;
}

#[tokio::test]
async fn a_job_that_outlasts_the_grace_goes_back_to_the_queue() {
    task(async {
        let (_folder, queue) = queue(&["hangs"]).await;
        let limits = Limits { workers: 1, grace: Duration::from_millis(20), ..LIMITS };
        let (begun, has_begun) = tokio::sync::oneshot::channel::<()>();
        let begun = std::sync::Mutex::new(Some(begun));
        let run = move |_: Job| {
            let begun = begun.lock().unwrap().take();
            async move {
                drop(begun);
                pending().await
            }
        };
        let stop = async { drop(has_begun.await) };
        queue.run(limits, &Tokio::current(), stop, run).await.unwrap();
        assert_eq!(states(&queue).await, [1, 0, 0, 0]);
    })
    .await;
}
