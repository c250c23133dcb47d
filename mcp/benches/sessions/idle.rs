//! The costs of an idle session: memory, tasks, descriptors.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::contenders::{Contender, Target};
use crate::server::Server;
use crate::{ALLOCATOR, Fleet};

/// The number of sessions whose sum is measured, so that the part that all share is small.
pub(crate) const SESSIONS: usize = 200;
/// The argument that makes this program the servers of the question.
const SERVERS: &str = "--servers";
/// The time in which connections and tasks of the handshake end.
const SETTLE: Duration = Duration::from_millis(300);
const ROUNDS: usize = 3;

/// The sums of all sessions, divided by their number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Idle {
    pub(crate) fleet: Fleet,
    pub(crate) contender: Contender,
    /// Bytes that were allocated and not freed.
    pub(crate) bytes: f64,
    pub(crate) tasks: f64,
    pub(crate) descriptors: f64,
}

/// Whether this program was started as the servers; then it has served until its input ended.
pub(crate) fn are_the_servers() -> bool {
    if !std::env::args().any(|arg| arg == SERVERS) {
        return false;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let _served = runtime.expect("a runtime").block_on(async {
        let mut servers = Vec::new();
        for n in 0..SESSIONS {
            let server = Server::start(format!("server-{n}")).await.expect("a port");
            println!("{}", server.url());
            servers.push(server);
        }
        let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
        let _at_its_end = ended.await;
        servers
    });
    true
}

/// The HTTP servers, in a process of their own: their memory and their tasks are not counted. They end with their input,
/// when this value is dropped.
struct Apart {
    process: Child,
    urls: Vec<String>,
}

impl Apart {
    fn start() -> Self {
        let this = std::env::current_exe().expect("this program");
        let mut process = Command::new(this)
            .arg(SERVERS)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let urls = lines.take(SESSIONS).map(|line| line.expect("an address")).collect();
        Self { process, urls }
    }
}

impl Drop for Apart {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _reaped = self.process.wait();
    }
}

/// Measures all contenders, over HTTP and over stdio.
pub(crate) async fn measure() -> Vec<Idle> {
    let servers = Apart::start();
    let mut all = Vec::new();
    for fleet in [Fleet::Http, Fleet::Stdio] {
        let target = |url: &String| match fleet {
            Fleet::Stdio => Target::Stdio(env!("CARGO_BIN_EXE_moored-mcp")),
            Fleet::Http | Fleet::SharedHttp => Target::Http(url.clone()),
        };
        let targets: Vec<Target> = servers.urls.iter().map(target).collect();
        for contender in [Contender::Ours, Contender::Rmcp] {
            // The first round sets up what the process keeps for ever.
            let mut rounds = Vec::new();
            for _ in 0..=ROUNDS {
                rounds.push(round(&targets, contender).await);
            }
            let least = |figure: usize| {
                rounds[1..].iter().map(|it| it[figure]).min().unwrap_or_default() as f64
            };
            let each = |figure| least(figure) / SESSIONS as f64;
            let (bytes, tasks, descriptors) = (each(0), each(1), each(2));
            all.push(Idle { fleet, contender, bytes, tasks, descriptors });
        }
    }
    all
}

async fn round(targets: &[Target], contender: Contender) -> [usize; 3] {
    let before = look();
    let connected = contender.connect(targets).await;
    tokio::time::sleep(SETTLE).await;
    let after = look();
    connected.leave().await;
    tokio::time::sleep(SETTLE).await;
    [0, 1, 2].map(|figure| after[figure].saturating_sub(before[figure]))
}

/// Live bytes, tasks of this runtime, open descriptors of this process.
fn look() -> [usize; 3] {
    let heap = ALLOCATOR.stats();
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let descriptors = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    [heap.bytes_allocated - heap.bytes_deallocated, tasks, descriptors]
}
