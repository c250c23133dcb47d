//! smol: a spawner for its global executor, or one of your own (feature `smol`).

use crate::spawn::{BoxTask, Refused, Spawn};
use crate::sync::{Arc, Weak};
use std::future::Future;

/// Spawns a group's children on a smol executor.
///
/// smol gives its tasks no ids, so the owner check does not know smol's own tasks (R5); children of a
/// group are known, as everywhere.
#[derive(Clone, Debug)]
pub struct Smol {
    /// `None` for the global executor.
    executor: Option<Arc<::smol::Executor<'static>>>,
    spawner: Arc<Spawner>,
}

/// The spawner that all children share and keep. It is weak, because an executor owns its
/// children.
#[derive(Debug)]
struct Spawner(Option<Weak<::smol::Executor<'static>>>);

impl Smol {
    /// The executor behind `smol::spawn`.
    pub fn global() -> Self {
        Smol { executor: None, spawner: Arc::new(Spawner(None)) }
    }

    /// A given executor. Children that it drops unfinished count as cancelled.
    pub fn new(executor: Arc<::smol::Executor<'static>>) -> Self {
        let spawner = Arc::new(Spawner(Some(Arc::downgrade(&executor))));
        Smol { executor: Some(executor), spawner }
    }
}

impl Default for Smol {
    fn default() -> Self {
        Smol::global()
    }
}

impl Spawn for Smol {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.spawn_unboxed(task)
    }

    fn spawn_unboxed<F>(&self, task: F) -> Result<(), Refused>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        match &self.executor {
            Some(executor) => executor.spawn(task).detach(),
            None => ::smol::spawn(task).detach(),
        }
        Ok(())
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        Some(Arc::clone(&self.spawner) as _)
    }
}

impl Spawn for Spawner {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        let Some(executor) = &self.0 else {
            ::smol::spawn(task).detach();
            return Ok(());
        };
        match executor.upgrade() {
            Some(executor) => executor.spawn(task).detach(),
            None => return Err(Refused(task)),
        }
        Ok(())
    }
}
