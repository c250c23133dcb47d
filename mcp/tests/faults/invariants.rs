//! The invariants after every fault: no task, no process, no zombie and no descriptor is left, nothing has panicked on
//! its way, and all of it is the same on one thread and on many.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::Fault;
use crate::scene::{Row, Scene};
use crate::support::{LIMIT, brisk};
use crate::table::Played;

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Plays a fault on both kinds of runtime.
pub(crate) fn play(fault: &Fault) -> Played {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        hook(panic);
    }));
    let (one, one_ms) = on(Builder::new_current_thread(), fault);
    let mut many = Builder::new_multi_thread();
    many.worker_threads(2);
    let (row, many_ms) = on(many, fault);
    assert_eq!(one, row, "one thread and many threads tell differently");
    Played { row, ms: [one_ms, many_ms] }
}

fn on(mut builder: Builder, fault: &Fault) -> (Row, u128) {
    let runtime = builder.enable_all().build().expect("a runtime");
    // The first sessions of a process set up state that it keeps: the handling of signals, and roots of certificates.
    run(&runtime, async {
        let _siblings = Scene::start(brisk()).await.leave().await;
    });
    let descriptors = settled(&runtime, usize::MAX);
    let panics = PANICS.load(Ordering::Relaxed);
    let began = Instant::now();
    let row = run(&runtime, (fault.play)());
    let ms = began.elapsed().as_millis();
    settled(&runtime, descriptors);
    let panicked = PANICS.load(Ordering::Relaxed) - panics;
    assert_eq!(panicked, row.panics, "panics on the way");
    (row, ms)
}

fn run<T>(runtime: &Runtime, work: impl Future<Output = T>) -> T {
    runtime.block_on(async {
        tokio::time::timeout(LIMIT, work).await.expect("the fault is over within its limit")
    })
}

/// Waits until only `descriptors` are left, and returns their number. A task that was just joined, and a connection
/// whose other end was just closed, may be counted for a moment longer.
fn settled(runtime: &Runtime, descriptors: usize) -> usize {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let left = runtime.block_on(async {
            // The runtime closes the descriptors of its ended tasks when it is polled.
            tokio::task::yield_now().await;
            Left::now()
        });
        if left.is_nothing(descriptors) {
            return left.descriptors;
        }
        assert!(
            Instant::now() < end,
            "still there, with {descriptors} descriptors before: {left:#?}"
        );
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The tasks, descriptors and processes at one time.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) tasks: usize,
    /// Children, zombies among them, and their descendants by the mark in their environment.
    pub(crate) processes: Vec<Process>,
    pub(crate) descriptors: usize,
}

/// A process that is left.
#[derive(Debug)]
pub(crate) struct Process {
    id: u32,
    #[expect(dead_code, reason = "shown where it should not be there")]
    line: String,
}

impl Left {
    /// In a runtime.
    pub(crate) fn now() -> Self {
        Self { tasks: Handle::current().metrics().num_alive_tasks(), ..Self::without_runtime() }
    }

    /// Without a runtime, and so without its tasks.
    pub(crate) fn without_runtime() -> Self {
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc").count();
        Self { tasks: 0, processes: processes(), descriptors }
    }

    /// Kills the processes.
    pub(crate) fn end(&self) {
        for process in &self.processes {
            let id = rustix::process::Pid::from_raw(process.id.cast_signed()).expect("an id");
            let _gone = rustix::process::kill_process(id, rustix::process::Signal::KILL);
        }
    }

    fn is_nothing(&self, descriptors: usize) -> bool {
        self.tasks == 0 && self.processes.is_empty() && self.descriptors <= descriptors
    }
}

/// The children of this process, dead or alive, and every living process that has its `TMPDIR`.
fn processes() -> Vec<Process> {
    let mark = format!("TMPDIR={}", std::env::temp_dir().display());
    let own = std::process::id();
    let ids = std::fs::read_dir("/proc").expect("/proc").flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| *id != own).filter_map(|id| describe(id, own, mark.as_bytes())).collect()
}

fn describe(id: u32, own: u32, mark: &[u8]) -> Option<Process> {
    let process = format!("/proc/{id}");
    let stat = std::fs::read_to_string(Path::new(&process).join("stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?);
    let is_child = parent.parse() == Ok(own);
    let is_marked = || {
        let environ = std::fs::read(Path::new(&process).join("environ")).unwrap_or_default();
        environ.split(|byte| *byte == 0).any(|variable| variable == mark)
    };
    // A dead descendant is reaped by its adopter.
    let counts = is_child || (!matches!(state, "Z" | "X") && is_marked());
    let line = std::fs::read(Path::new(&process).join("cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line).replace('\0', " ");
    counts.then(|| Process { id, line: format!("{state} {line}") })
}
