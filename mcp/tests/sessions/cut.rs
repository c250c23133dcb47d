//! Cuts at every poll: the caller of a method goes away at its k-th poll, for every k. Afterwards nothing is left behind: no task, no
//! descriptor, no child, and at the server no session and no request.
//!
//! There are three ways. The futures are woken seldom and their owner works between the wake-ups, so the counted polls are
//! those that a wake-up asked for, or frequent ones that ask for the next one themselves, which reach every step of the
//! owner. Third, the future is not dropped by its caller but by the cancellation of a scope around it.
//!
//! Each method is tried in a process of its own, because descriptors and children are those of a process; over stdio and over
//! HTTP, in both eras, on a runtime of one thread and on one of several.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use moored::CancelScope;
use moored_mcp::Era;

use self::scene::{Scene, WAYS, Wire};
use crate::support::within_limit;

mod asked;
mod gateway;
mod life;
mod lists;
mod requests;
mod scene;

/// The source of the next poll.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Polls {
    Woken,
    Always,
    /// Like `Always`, in a scope that is cancelled in the place of the drop.
    Cancelled,
}

impl Polls {
    const ALL: [Self; 3] = [Self::Woken, Self::Always, Self::Cancelled];

    /// The number of polls before the next cut. Self-asked polls are many, so their number grows in larger steps.
    fn after(self, polls: usize) -> usize {
        match self {
            Self::Woken => polls + 1,
            Self::Always | Self::Cancelled => polls + 1 + polls / 4,
        }
    }
}

/// Polls `polls` times, and drops the future if it is pending then.
async fn cut<F: Future>(polls: usize, who: Polls, future: F) -> Option<F::Output> {
    let mut left = polls;
    if who == Polls::Cancelled {
        let scope = CancelScope::new();
        let ask = scope.handle();
        let mut future = Box::pin(future);
        let counted = poll_fn(move |cx| {
            if left == 0 {
                ask.cancel();
                return Poll::Pending;
            }
            left -= 1;
            cx.waker().wake_by_ref();
            future.as_mut().poll(cx)
        });
        return scope.run(counted).await.ok();
    }
    let mut future = pin!(future);
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        if let Poll::Ready(output) = future.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        if left == 0 {
            return Poll::Ready(None);
        }
        if who == Polls::Always {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await
}

/// Cuts `play` after 0, 1, 2, … polls, until it ends before the cut, in each of the three ways. Returns the number of cuts.
async fn at_each_poll(play: impl AsyncFn(usize, Polls) -> bool) -> usize {
    let mut cuts = 0;
    for who in Polls::ALL {
        let (mut polls, before) = (0, cuts);
        while play(polls, who).await {
            cuts += 1;
            polls = who.after(polls);
        }
        assert!(cuts > before, "{who:?}: nothing was cut");
    }
    cuts
}

/// The tasks, descriptors and children that exist now; a cut that leaves something behind adds to them.
#[derive(Debug, Clone, Copy)]
struct Left {
    tasks: usize,
    descriptors: usize,
    children: usize,
}

impl Left {
    fn now() -> Self {
        let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let descriptors = std::fs::read_dir("/proc/self/fd").expect("/proc").count();
        Self { tasks, descriptors, children: children() }
    }

    /// Waits until no more is left than this.
    async fn is_all(self, what: &str) {
        let no_more = || {
            let now = Self::now();
            (now.tasks <= self.tasks
                && now.descriptors <= self.descriptors
                && now.children <= self.children)
                .then_some(())
                .ok_or_else(|| format!("{now:?} where {self:?} was"))
        };
        eventually(what, no_more).await;
    }
}

/// The number of children of this process, zombies included.
fn children() -> usize {
    let own = std::process::id().to_string();
    let parent = |stat: String| {
        // The name of the program may hold parentheses and spaces.
        let (_, rest) = stat.rsplit_once(')')?;
        rest.split_ascii_whitespace().nth(1).map(str::to_owned)
    };
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let stats = processes.filter_map(|it| std::fs::read_to_string(it.path().join("stat")).ok());
    stats.filter(|stat| parent(stat.clone()).is_some_and(|parent| parent == own)).count()
}

/// Waits until `is_so` is `Ok`, because there is no event to wait for; fails with its last error.
async fn eventually(what: &str, is_so: impl Fn() -> Result<(), String>) {
    let end = Instant::now() + Duration::from_secs(5);
    let mut looks = tokio::time::interval(Duration::from_millis(1));
    while let Err(why) = is_so() {
        assert!(Instant::now() < end, "{what}: {why}");
        looks.tick().await;
    }
}

/// Tries a method in a process of its own: `test` is ignored otherwise.
fn alone(test: &str) {
    let binary = std::env::current_exe().expect("this test's binary");
    let output = std::process::Command::new(binary)
        .args(["--exact", test, "--ignored", "--test-threads", "1", "--nocapture"])
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{errors}");
    for line in text.lines().filter_map(|line| line.find("explored ").map(|at| &line[at..])) {
        println!("{line}");
    }
}

/// Plays over each transport, in each era, on each kind of runtime. `play` returns the number of its cuts.
fn everywhere(play: impl AsyncFn((Wire, Era)) -> usize) {
    let mut cuts = 0;
    for mut builder in
        [tokio::runtime::Builder::new_current_thread(), tokio::runtime::Builder::new_multi_thread()]
    {
        let runtime = builder.worker_threads(2).enable_all().build().expect("a runtime");
        cuts += runtime.block_on(async {
            let mut cuts = 0;
            for way in WAYS {
                // Sets up what a runtime and a process keep for ever.
                let warm = Scene::start(way, "").await;
                assert!(warm.connected().await.close().await.all_well());
                drop(warm);
                let none = Left { tasks: 0, ..Left::now() };
                none.is_all("before").await;
                let none = Left::now();
                cuts += within_limit(play(way)).await;
                none.is_all(&format!("after all, {way:?}")).await;
            }
            cuts
        });
    }
    // The form that ci/proof.py reads.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("explored {name}: {cuts} cuts");
}
