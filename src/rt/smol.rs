//! smol: a spawner for its global executor, or one of your own (feature `smol`).

use crate::spawn::{BoxTask, Refused, Spawn};
use crate::sync::{Arc, Weak};

/// Spawns a group's children on a smol executor.
///
/// smol gives its tasks no ids, so tasks of its own are unknown to the owner check (R5); children of a
/// group are known, as everywhere.
#[derive(Clone, Debug, Default)]
pub struct Smol(Option<Arc<::smol::Executor<'static>>>);

impl Smol {
    /// The executor behind `smol::spawn`.
    pub fn global() -> Self {
        Smol(None)
    }

    /// An executor of your own. Children that it drops unfinished are seen as cancelled.
    pub fn new(executor: Arc<::smol::Executor<'static>>) -> Self {
        Smol(Some(executor))
    }
}

impl Spawn for Smol {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        match &self.0 {
            Some(executor) => executor.spawn(task).detach(),
            None => ::smol::spawn(task).detach(),
        }
        Ok(())
    }

    fn keep(&self) -> Option<Arc<dyn Spawn + Send + Sync>> {
        Some(match &self.0 {
            Some(executor) => Arc::new(Kept(Arc::downgrade(executor))),
            None => Arc::new(self.clone()),
        })
    }
}

/// What a child keeps: weak, because the executor owns the child.
struct Kept(Weak<::smol::Executor<'static>>);

impl Spawn for Kept {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        match self.0.upgrade() {
            Some(executor) => executor.spawn(task).detach(),
            None => return Err(Refused(task)),
        }
        Ok(())
    }
}
