//! Calls with random cancellation through `moored-mcp serve`: clients of both eras at both of its fronts, servers of both
//! transports.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use moored_mcp::{
    Adopted, CallError, CallOptions, Era, GroupOptions, Policy, ServerParams, SessionGroup,
};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::course::resident_of;
use crate::support::at;
use crate::support::http::{Server, legacy};

/// The servers behind the gateway, half of them over HTTP, and its clients, half of them of the older era.
const SERVERS: usize = 8;
const CLIENTS: usize = 8;
/// The calls under way at once.
const AT_ONCE: usize = 32;
/// The growth of the gateway's resident memory after the first tenth that still counts as flat.
const FLAT_MIB: u64 = 16;
/// The number of tasks and of descriptors above those after the first tenth that still counts as flat. Connections to the
/// servers are kept for later requests, and each has both.
const FLAT: usize = 2 * AT_ONCE;
/// The time for the last cancellations to be told to the servers.
const SETTLE: Duration = Duration::from_secs(20);

/// The servers behind HTTP, and the number of cancellations that they were told of.
async fn servers() -> (Server, Arc<AtomicUsize>) {
    let cancelled = Arc::new(AtomicUsize::new(0));
    let told = cancelled.clone();
    let server = Server::start(move |request| match request.rpc.as_str() {
        // Some answers come while their callers give up.
        "tools/call" => {
            let pause = request.id.as_u64().unwrap_or_default() % 8;
            legacy(request).after(Duration::from_millis(pause))
        }
        "notifications/cancelled" => {
            told.fetch_add(1, Ordering::Relaxed);
            legacy(request)
        }
        _ => legacy(request),
    })
    .await;
    (server, cancelled)
}

/// Makes `count` calls over HTTP. The configuration is written to `place`.
pub(super) async fn calls(count: usize, place: &Path) {
    println!("calls through `moored-mcp serve` over HTTP, {count} times");
    let (server, cancelled) = servers().await;
    let gateway = Gateway::over_http(&server.url, place).await;
    let group = SessionGroup::start(GroupOptions::default());
    let url = format!("http://{}/mcp", gateway.address);
    let clients = (0..CLIENTS).map(|n| {
        let client = at(&format!("c{n}"), &url);
        if n.is_multiple_of(2) { client } else { client.era(Era::Legacy) }
    });
    for result in group.connect_many(clients.collect(), Policy::BestEffort).await {
        result.expect("it comes up");
    }
    play(&gateway, &group, CLIENTS, count, &cancelled).await;
    let report = group.close().await;
    assert!(report.all_well(), "{report:?}");
    gateway.interrupt();
    gateway.end().await;
    assert_eq!(server.deletes(), SERVERS / 2);
}

/// Makes `count` calls over stdio, half of them as a client of each era.
pub(super) async fn calls_over_stdio(count: usize, place: &Path) {
    for (era, name) in [(Era::Legacy, "older"), (Era::Auto, "newer")] {
        println!(
            "calls through `moored-mcp serve` over stdio in the {name} era, {} times",
            count / 2
        );
        let (server, cancelled) = servers().await;
        let (gateway, pipe) = Gateway::over_stdio(&server.url, place);
        let (adopted, returned) = Adopted::pipe(pipe.0, pipe.1);
        let group = SessionGroup::start(GroupOptions::default());
        let client = ServerParams::adopted("c0", adopted).era(era);
        group.connect(client).await.expect("it comes up");
        play(&gateway, &group, 1, count / 2, &cancelled).await;
        let report = group.close().await;
        assert!(report.all_well(), "{report:?}");
        drop(group);
        // The end of its input ends it.
        drop(returned.await.expect("the pipe"));
        gateway.end().await;
        assert_eq!(server.deletes(), SERVERS / 2);
    }
}

/// Makes `count` calls through the clients `c0`, `c1`, … of a gateway, and checks its figures.
async fn play(
    gateway: &Gateway,
    group: &SessionGroup,
    clients: usize,
    count: usize,
    cancelled: &AtomicUsize,
) {
    let began = Instant::now();
    let (mut random, mut ends) = (Random(7), Ends::default());
    let (tenth, mut first) = ((count / 10).max(1), None);
    let mut made = 0;
    while made < count {
        let until = (made + tenth).min(count);
        let mut under_way = FuturesUnordered::new();
        while made < until || !under_way.is_empty() {
            if made < until && under_way.len() < AT_ONCE {
                under_way.push(call(group, clients, made, &mut random));
                made += 1;
            } else if let Some(end) = under_way.next().await {
                ends.count(end);
            }
        }
        let figures = gateway.settled(first.as_ref()).await;
        println!("  {made:>6}  {:>8.1?}  {figures}", began.elapsed());
        first.get_or_insert(figures);
    }
    let (first, last) = (first.expect("a tenth"), gateway.figures().await);
    println!(
        "  {} answered, {} timed out, {} dropped; the servers behind HTTP were told of {} cancellations",
        ends.answered,
        ends.late,
        ends.dropped,
        cancelled.load(Ordering::Relaxed)
    );
    for n in 0..SERVERS {
        let name = format!("c0/s{n}__{}", tool(n));
        let answered = group.call_tool(&name, args(n, 0), CallOptions::default()).await;
        answered.expect("it still answers");
    }
    assert!(ends.late > 0 && ends.dropped > 0 && cancelled.load(Ordering::Relaxed) > 0);
    assert!(last.mib <= first.mib + FLAT_MIB, "its memory grows: {first}, then {last}");
    assert!(last.descriptors <= first.descriptors + FLAT, "descriptors: {first}, then {last}");
    assert_eq!(last.children, first.children, "{first}, then {last}");
    println!("  in all {:.1?}", began.elapsed());
}

/// The end of a call.
enum End {
    Answered,
    Late,
    Dropped,
}

#[derive(Default)]
struct Ends {
    answered: usize,
    late: usize,
    dropped: usize,
}

impl Ends {
    fn count(&mut self, end: End) {
        *match end {
            End::Answered => &mut self.answered,
            End::Late => &mut self.late,
            End::Dropped => &mut self.dropped,
        } += 1;
    }
}

/// The tool of the server `n`, and its arguments.
fn tool(n: usize) -> &'static str {
    if n.is_multiple_of(2) { "echo" } else { "sleep" }
}

fn args(n: usize, ms: u64) -> Map<String, Value> {
    let args = if n.is_multiple_of(2) { json!({"text": "ahoy"}) } else { json!({"ms": ms}) };
    let Value::Object(args) = args else { unreachable!("an object") };
    args
}

/// A call that ends, or passes its limit, or is dropped.
fn call(
    group: &SessionGroup,
    clients: usize,
    n: usize,
    random: &mut Random,
) -> impl Future<Output = End> + use<> {
    let (kind, pause) = (random.below(3), Duration::from_micros(random.below(12_000)));
    // The eras of the clients and the transports of the servers come in every combination.
    let (client, to) = (n % clients, (n / clients) % SERVERS);
    let (name, args) = (format!("c{client}/s{to}__{}", tool(to)), args(to, random.below(8)));
    let group = group.clone();
    let usual = CallOptions::default();
    async move {
        let called = match kind {
            0 => group.call_tool(&name, args, usual).await,
            1 => group.call_tool(&name, args, CallOptions::timeout(pause)).await,
            _ => match tokio::time::timeout(pause, group.call_tool(&name, args, usual)).await {
                Ok(called) => called,
                Err(_) => return End::Dropped,
            },
        };
        match called {
            Ok(_) => End::Answered,
            Err(CallError::TimedOut { .. }) => End::Late,
            Err(other) => panic!("{name}: {other:?}"),
        }
    }
}

/// The program.
struct Gateway {
    process: Child,
    id: u32,
    /// Empty over stdio.
    address: String,
}

/// The program's figures.
struct Figures {
    mib: u64,
    descriptors: usize,
    threads: usize,
    /// The numbers of tasks and of requests under way, which only `/health` tells.
    under_way: Option<(usize, usize)>,
    children: usize,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { mib, descriptors, threads, under_way, children } = self;
        write!(
            f,
            "{mib} MiB resident, {descriptors} descriptors, {threads} threads, {children} children"
        )?;
        let Some((tasks, requests)) = under_way else { return Ok(()) };
        write!(f, ", {tasks} tasks, {requests} requests")
    }
}

impl Gateway {
    /// The program, in front of servers of both transports.
    fn command(url: &str, place: &Path) -> Command {
        const BINARY: &str = env!("CARGO_BIN_EXE_moored-mcp");
        let servers = (0..SERVERS).map(|n| {
            let server = match n.is_multiple_of(2) {
                true => json!({"url": url}),
                false => json!({"command": BINARY, "args": ["fleet-server", "--life", "60m"]}),
            };
            (format!("s{n}"), server)
        });
        let (config, log) = (place.join("servers.json"), place.join("serve.log"));
        let servers = json!({"mcpServers": Value::Object(servers.collect())});
        std::fs::write(&config, servers.to_string()).expect("written");
        let mut command = Command::new(BINARY);
        command.arg("serve").arg(config);
        command
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(log).expect("a file"))
            .kill_on_drop(true);
        command
    }

    async fn over_http(url: &str, place: &Path) -> Self {
        let mut command = Self::command(url, place);
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        let mut process = command.spawn().expect("it starts");
        let mut line = String::new();
        let said = process.stdout.as_mut().expect("a pipe");
        BufReader::with_capacity(1, said).read_line(&mut line).await.expect("a line");
        let address = line.trim().strip_prefix("listening on http://");
        let address =
            address.and_then(|it| it.strip_suffix("/mcp")).expect("its address").to_owned();
        let id = process.id().expect("it runs");
        Self { process, id, address }
    }

    fn over_stdio(url: &str, place: &Path) -> (Self, (ChildStdout, ChildStdin)) {
        let mut process =
            Self::command(url, place).stdin(Stdio::piped()).spawn().expect("it starts");
        let pipe = (process.stdout.take().expect("a pipe"), process.stdin.take().expect("a pipe"));
        let id = process.id().expect("it runs");
        (Self { process, id, address: String::new() }, pipe)
    }

    /// The figures, once no request is under way and, if there were figures before, no more tasks and descriptors.
    async fn settled(&self, before: Option<&Figures>) -> Figures {
        let began = Instant::now();
        loop {
            let figures = self.figures().await;
            let is_idle = figures.under_way.is_none_or(|(_, requests)| requests == 0);
            let tasks = |it: &Figures| it.under_way.map(|(tasks, _)| tasks);
            let is_flat = |before: &Figures| {
                figures.descriptors <= before.descriptors + FLAT
                    && tasks(&figures) <= tasks(before).map(|tasks| tasks + FLAT)
            };
            if is_idle && before.is_none_or(is_flat) {
                return figures;
            }
            assert!(began.elapsed() < SETTLE, "calls that are over live on: {figures}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn figures(&self) -> Figures {
        let mut under_way = None;
        if !self.address.is_empty() {
            let health = self.health().await;
            let number = |name: &str| {
                health[name].as_u64().and_then(|it| it.try_into().ok()).expect("a number")
            };
            under_way = Some((number("tasks"), number("requests")));
        }
        let count = |what: &str| {
            std::fs::read_dir(format!("/proc/{}/{what}", self.id)).expect("/proc").count()
        };
        Figures {
            mib: resident_of(self.id),
            descriptors: count("fd"),
            threads: count("task"),
            under_way,
            children: self.children().len(),
        }
    }

    async fn health(&self) -> Value {
        let mut stream = TcpStream::connect(&self.address).await.expect("it listens");
        let request = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
        serde_json::from_str(body).expect("JSON")
    }

    /// The children of the program, zombies included.
    fn children(&self) -> Vec<u32> {
        let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
        let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        ids.filter(|id| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1));
            parent.and_then(|parent| parent.parse().ok()) == Some(self.id)
        })
        .collect()
    }

    /// Ends it as Ctrl-C does.
    fn interrupt(&self) {
        let id = Pid::from_raw(self.id.cast_signed()).expect("an id");
        kill_process(id, Signal::INT).expect("it runs");
    }

    /// Waits for its end. It leaves nothing behind.
    async fn end(mut self) {
        let children = self.children();
        let mut report = String::new();
        if let Some(said) = self.process.stdout.as_mut() {
            said.read_to_string(&mut report).await.expect("its report");
        }
        let status = self.process.wait().await.expect("it is reaped");
        assert!(status.success(), "{status}: {report}");
        let is_there = |id: &&u32| Path::new(&format!("/proc/{id}")).exists();
        assert_eq!(children.iter().filter(is_there).count(), 0, "{report}");
        println!("  the gateway has left its servers cleanly");
    }
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
