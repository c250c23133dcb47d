//! The soak: much of the same for minutes, with memory, descriptors, tasks and processes flat.
//!
//! `bash mcp/tests/soak.sh`; the numbers can be chosen: `CYCLES=10000 SESSIONS=200 CALLS=100000`, and the
//! transport: `ONLY=http` or `ONLY=stdio`.

use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use libtest_mimic::Failed;
use moored_mcp::{CallError, CallOptions, GroupOptions, Policy, ServerParams, SessionGroup};
use tokio::runtime::Runtime;

use crate::invariants::Left;
use crate::scene::call;
use crate::support::http::{Server, legacy};
use crate::support::{at, fleet_server};

/// The growth of memory after the first three tenths that still counts as flat, because the memory that an allocator keeps
/// varies.
const FLAT_MIB: u64 = 16;

fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
}

/// All three, one after another.
pub(crate) fn run() -> Result<(), Failed> {
    let servers = Runtime::new()?;
    let server = servers.block_on(Server::start(|request| {
        // Some answers come while their callers give up.
        let pause = request.id.as_u64().unwrap_or_default() % 4;
        match request.rpc.as_str() {
            "tools/call" => legacy(request).after(Duration::from_millis(pause)),
            _ => legacy(request),
        }
    }));
    let clients = Runtime::new()?;
    clients.block_on(async {
        cycles(&server, number("CYCLES", 1_000)).await;
        at_once(&server, number("SESSIONS", 200)).await;
        calls(&server, number("CALLS", 10_000)).await;
    });
    Ok(())
}

/// One of two: half of them over HTTP, half children.
fn one(name: &str, n: usize, server: &Server) -> ServerParams {
    let over_http = match std::env::var("ONLY").as_deref() {
        Ok("http") => true,
        Ok("stdio") => false,
        _ => n.is_multiple_of(2),
    };
    if over_http { at(name, &server.url) } else { fleet_server(name, &[]) }
}

/// Sessions that come and go, a group that stays.
async fn cycles(server: &Server, count: usize) {
    let group = SessionGroup::start(GroupOptions::default());
    let mut course = Course::of("connect and disconnect", count);
    for n in 0..count {
        group.connect(one("s", n, server)).await.expect("it comes up");
        let report = group.disconnect("s").await.expect("it was connected");
        assert!(report.leave.clean, "{report:?}");
        course.step(n);
    }
    assert!(group.close().await.clean);
    course.end().await;
}

/// Many sessions at the same time, connected and left, a few times over.
async fn at_once(server: &Server, count: usize) {
    const ROUNDS: usize = 10;
    let mut course = Course::of(&format!("{count} sessions at once"), ROUNDS);
    for round in 0..ROUNDS {
        let group = SessionGroup::start(GroupOptions::default());
        let servers = (0..count).map(|n| one(&format!("s{n}"), n, server)).collect();
        let began = Instant::now();
        for result in group.connect_many(servers, Policy::BestEffort).await {
            result.expect("it comes up");
        }
        let connected = began.elapsed();
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        println!("  connected in {connected:.1?}, left in {} ms", report.leave_ms);
        course.step(round);
    }
    course.end().await;
}

/// Calls of which some end, some pass their limit, and some are dropped.
async fn calls(server: &Server, count: usize) {
    const SERVERS: usize = 8;
    const AT_ONCE: usize = 32;
    let group = SessionGroup::start(GroupOptions::default());
    let servers = (0..SERVERS).map(|n| one(&format!("s{n}"), n, server)).collect();
    for result in group.connect_many(servers, Policy::BestEffort).await {
        result.expect("it comes up");
    }
    let mut course = Course::of("calls", count);
    let mut random = Random(7);
    let mut under_way = FuturesUnordered::new();
    let (mut answered, mut late, mut dropped) = (0, 0, 0);
    for n in 0..count {
        let (kind, pause) = (random.below(3), Duration::from_micros(random.below(4_000)));
        let group = group.clone();
        under_way.push(async move {
            let server = format!("s{}", n % SERVERS);
            match kind {
                0 => Some(call(&group, &server, CallOptions::default()).await),
                1 => Some(call(&group, &server, CallOptions::timeout(pause)).await),
                _ => {
                    let called = call(&group, &server, CallOptions::default());
                    tokio::time::timeout(pause, called).await.ok()
                }
            }
        });
        if under_way.len() == AT_ONCE {
            match under_way.next().await.flatten() {
                Some(Ok(_)) => answered += 1,
                Some(Err(CallError::TimedOut { .. })) => late += 1,
                Some(Err(other)) => panic!("{other:?}"),
                None => dropped += 1,
            }
        }
        course.step(n);
    }
    while under_way.next().await.is_some() {}
    for n in 0..SERVERS {
        call(&group, &format!("s{n}"), CallOptions::default()).await.expect("it still answers");
    }
    println!("  {answered} answered, {late} timed out, {dropped} dropped");
    // Cancellations are told to a server one at a time.
    let before = Left::now().tasks;
    let began = Instant::now();
    while Left::now().tasks > 20 * SERVERS && began.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = Left::now().tasks;
    println!("  {before} tasks when the last call ends, {after} after {:.1?}", began.elapsed());
    assert!(after <= 20 * SERVERS, "tasks of calls that are over live on: {after}");
    let report = group.close().await;
    assert!(report.all_well(), "{report:?}");
    course.end().await;
}

/// Figures along the way.
struct Course {
    what: String,
    steps: usize,
    began: Instant,
    before: Left,
    /// The memory after three tenths, in MiB.
    settled: Option<u64>,
}

impl Course {
    fn of(what: &str, steps: usize) -> Self {
        println!("{what}, {steps} times");
        Self { what: what.into(), steps, began: Instant::now(), before: Left::now(), settled: None }
    }

    /// Counts a step; a line is printed ten times in all.
    fn step(&mut self, n: usize) {
        let tenth = (self.steps / 10).max(1);
        if (n + 1).is_multiple_of(tenth) {
            let (left, mib) = (Left::now(), resident());
            // An allocator takes its time to find how much it keeps.
            if n + 1 >= 3 * tenth {
                self.settled.get_or_insert(mib);
            }
            println!(
                "  {:>6}  {:>8.1?}  {mib} MiB, {} descriptors, {} tasks, {} processes",
                n + 1,
                self.began.elapsed(),
                left.descriptors,
                left.tasks,
                left.processes.len()
            );
        }
    }

    /// Nothing is left, and memory has stayed where it was.
    async fn end(self) {
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let left = Left::now();
            // The clients keep connections for a while; they have gone with the group.
            if left.tasks == 0 && left.processes.is_empty() {
                break;
            }
            assert!(Instant::now() < end, "{}: {left:#?}", self.what);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = Left::now();
        let (mib, settled) = (resident(), self.settled.unwrap_or_default());
        println!(
            "  in all {:.1?}; afterwards {mib} MiB ({settled} after three tenths), {} descriptors ({} before), 0 tasks, 0 processes",
            self.began.elapsed(),
            left.descriptors,
            self.before.descriptors
        );
        assert!(mib <= settled + FLAT_MIB, "{}: memory grows", self.what);
        assert!(left.descriptors <= self.before.descriptors + 1, "{}: descriptors", self.what);
    }
}

/// The memory of this process, in MiB.
pub(crate) fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024
}

/// A generator that is the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}
