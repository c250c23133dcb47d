//! The soak: much of the same for minutes, with memory, descriptors, tasks and processes flat.
//!
//! `bash mcp/tests/soak.sh`; the numbers can be chosen: `CYCLES=10000 SESSIONS=200 ROUNDS=50 CALLS=100000`, and the
//! transport: `ONLY=http` or `ONLY=stdio`. A test of every run does a little of each.
//!
//! The sessions live in a process of their own, so that its memory is theirs. The servers behind HTTP, and the records that
//! they keep of every request, are in this one.

mod course;
mod served;

use std::time::Instant;

use libtest_mimic::Failed;
use moored_mcp::{GroupOptions, Policy, ServerParams, SessionGroup};
use tokio::process::Command;
use tokio::runtime::Runtime;

use self::course::Course;
pub(crate) use self::course::resident;
use crate::support::http::{Server, legacy};
use crate::support::{at, fleet_server};

/// The variable by which a process is told to run the sessions: it has the address of the servers behind HTTP.
pub(crate) const PLAY: &str = "MOORED_MCP_SOAK";

/// How much of each.
#[derive(Debug, Clone, Copy)]
struct Amounts {
    cycles: usize,
    sessions: usize,
    rounds: usize,
    calls: usize,
}

const LONG: Amounts = Amounts { cycles: 1_000, sessions: 200, rounds: 10, calls: 10_000 };
const SHORT: Amounts = Amounts { cycles: 50, sessions: 20, rounds: 5, calls: 500 };

impl Amounts {
    /// These, unless the environment has others.
    fn chosen(self) -> Self {
        let number = |variable: &str, usual: usize| {
            std::env::var(variable).ok().and_then(|value| value.parse().ok()).unwrap_or(usual)
        };
        Self {
            cycles: number("CYCLES", self.cycles),
            sessions: number("SESSIONS", self.sessions),
            rounds: number("ROUNDS", self.rounds),
            calls: number("CALLS", self.calls),
        }
    }
}

/// The whole, with its figures.
pub(crate) fn long() -> Result<(), Failed> {
    run(LONG.chosen())
}

/// Less of it.
pub(crate) fn short() -> Result<(), Failed> {
    run(SHORT)
}

fn run(amounts: Amounts) -> Result<(), Failed> {
    let place = tempfile::tempdir()?;
    Runtime::new()?.block_on(async {
        let server = Server::start(legacy).await;
        let mut sessions = Command::new(std::env::current_exe()?);
        sessions.env(PLAY, &server.url).env("TMPDIR", place.path()).kill_on_drop(true);
        for (variable, number) in
            [("CYCLES", amounts.cycles), ("SESSIONS", amounts.sessions), ("ROUNDS", amounts.rounds)]
        {
            sessions.env(variable, number.to_string());
        }
        let status = sessions.status().await?;
        if !status.success() {
            return Err(format!("the process of the sessions ended with {status}").into());
        }
        served::calls(amounts.calls, place.path()).await;
        served::calls_over_stdio(amounts.calls, place.path()).await;
        Ok(())
    })
}

/// The process of the sessions.
pub(crate) fn play(url: &str) {
    let amounts = LONG.chosen();
    Runtime::new().expect("a runtime").block_on(async {
        cycles(url, amounts.cycles).await;
        at_once(url, amounts.sessions, amounts.rounds).await;
    });
}

/// A server: half of them are behind HTTP, half are children.
fn one(name: &str, n: usize, url: &str) -> ServerParams {
    let over_http = match std::env::var("ONLY").as_deref() {
        Ok("http") => true,
        Ok("stdio") => false,
        _ => n.is_multiple_of(2),
    };
    if over_http { at(name, url) } else { fleet_server(name, &[]) }
}

/// Sessions that come and go, a group that stays.
async fn cycles(url: &str, count: usize) {
    let group = SessionGroup::start(GroupOptions::default());
    let mut course = Course::of("connect and disconnect", count);
    for n in 0..count {
        group.connect(one("s", n, url)).await.expect("it comes up");
        let report = group.disconnect("s").await.expect("it was connected");
        assert!(report.leave.clean, "{report:?}");
        course.step(n);
    }
    assert!(group.close().await.clean);
    course.end().await;
}

/// Many sessions at the same time, connected and left, a few times over.
async fn at_once(url: &str, count: usize, rounds: usize) {
    let mut course = Course::of(&format!("{count} sessions at once"), rounds);
    for round in 0..rounds {
        let group = SessionGroup::start(GroupOptions::default());
        let servers = (0..count).map(|n| one(&format!("s{n}"), n, url)).collect();
        let began = Instant::now();
        for result in group.connect_many(servers, Policy::BestEffort).await {
            result.expect("it comes up");
        }
        let connected = began.elapsed();
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        drop(group);
        println!("  connected in {connected:.1?}, left in {} ms", report.leave_ms);
        course.step(round);
    }
    course.end().await;
}
