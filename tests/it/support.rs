//! Helpers: polling by hand, counters, a log, an executor.

use moored::testing::MockClock;
use moored::{BoxTask, Misuse, Refused, Spawn, TaskId, WrongTask, task};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};

/// Counts wake-ups.
#[derive(Default)]
pub(crate) struct Wakes(AtomicUsize);

impl Wakes {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A future that is polled by hand.
pub(crate) struct Hand<F: Future> {
    future: Pin<Box<F>>,
    pub(crate) wakes: Arc<Wakes>,
}

pub(crate) fn hand<F: Future>(future: F) -> Hand<F> {
    Hand { future: Box::pin(future), wakes: Wakes::new() }
}

impl<F: Future> Hand<F> {
    pub(crate) fn poll(&mut self) -> Poll<F::Output> {
        let waker = Waker::from(Arc::clone(&self.wakes));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    #[track_caller]
    pub(crate) fn pending(&mut self) {
        assert!(self.poll().is_pending(), "ready too early");
    }

    #[track_caller]
    pub(crate) fn ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(output) => output,
            Poll::Pending => panic!("still pending"),
        }
    }

    /// Polls as an executor would, until no wake-up is left. The future must not end.
    #[track_caller]
    pub(crate) fn idle(&mut self) {
        for _ in 0..10_000 {
            let before = self.wakes.count();
            self.pending();
            if self.wakes.count() == before {
                return;
            }
        }
        panic!("not idle after 10,000 polls");
    }

    /// Polls as an executor would: only while it is woken.
    #[track_caller]
    pub(crate) fn drive(&mut self) -> F::Output {
        for _ in 0..10_000 {
            let before = self.wakes.count();
            if let Poll::Ready(output) = self.poll() {
                return output;
            }
            assert!(self.wakes.count() > before, "pending, and nobody woke it");
        }
        panic!("no end in 10,000 polls");
    }
}

/// A log of events, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    pub(crate) fn new() -> Self {
        Log::default()
    }

    pub(crate) fn add(&self, what: impl Into<String>) {
        self.0.lock().unwrap().push(what.into());
    }

    /// A future that adds an entry when it is polled.
    pub(crate) fn entry(
        &self,
        what: impl Into<String>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let (log, what) = (self.clone(), what.into());
        async move { log.add(what) }
    }

    /// Adds an entry when it is dropped.
    pub(crate) fn on_drop(&self, what: &'static str) -> LoggedDrop {
        LoggedDrop(self.clone(), what)
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    #[track_caller]
    pub(crate) fn is(&self, expected: &[&str]) {
        assert_eq!(*self.0.lock().unwrap(), expected);
    }
}

pub(crate) struct LoggedDrop(Log, &'static str);

impl Drop for LoggedDrop {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// A gate that stays closed until it is opened. Any number of futures may wait for it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<Mutex<(bool, Vec<Waker>)>>);

impl Gate {
    pub(crate) fn new() -> Self {
        Gate::default()
    }

    pub(crate) fn open(&self) {
        let wakers = {
            let mut inside = self.0.lock().unwrap();
            inside.0 = true;
            std::mem::take(&mut inside.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    pub(crate) fn wait(&self) -> impl Future<Output = ()> + Send + 'static {
        let gate = self.clone();
        std::future::poll_fn(move |cx| {
            let mut inside = gate.0.lock().unwrap();
            if inside.0 {
                return Poll::Ready(());
            }
            inside.1.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// Pending once, and wakes itself at once.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// Counts its drops.
#[derive(Clone)]
pub(crate) struct OnDrop(Rc<Cell<usize>>);

impl OnDrop {
    pub(crate) fn new() -> (Self, Rc<Cell<usize>>) {
        let count = Rc::new(Cell::new(0));
        (OnDrop(Rc::clone(&count)), count)
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// An executor that is driven by hand, and polls only tasks that were woken.
#[derive(Clone, Default)]
pub(crate) struct Executor(Arc<Mutex<Vec<Spawned>>>);

/// A task, and the number of its wake-ups at its last poll.
type Spawned = (Hand<BoxTask>, usize);

impl Executor {
    pub(crate) fn new() -> Self {
        Executor::default()
    }

    /// Polls until no task is woken.
    pub(crate) fn run(&self) {
        loop {
            // A task may spawn, so the list is not locked while one is polled.
            let tasks = std::mem::take(&mut *self.0.lock().unwrap());
            let mut polled = false;
            let mut rest = Vec::new();
            for (mut task, seen) in tasks {
                let woken = task.wakes.count();
                if seen == woken {
                    rest.push((task, seen));
                    continue;
                }
                polled = true;
                if task.poll().is_pending() {
                    rest.push((task, woken));
                }
            }
            let mut tasks = self.0.lock().unwrap();
            rest.append(&mut tasks);
            *tasks = rest;
            if !polled {
                return;
            }
        }
    }

    /// Drops every task at its current await, as a runtime does when it shuts down.
    pub(crate) fn shut_down(&self) {
        let tasks = std::mem::take(&mut *self.0.lock().unwrap());
        drop(tasks);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

impl Spawn for Executor {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        // A number of wakes that no task has yet: it is polled once without being woken.
        self.0.lock().unwrap().push((hand(task), usize::MAX));
        Ok(())
    }
}

/// The spawner of an executor, for the tasks in its queue: they would keep one another alive if they kept the executor.
/// When the executor is gone, it refuses every task.
pub(crate) struct WeakExecutor(Weak<Mutex<Vec<Spawned>>>);

impl Executor {
    pub(crate) fn weak(&self) -> WeakExecutor {
        WeakExecutor(Arc::downgrade(&self.0))
    }
}

impl Spawn for WeakExecutor {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        match self.0.upgrade() {
            Some(tasks) => Executor(tasks).spawn(task),
            None => Err(Refused(task)),
        }
    }
}

/// A spawner that refuses every task.
pub(crate) struct Full;

impl Spawn for Full {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        Err(Refused(task))
    }
}

/// Panics when it is dropped, unless the thread unwinds already.
pub(crate) struct Loud(pub(crate) &'static str);

impl Drop for Loud {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("{}", self.0);
        }
    }
}

/// The text of the panic with which `f` ends.
#[track_caller]
pub(crate) fn panic_text<R>(f: impl FnOnce() -> R) -> String {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)) {
        Ok(_) => panic!("no panic"),
        Err(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => (*payload.downcast::<&'static str>().expect("a text")).to_owned(),
        },
    }
}

/// A waker that runs `f`.
pub(crate) fn waker_fn(f: impl Fn() + Send + Sync + 'static) -> Waker {
    struct Call<F>(F);
    impl<F: Fn() + Send + Sync + 'static> Wake for Call<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
        }
    }
    Waker::from(Arc::new(Call(f)))
}

static HOOK: Mutex<()> = Mutex::new(());

/// The reports of this process while it lives. The hook is process-wide, so tests that read it take turns.
/// Reports of other tests may be among them, so a test finds its own by names.
pub(crate) struct Reports {
    lines: Arc<Mutex<Vec<String>>>,
    _turn: std::sync::MutexGuard<'static, ()>,
}

impl Reports {
    pub(crate) fn watch() -> Self {
        let turn = HOOK.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let lines: Arc<Mutex<Vec<String>>> = Arc::default();
        let hook = Arc::clone(&lines);
        moored::set_report_hook(move |report| hook.lock().unwrap().push(report.to_string()));
        Reports { lines, _turn: turn }
    }

    /// The reports that contain `name`.
    pub(crate) fn of(&self, name: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(name)).cloned().collect()
    }
}

/// Panics with `text`. Its return type is `()`, not `!`.
pub(crate) fn boom(text: &'static str) {
    panic!("{text}")
}

/// Polls `future` once with the waker of the current task.
pub(crate) async fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *future).poll(cx))).await
}

/// An executor in thirty lines: one future, one thread, parked between polls.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = std::pin::pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// Polls `loser` once, expects it to be pending, and drops it, as a `select!` does with the arm that
/// lost.
pub(crate) async fn lose<F: Future>(loser: F) {
    let mut loser = Box::pin(loser);
    assert!(poll_once(&mut loser).await.is_pending(), "the loser won");
}

/// Runs `body` as a task with a clock of its own, which jumps when nothing else is left to do. No timer may be left at the end.
pub(crate) fn on<F: Future>(clock: &MockClock, body: F) -> F::Output {
    let ended = moored::testing::hand(task(body).clock(clock.clone())).drive_with(clock);
    assert_eq!(clock.sleepers(), 0, "a timer is left");
    ended
}

/// Runs `body` to its end as a task named `owner`.
pub(crate) fn as_owner<F: Future>(body: F) -> F::Output {
    hand(task(body).named("owner")).drive()
}

pub(crate) async fn as_thief<F: Future>(body: F) -> F::Output {
    task(body).named("thief").await
}

pub(crate) fn me() -> TaskId {
    task::current().unwrap()
}

#[track_caller]
pub(crate) fn wrong_task(misuse: &Misuse) -> &WrongTask {
    match misuse {
        Misuse::WrongTask(wrong) => wrong,
        other => panic!("another misuse: {other}"),
    }
}

/// A rejection names both tasks, the region, both places and the operation.
#[track_caller]
pub(crate) fn is_rejection(misuse: &Misuse, operation: &str, region: &str) {
    let wrong = wrong_task(misuse);
    assert_eq!(wrong.operation, operation);
    assert_eq!(wrong.region, region);
    assert_eq!((wrong.owner.name(), wrong.current.name()), (Some("owner"), Some("thief")));
    let test = std::panic::Location::caller().file();
    assert_eq!((wrong.entered_at.file(), wrong.attempted_at.file()), (test, test));
    assert!(wrong.attempted_at.line() != wrong.entered_at.line(), "{wrong}");
}

/// Two steps with a wait between them.
pub(crate) fn steps(log: &Log, gate: &Gate) -> impl Future<Output = ()> + Send + 'static {
    let (log, gate) = (log.clone(), gate.clone());
    async move {
        log.add("first");
        gate.wait().await;
        log.add("second");
    }
}
