//! The cost of connecting and leaving 1, 50 and 200 sessions: this crate beside stock `rmcp`.
//!
//! ```sh
//! cargo bench -p moored-mcp --bench sessions              # everything
//! cargo bench -p moored-mcp --bench sessions -- --quick   # few rounds
//! cargo bench -p moored-mcp --bench sessions -- stdio/50  # the questions with this prefix: http, shared-http, stdio, idle
//! cargo bench -p moored-mcp --bench sessions -- --page    # also the tables of docs/mcp-comparison.md
//! cargo bench -p moored-mcp --bench sessions -- --rows http stdio # also the rows for docs/benchmarks.md, in about two minutes
//! ```
//!
//! Three kinds of work of `rmcp` stand beside ours, because a comparison of unequal work says little: the same requests and its
//! own `cancel`; of children also what our leaving does beyond that, by hand; and the handshake alone, the least that a session
//! takes. A whole run saves its rows, a run of some questions only with `--rows`, and a quick run never.
//!
//! The contenders take turns, round by round, in one process, so that the machine's noise is in all of them. Every round
//! begins with nothing (the HTTP client is built in it) and ends with nothing: connecting is over when every session is
//! up and its lists are read, leaving when every session has been ended on its server and every child is reaped.
//!
//! Figures of one run can be compared with each other, and with nothing else.

use std::alloc::System;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[path = "sessions/contenders.rs"]
mod contenders;
#[path = "sessions/figures.rs"]
mod figures;
#[path = "../src/fleet/handler.rs"]
#[expect(dead_code, reason = "the bench needs no faults")]
mod handler;
#[path = "sessions/idle.rs"]
mod idle;
#[path = "sessions/page.rs"]
mod page;
#[path = "sessions/server.rs"]
mod server;

use contenders::{Contender, Target};
use figures::{Figures, Phase};
use server::Server;

/// Counts the allocations of every thread, including those of the servers in this process: the counting costs all
/// contenders the same.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The number of sessions, and the number of rounds in a full and in a quick run.
const SIZES: [(usize, usize, usize); 3] = [(1, 101, 15), (50, 21, 5), (200, 11, 3)];
/// The pause between two rounds, so that the servers have closed one contender's connections before the turn of the
/// next.
const PAUSE: Duration = Duration::from_millis(20);
/// The limit of a round; a longer one is a fault.
const ROUND_LIMIT: Duration = Duration::from_secs(60);

/// The servers of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fleet {
    /// A streamable HTTP server in this process for each session.
    Http,
    /// One such server for all sessions.
    SharedHttp,
    /// A child process for each session.
    Stdio,
}

impl Fleet {
    const ALL: [Self; 3] = [Self::Http, Self::SharedHttp, Self::Stdio];

    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::SharedHttp => "shared-http",
            Self::Stdio => "stdio",
        }
    }

    /// The name of the fleet in the figures.
    fn servers(self) -> &'static str {
        match self {
            Self::Http => "HTTP servers",
            Self::SharedHttp => "one HTTP server for all",
            Self::Stdio => "stdio children",
        }
    }

    fn targets(self, count: usize, servers: &[Server]) -> Vec<Target> {
        let target = |n: usize| match self {
            Self::Http => Target::Http(servers[n].url()),
            Self::SharedHttp => Target::Http(servers[0].url()),
            Self::Stdio => Target::Stdio(env!("CARGO_BIN_EXE_moored-mcp")),
        };
        (0..count).map(target).collect()
    }
}

fn main() {
    if idle::are_the_servers() {
        return;
    }
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    let filters: Vec<&String> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let wanted = |question: &str| {
        filters.is_empty() || filters.iter().any(|prefix| question.starts_with(*prefix))
    };
    raise_descriptor_limit();
    let load = page::load();

    let idle = wanted("idle").then(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.expect("a runtime").block_on(idle::measure())
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    let figures = runtime.block_on(async {
        let mut servers = Vec::new();
        for n in 0..SIZES.iter().map(|size| size.0).max().unwrap_or(1) {
            servers.push(Server::start(format!("server-{n}")).await.expect("a port"));
        }
        let mut figures = Figures::default();
        for fleet in Fleet::ALL {
            for (count, full_rounds, quick_rounds) in SIZES {
                let question = format!("{}/{count}", fleet.name());
                if wanted(&question) && !(fleet == Fleet::SharedHttp && count == 1) {
                    let rounds = if quick { quick_rounds } else { full_rounds };
                    let targets = fleet.targets(count, &servers);
                    rounds_of(fleet.servers(), &targets, rounds, &mut figures).await;
                }
            }
        }
        figures
    });
    figures.print();
    for it in idle.iter().flatten() {
        println!(
            "idle, {}, {}: {:.1} KiB, {:.2} tasks, {:.2} descriptors a session",
            it.fleet.servers(),
            it.contender.name(),
            it.bytes / 1024.0,
            it.tasks,
            it.descriptors
        );
    }
    if args.iter().any(|arg| arg == "--page") {
        page::write(&figures, idle.as_deref().unwrap_or_default(), &load);
    }
    if !quick && (filters.is_empty() || args.iter().any(|arg| arg == "--rows")) {
        let file = results().join("mcp.jsonl");
        match figures.save(&file) {
            Ok(()) => println!("\nrows: {}", file.display()),
            Err(error) => panic!("{}: {error}", file.display()),
        }
    }
}

/// `BENCH_RESULTS`, or `bench` in cargo's target directory.
fn results() -> PathBuf {
    let named = std::env::var_os("BENCH_RESULTS").map(PathBuf::from);
    named.unwrap_or_else(|| Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench"))
}

/// Lets the contenders take turns.
async fn rounds_of(servers: &str, targets: &[Target], rounds: usize, figures: &mut Figures) {
    // The first round fills caches, the allocator and the page cache, and is not counted.
    for round in 0..=rounds {
        let mut turns = Contender::with(&targets[0]);
        let places = turns.len();
        turns.rotate_left(round / 2 % places);
        // In alternating directions, so that a contender does not always come after the same
        // other one.
        if round % 2 == 1 {
            turns.reverse();
        }
        for contender in turns {
            let phases = tokio::time::timeout(ROUND_LIMIT, contender.round(targets));
            let (connect, leave) = phases.await.expect("a round is over within its limit");
            if round > 0 {
                figures.add(servers, targets.len(), contender, connect, leave);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Times `work` and counts its allocations.
async fn measured<T>(work: impl Future<Output = T>) -> (T, Phase) {
    let (connections, spent) = (server::accepted(), processor_time());
    let region = Region::new(ALLOCATOR);
    let began = Instant::now();
    let value = work.await;
    let took = began.elapsed();
    let allocations = region.change().allocations;
    let processor = processor_time() - spent;
    (value, Phase { took, processor, allocations, connections: server::accepted() - connections })
}

/// The processor time of this process, without its children: on a busy machine it is more precise than the elapsed
/// time.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

/// Two hundred sessions, both ends in one process, are more descriptors than the usual soft limit.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
