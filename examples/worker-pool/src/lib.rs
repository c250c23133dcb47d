//! Workers on a job queue in SQLite.
//!
//! Each job has a time limit and a number of tries. A worker *claims* a job in one transaction, runs it, and *settles* it in
//! another one. The settling is an exit: after a result, an error, the time limit, a panic or the shutdown,
//! the job is done, back in the queue, or given up, before the worker is left. A stop lets each worker finish its job; when
//! the grace of the group is over, the jobs that still run are dropped and go back.

use moored::{
    ExitStack, Failure, Leaving, Spawn, TaskGroup, fail_after, is_cancelled, shield, stop_requested,
};
use sqlite_pool::{Error, Pool};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// A job of the queue.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its row.
    pub id: i64,
    /// The work, as the caller described it.
    pub work: String,
    /// Which try this is, from 1 on.
    pub attempt: i64,
}

/// How jobs are run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many run at once.
    pub workers: usize,
    /// How long each try may take.
    pub per_job: Duration,
    /// After how many tries a job is given up.
    pub tries: i64,
    /// How long jobs may go on after a stop.
    pub grace: Duration,
}

/// A queue of jobs.
#[derive(Clone, Debug)]
pub struct Queue {
    pool: Pool,
}

impl Queue {
    /// The queue in the database of `pool`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls back.
    ///
    /// # Errors
    ///
    /// Where the table cannot be made.
    pub async fn open(pool: Pool) -> Result<Self, Failure<Error>> {
        let make = "CREATE TABLE IF NOT EXISTS jobs (id INTEGER PRIMARY KEY, work TEXT NOT NULL, \
                    state TEXT NOT NULL DEFAULT 'new', tries INTEGER NOT NULL DEFAULT 0)";
        pool.transaction(async |tx| tx.execute(make, ()).await).await?;
        Ok(Queue { pool })
    }

    /// Adds a job.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future rolls back, unless the job was added.
    ///
    /// # Errors
    ///
    /// Where the transaction fails.
    pub async fn add(&self, work: impl Into<String>) -> Result<(), Failure<Error>> {
        let work = work.into();
        self.pool
            .transaction(async |tx| {
                tx.execute("INSERT INTO jobs (work) VALUES (?1)", (work,)).await
            })
            .await?;
        Ok(())
    }

    /// How many jobs are in `state`: `new`, `taken`, `done` or `dead`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// Where the transaction fails.
    pub async fn count(&self, state: &'static str) -> Result<i64, Failure<Error>> {
        self.pool
            .transaction(async |tx| {
                tx.query_one("SELECT count(*) FROM jobs WHERE state = ?1", (state,)).await
            })
            .await
    }

    /// Takes the oldest job; `None` where there is none.
    async fn claim(&self) -> Result<Option<Job>, Failure<Error>> {
        self.pool
            .transaction(async |tx| {
                tx.call(|connection| {
                    let mut claim = connection.prepare(
                        "UPDATE jobs SET state = 'taken', tries = tries + 1 \
                         WHERE id = (SELECT id FROM jobs WHERE state = 'new' ORDER BY tries, id LIMIT 1) \
                         RETURNING id, work, tries",
                    )?;
                    let mut rows = claim.query(())?;
                    let Some(row) = rows.next()? else { return Ok(None) };
                    Ok(Some(Job { id: row.get(0)?, work: row.get(1)?, attempt: row.get(2)? }))
                })
                .await
            })
            .await
    }

    async fn settle(&self, id: i64, state: &'static str) -> Result<(), Failure<Error>> {
        self.pool
            .transaction(async |tx| {
                tx.execute("UPDATE jobs SET state = ?1 WHERE id = ?2", (state, id)).await
            })
            .await?;
        Ok(())
    }

    /// Claims a job and runs it with `run`; `false` where there is none.
    async fn work_once<F, R>(&self, limits: Limits, run: &F) -> Result<bool, Failure<Error>>
    where
        F: Fn(Job) -> R,
        R: Future<Output = Result<(), String>>,
    {
        // A claim that is dropped while it commits would leave a job that nobody runs: it is finished first.
        let Some(job) = shield(self.claim()).await? else { return Ok(false) };
        let stack = ExitStack::new().named(format!("job {}", job.id));
        let (queue, id, last) = (self.clone(), job.id, job.attempt >= limits.tries);
        let ran: Result<(), Failure<String>> = stack
            .run(async {
                // Nothing is awaited between the claim and this.
                stack.defer_with(move |why| async move {
                    let state = match why {
                        Leaving::Completed => "done",
                        // It is the job's fault, and it has had its tries.
                        Leaving::Failed | Leaving::Panicked if last => "dead",
                        _ => "new",
                    };
                    queue.settle(id, state).await.map_err(Failure::boxed)
                });
                fail_after(limits.per_job, run(job)).await.map_err(|late| late.to_string())?
            })
            .await;
        if let Err(failure) = ran {
            println!("job {id}: {failure}");
        }
        Ok(true)
    }

    /// Runs jobs until the queue is empty, or until the group that runs this is asked to stop.
    async fn worker<F, R>(self, limits: Limits, run: Arc<F>) -> Result<(), Failure<Error>>
    where
        F: Fn(Job) -> R,
        R: Future<Output = Result<(), String>>,
    {
        let mut stop = std::pin::pin!(stop_requested());
        loop {
            // Between two jobs, and not in the middle of one.
            let asked = tokio::select! {
                biased;
                () = &mut stop => true,
                () = std::future::ready(()) => is_cancelled(),
            };
            if asked || !self.work_once(limits, &*run).await? {
                return Ok(());
            }
        }
    }

    /// Runs all jobs on `executor`; returns when the queue is empty, or when `stop` resolves and the workers have ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future cancels the workers, and the region around waits for them; jobs that were running go back.
    ///
    /// # Errors
    ///
    /// Where the database fails. A job's own failure is none: it is tried again.
    pub async fn run<F, R>(
        &self,
        limits: Limits,
        executor: &impl Spawn,
        stop: impl Future<Output = ()>,
        run: F,
    ) -> Result<(), Failure<Error>>
    where
        F: Fn(Job) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), String>> + Send + 'static,
    {
        let run = Arc::new(run);
        let group: TaskGroup<'_, Failure<Error>> =
            TaskGroup::new().named("workers").stop_on_failure().grace(limits.grace);
        let worked = group
            .run(async {
                let workers: Vec<_> = (1..=limits.workers)
                    .map(|n| {
                        let worker = self.clone().worker(limits, Arc::clone(&run));
                        group.spawn_named_on(format!("worker {n}"), executor, worker)
                    })
                    .collect();
                let all = async {
                    for worker in workers {
                        let _ = worker.join().await;
                    }
                };
                tokio::select! {
                    () = all => {}
                    () = stop => group.stop(),
                }
                Ok(())
            })
            .await;
        worked.map_err(Failure::flatten)
    }
}
