//! Executors with a thread or two, as small as loom needs them.

use crate::support::poll_once;
use loom::future::block_on;
use loom::thread;
use moored::{BoxTask, Refused, Spawn};
use std::sync::{Arc, Mutex};

/// An executor of one thread for each task, which polls it to its end.
#[derive(Default)]
pub(crate) struct Threads(Mutex<Vec<thread::JoinHandle<()>>>);

impl Threads {
    pub(crate) fn join(self) {
        for thread in self.0.into_inner().unwrap() {
            thread.join().unwrap();
        }
    }
}

impl Spawn for Threads {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.lock().unwrap().push(thread::spawn(move || block_on(task)));
        Ok(())
    }
}

/// An executor that shuts down: it polls each task once, on a thread of its own, and drops it.
#[derive(Default)]
pub(crate) struct ShuttingDown(Threads);

impl ShuttingDown {
    pub(crate) fn join(self) {
        self.0.join();
    }
}

impl Spawn for ShuttingDown {
    fn spawn(&self, mut task: BoxTask) -> Result<(), Refused> {
        let polls_once = move || {
            let _ = poll_once(task.as_mut());
        };
        self.0.0.lock().unwrap().push(thread::spawn(polls_once));
        Ok(())
    }
}

/// An executor that keeps one task for the model to poll.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Option<BoxTask>>);

impl Kept {
    pub(crate) fn task(self) -> BoxTask {
        self.0.into_inner().unwrap().unwrap()
    }

    /// Polls the task once here, and then to its end on a thread.
    pub(crate) fn goes_on(self, threads: &Threads) {
        let mut task = self.task();
        assert!(poll_once(task.as_mut()).is_pending());
        assert!(threads.spawn(task).is_ok());
    }
}

impl Spawn for Kept {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        *self.0.lock().unwrap() = Some(task);
        Ok(())
    }
}

/// An executor that also takes a child's abandoned exits. It polls the first task once and drops it, as an executor
/// that aborts does. Later tasks are polled to their end, or dropped as well.
#[derive(Clone, Default)]
pub(crate) struct Aborting {
    threads: Arc<Threads>,
    first: Arc<Mutex<bool>>,
    drops_all: bool,
    /// The first task, where the model says when it is aborted: on its own thread, which is one less.
    kept: Option<Arc<Kept>>,
}

impl Aborting {
    pub(crate) fn all() -> Self {
        Aborting { drops_all: true, ..Aborting::default() }
    }

    pub(crate) fn by_hand() -> Self {
        Aborting { kept: Some(Arc::default()), ..Aborting::default() }
    }

    /// Polls the first task once and drops it.
    pub(crate) fn abort(&self) {
        let first = self.kept.as_ref().and_then(|kept| kept.0.lock().unwrap().take());
        let _ = poll_once(first.unwrap().as_mut());
    }

    pub(crate) fn join(&self) {
        // A task that is spawned while its thread is joined comes to the end of the list.
        while let Some(thread) = self.next() {
            thread.join().unwrap();
        }
    }

    fn next(&self) -> Option<thread::JoinHandle<()>> {
        self.threads.0.lock().unwrap().pop()
    }
}

impl Spawn for Aborting {
    fn spawn(&self, mut task: BoxTask) -> Result<(), Refused> {
        let first = !std::mem::replace(&mut *self.first.lock().unwrap(), true);
        if let (true, Some(kept)) = (first, &self.kept) {
            return kept.spawn(task);
        }
        if first {
            let polls_once = move || {
                let _ = poll_once(task.as_mut());
            };
            self.threads.0.lock().unwrap().push(thread::spawn(polls_once));
            return Ok(());
        }
        if self.drops_all {
            self.threads.0.lock().unwrap().push(thread::spawn(move || drop(task)));
            return Ok(());
        }
        self.threads.spawn(task)
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        Some(Arc::new(self.clone()))
    }
}
