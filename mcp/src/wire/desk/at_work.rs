//! The callbacks of a group that are running, by the tasks that run them.
//!
//! A callback that waits for the end of its own session or group waits for itself, because the session waits for its
//! callbacks, and a group that drains waits for the call to which the callback belongs. It is found by the identity of its
//! task, and is cancelled.

use std::collections::HashMap;
use std::sync::Arc;

use moored::{CancelHandle, TaskId};
use parking_lot::Mutex;

use crate::wire::recorder::Recorder;

/// The callbacks of a group that are running.
#[derive(Debug, Default)]
pub(crate) struct AtWork(Mutex<HashMap<TaskId, Work>>);

/// A callback that is running.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) server: Arc<str>,
    pub(super) method: String,
    /// Cancels it.
    pub(super) handle: CancelHandle,
    pub(super) recorder: Arc<Recorder>,
}

/// The end of a wait.
#[derive(Debug, Clone, Copy)]
pub(crate) enum EndOf<'a> {
    /// The session of this server is left.
    Session(&'a str),
    /// All sessions of the group are left.
    Group,
}

impl AtWork {
    /// Lists a callback that the current task runs, for as long as the returned value lives.
    pub(super) fn begin(self: &Arc<Self>, work: Work) -> Listed {
        let task = moored::task::current();
        if let Some(task) = &task {
            self.0.lock().insert(task.clone(), work);
        }
        Listed { all: self.clone(), task }
    }

    /// The current task is about to wait for an end. If it runs a callback that would wait for itself, the callback is
    /// cancelled, and a warning of its session says so.
    pub(crate) fn about_to_wait(&self, end: EndOf<'_>) {
        let Some(task) = moored::task::current() else { return };
        let Some(work) = self.0.lock().get(&task).cloned() else { return };
        let Work { server, method, handle, recorder } = work;
        let what = match end {
            EndOf::Group => "its own group".to_owned(),
            EndOf::Session(name) if *name == *server => format!("its own session {name:?}"),
            EndOf::Session(_) => return,
        };
        let text = format!(
            "the callback for {method} of server {server:?} waits for the end of {what}, which waits for that callback: the callback is cancelled; let another task call it, and do not wait for that task"
        );
        recorder.warn(text.clone());
        handle.cancel_because(text);
    }
}

/// A callback in the list.
#[derive(Debug)]
pub(super) struct Listed {
    all: Arc<AtWork>,
    task: Option<TaskId>,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let work = self.task.take().and_then(|task| self.all.0.lock().remove(&task));
        // Dropped outside the lock, because its handle may be the last reference to its region.
        drop(work);
    }
}
