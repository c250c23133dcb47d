//! The desk of a session: it runs the callbacks.
//!
//! The callbacks run in a group of their own, in a task of its own. A callback that ignores its cancellation cannot be
//! made to end, so the owner of the session must be able to go on without it.

use std::any::Any;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use moored::rt::tokio::Tokio;
use moored::{CancelHandle, CancelScope, DropGuard, GroupSpawner, Join, TaskGroup};
use parking_lot::Mutex;
use rmcp::service::{Peer, RoleClient};
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::ask;
use super::recorder::Recorder;
use crate::callbacks::{Callbacks, RequestError, ServerMessage, Tag};
use crate::panics;

pub(crate) mod at_work;

use self::at_work::{AtWork, Work};

/// The number of notifications that wait for a slow callback.
const NOTICES: usize = 1024;
/// The number of requests of one server that are answered at once.
const REQUESTS: usize = 256;
/// The least time for a callback to end after its cancellation.
const LEAST_PATIENCE: Duration = Duration::from_millis(50);

/// Runs the callbacks of one session.
#[derive(Debug)]
pub(crate) struct Desk {
    server: Arc<str>,
    callbacks: Callbacks,
    recorder: Arc<Recorder>,
    spawner: GroupSpawner<'static, Infallible>,
    group: CancelHandle,
    notices: mpsc::Sender<ServerMessage>,
    running: Arc<Running>,
    /// The running callbacks of the whole group.
    at_work: Arc<AtWork>,
    /// The peer that is notified when the roots change; set once the session is up. A watch, because it is a value that is
    /// awaited.
    peer: watch::Sender<Option<Peer<RoleClient>>>,
}

/// The callbacks that are running.
#[derive(Debug, Default)]
struct Running(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    next: u64,
    /// The method of each; and the handle that cancels it, if it is not cancelled with the group.
    all: BTreeMap<u64, (String, Option<CancelHandle>)>,
    /// Set once no request is answered any more.
    closed: bool,
}

/// The end of a desk, for its owner to wait for.
#[derive(Debug)]
pub(crate) struct DeskEnd {
    desk: Arc<Desk>,
    /// A task of its own, and no child of the owner's group, because that would wait for a callback that never ends.
    task: JoinHandle<()>,
}

impl Desk {
    /// A desk for these callbacks; `None` if there are none.
    pub(crate) fn open(
        server: &Arc<str>,
        callbacks: &Callbacks,
        recorder: &Arc<Recorder>,
        at_work: &Arc<AtWork>,
    ) -> Option<(Arc<Self>, DeskEnd)> {
        if callbacks.is_empty() {
            return None;
        }
        let group = TaskGroup::new().named(format!("callbacks of {server}")).keep_going();
        let (notices, inbox) = mpsc::channel(NOTICES);
        let desk = Arc::new(Self {
            server: server.clone(),
            callbacks: callbacks.clone(),
            recorder: recorder.clone(),
            spawner: group.spawner(),
            group: group.handle(),
            notices,
            running: Arc::default(),
            at_work: at_work.clone(),
            peer: watch::channel(None).0,
        });
        let at_work = desk.clone();
        let work = async move {
            let body = async {
                tokio::join!(at_work.hear_all(inbox), at_work.watch_roots());
                Ok(())
            };
            // The result is ignored, because the children return no errors, and a cancellation is the usual end.
            let _left = group.run(body).await;
        };
        let task = tokio::spawn(moored::task::task(work).named(format!("callbacks of {server}")));
        Some((desk.clone(), DeskEnd { desk, task }))
    }

    /// The session is up: the server can be notified.
    pub(super) fn linked(&self, peer: Peer<RoleClient>) {
        self.peer.send_replace(Some(peer));
    }

    /// Whether there is a callback for such a request.
    pub(crate) fn answers(&self, method: &str, params: &Value) -> bool {
        self.callbacks.answering(method, params).is_some()
    }

    /// Passes a request to its callback; `None` if there is none.
    pub(crate) fn ask(&self, method: String, params: Value, tag: Option<Tag>) -> Option<Answer> {
        let answering = self.callbacks.answering(&method, &params)?;
        let scope = CancelScope::new().named(format!("{method} of {}", self.server));
        let handle = scope.handle();
        let Some(listed) = self.running.list(method.clone(), Some(handle.clone())) else {
            return Some(Answer::none(
                "too many requests are under way, or the session is being left",
            ));
        };
        let asked = ServerMessage::new(self.server.clone(), method.clone(), params, tag);
        let recorder = self.recorder.clone();
        let at_work = self.at_work.clone();
        let work = self.work(&method, &handle);
        let child = async move {
            let _listed = listed;
            let _at_work = at_work.begin(work);
            let answering = AssertUnwindSafe(async { answering(asked).await }).catch_unwind();
            Ok::<_, Infallible>(match scope.run(answering).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(panic)) => {
                    recorder.warn(panicked(&method, panic));
                    Err(RequestError::internal(format!("the callback for {method} panicked")))
                }
                Err(cancelled) => {
                    let why = cancelled.reason().message();
                    Err(no_answer(why.unwrap_or("the request was cancelled")))
                }
            })
        };
        Some(match self.spawner.spawn_on(&Tokio::current(), child) {
            Ok(child) => Answer(Ok((child.join(), handle.drop_guard()))),
            Err(_closed) => Answer::none("the session is being left"),
        })
    }

    fn work(&self, method: &str, handle: &CancelHandle) -> Work {
        let (server, recorder) = (self.server.clone(), self.recorder.clone());
        Work { server, method: method.to_owned(), handle: handle.clone(), recorder }
    }

    /// Whether a callback receives notifications.
    pub(crate) fn hears(&self) -> bool {
        self.callbacks.hears()
    }

    /// Queues a notification for its callbacks.
    pub(super) fn tell(&self, method: String, params: Value, tag: Option<Tag>) {
        let told = ServerMessage::new(self.server.clone(), method, params, tag);
        if let Err(mpsc::error::TrySendError::Full(told)) = self.notices.try_send(told) {
            self.recorder.warn(format!(
                "{} was not heard: {NOTICES} others wait for their callbacks",
                told.method
            ));
        }
    }

    /// Cancels the callbacks of all requests, because their answers could not be sent any more.
    pub(crate) fn stop_answering(&self) {
        let handles = {
            let mut table = self.running.0.lock();
            table.closed = true;
            let handles = table.all.values().filter_map(|(_, handle)| handle.clone());
            handles.collect::<Vec<_>>()
        };
        for handle in handles {
            handle.cancel_because("the session is being left");
        }
    }

    /// Calls the callbacks for notifications, one notification after the other, until the group is stopped and the
    /// queue is empty.
    async fn hear_all(&self, mut inbox: mpsc::Receiver<ServerMessage>) {
        loop {
            let told = tokio::select! {
                biased;
                told = inbox.recv() => told,
                () = moored::stop_requested() => {
                    inbox.close();
                    inbox.recv().await
                }
            };
            let Some(told) = told else { return };
            for hearing in self.callbacks.hearing(&told) {
                let _listed = self.running.list(told.method.clone(), None);
                let scope = CancelScope::new().named(told.method.clone());
                let _at_work = self.at_work.begin(self.work(&told.method, &scope.handle()));
                let heard = scope.run(AssertUnwindSafe(hearing).catch_unwind()).await;
                if let Ok(Err(panic)) = heard {
                    self.recorder.warn(panicked(&told.method, panic));
                }
            }
        }
    }

    /// Notifies the server of each change of the roots, until the group is stopped.
    async fn watch_roots(&self) {
        let Some(roots) = self.callbacks.known_roots() else { return };
        let mut changes = roots.watch();
        let mut peer = self.peer.subscribe();
        let telling = async {
            let peer = peer.wait_for(Option::is_some).await.ok().and_then(|it| it.clone());
            let Some(peer) = peer else { return };
            while changes.changed().await.is_ok() {
                ask::roots_changed(&peer).await;
            }
        };
        tokio::select! {
            () = telling => {}
            () = moored::stop_requested() => {}
        }
    }
}

impl DeskEnd {
    /// Lets the callbacks for notifications come to their end, then cancels all callbacks that still run. The error
    /// names the callbacks that run even after that.
    pub(crate) async fn ended(mut self, patience: Duration) -> Result<(), String> {
        let half = (patience / 2).max(LEAST_PATIENCE);
        self.desk.stop_answering();
        self.desk.group.stop();
        if tokio::time::timeout(half, &mut self.task).await.is_ok() {
            return Ok(());
        }
        self.desk.group.cancel_because("the session is being left");
        if tokio::time::timeout(half, &mut self.task).await.is_ok() {
            return Ok(());
        }
        let running = self.desk.running.0.lock();
        let names: Vec<_> = running.all.values().map(|(name, _)| name.as_str()).collect();
        Err(format!(
            "callbacks ignore their cancellation and are left to themselves: {}",
            names.join(", ")
        ))
    }
}

/// The answer to a request, on its way. Dropping it cancels the callback.
#[derive(Debug)]
pub(crate) struct Answer(Result<(Join<Result<Value, RequestError>>, DropGuard), RequestError>);

impl Answer {
    fn none(why: &str) -> Self {
        Self(Err(no_answer(why)))
    }

    /// Waits for it.
    pub(crate) async fn given(self) -> Result<Value, RequestError> {
        let (join, guard) = self.0?;
        let answer = join.await;
        guard.disarm();
        answer.unwrap_or_else(|_| Err(no_answer("the session is being left")))
    }
}

fn no_answer(why: &str) -> RequestError {
    RequestError::internal(format!("there is no answer: {why}"))
}

/// The warning about a callback that panicked.
fn panicked(method: &str, panic: Box<dyn Any + Send>) -> String {
    format!("the callback for {method} panicked: {}", panics::text(panic))
}

impl Running {
    /// Lists a callback for as long as the returned value lives; `None` if the limit is reached, or the desk is closed.
    fn list(self: &Arc<Self>, name: String, handle: Option<CancelHandle>) -> Option<Listed> {
        let mut table = self.0.lock();
        if handle.is_some() && (table.closed || table.all.len() >= REQUESTS) {
            return None;
        }
        let place = table.next;
        table.next += 1;
        table.all.insert(place, (name, handle));
        Some(Listed { running: self.clone(), place })
    }
}

/// A place in the list.
#[derive(Debug)]
struct Listed {
    running: Arc<Running>,
    place: u64,
}

impl Drop for Listed {
    fn drop(&mut self) {
        let listed = self.running.0.lock().all.remove(&self.place);
        // Dropped outside the lock, because the handle may be the last reference to its region.
        drop(listed);
    }
}

#[cfg(test)]
mod tests;
