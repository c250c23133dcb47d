//! Twenty jobs, three at a time: some fail, one hangs, all are settled.
//!
//! `cargo run -p moored-example-worker-pool`

use moored::rt::tokio::Tokio;
use moored::task;
use sqlite_pool::Pool;
use std::time::Duration;
use worker_pool::{Job, Limits, Queue};

async fn run(job: Job) -> Result<(), String> {
    match &*job.work {
        "hang" => std::future::pending().await,
        "flaky" if job.attempt < 3 => Err(format!("try {} failed", job.attempt)),
        _ => Ok(()),
    }
}

#[tokio::main]
async fn main() {
    let folder = tempfile::tempdir().expect("a folder for the database");
    let limits = Limits {
        workers: 3,
        per_job: Duration::from_millis(50),
        tries: 3,
        grace: Duration::from_secs(2),
    };
    let work = async {
        let queue = Queue::open(Pool::new(folder.path().join("jobs.db"), 3)).await.unwrap();
        for n in 0..20 {
            queue.add(["sound", "sound", "flaky", "hang"][n % 4]).await.unwrap();
        }
        queue.run(limits, &Tokio::current(), std::future::pending(), run).await.unwrap();
        for state in ["new", "taken", "done", "dead"] {
            println!("{state}: {}", queue.count(state).await.unwrap());
        }
    };
    task(work).named("main").await;
}
