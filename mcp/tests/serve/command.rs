//! The command: `moored-mcp serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::initialize;

const BINARY: &str = env!("CARGO_BIN_EXE_moored-mcp");

/// A configuration of a good server and a dead one.
fn config(dir: &std::path::Path) -> String {
    let path = dir.join("servers.json");
    let servers = json!({"mcpServers": {
        "good": {"command": BINARY, "args": ["fleet-server"]},
        "dead": {"command": "sh", "args": ["-c", "exit 7"]},
    }});
    std::fs::write(&path, servers.to_string()).expect("written");
    path.display().to_string()
}

fn start(args: &[&str]) -> Child {
    let mut command = Command::new(BINARY);
    command.arg("serve").args(args);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("started")
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().expect("an id")).expect("an id");
    kill_process(pid, signal).expect("sent");
}

/// The address that a gateway prints first, and the rest of its output.
fn address(child: &mut Child) -> (String, BufReader<ChildStdout>) {
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    let address =
        line.trim().strip_prefix("listening on http://").and_then(|it| it.strip_suffix("/mcp"));
    (address.expect("an address").to_owned(), stdout)
}

/// Calls the tool `sleep` of the good server; returns the connection.
fn sleep(address: &str, ms: u64) -> TcpStream {
    let call = json!({"jsonrpc": "2.0", "id": ms, "method": "tools/call", "params": {
        "name": "good__sleep", "arguments": {"ms": ms}, "_meta": {
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {}}}})
    .to_string();
    let mut stream = TcpStream::connect(address).expect("it listens");
    let head = format!(
        "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n\
         MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/call\r\nMcp-Name: good__sleep\r\n\
         Content-Length: {}\r\n\r\n",
        call.len()
    );
    stream.write_all(format!("{head}{call}").as_bytes()).expect("asked");
    stream
}

fn rest(pipe: &mut impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).expect("read");
    text
}

#[test]
fn over_http_the_address_comes_first_and_the_report_last() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&[&config(dir.path()), "--listen", "127.0.0.1:0"]);
    let (address, mut stdout) = address(&mut child);
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("asked");
    assert!(rest(&mut stream).starts_with("HTTP/1.1 200"));
    let began = Instant::now();
    signal(&child, Signal::INT);
    let report = rest(&mut stdout);
    let log = rest(child.stderr.as_mut().expect("a pipe"));
    let status = child.wait().expect("ended");
    assert!(status.success() && began.elapsed() < Duration::from_secs(6), "{status} {log}");
    assert!(report.contains("good") && report.contains("left in"), "{report}");
    assert!(log.contains("SIGINT"), "{log}");
}

#[test]
fn over_stdio_stdout_is_the_protocols_and_the_end_of_the_input_ends_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&[&config(dir.path()), "--json"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let call =
        json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "dead__any"}});
    let list = json!({"jsonrpc": "2.0", "id": 2, "method": "tools/list"});
    stdin.write_all(format!("{}\n{call}\n{list}\n", initialize()).as_bytes()).expect("written");
    drop(stdin);
    let said = rest(child.stdout.as_mut().expect("a pipe"));
    let messages: Vec<Value> =
        said.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(messages.len(), 3, "{said}");
    assert!(said.contains("status 7") && said.contains("good__echo"), "{said}");
    let log = rest(child.stderr.as_mut().expect("a pipe"));
    assert!(log.contains("\"version\": 1"), "{log}");
    assert!(child.wait().expect("ended").success(), "{log}");
}

#[test]
fn what_cannot_be_served_is_said_before_anything_is_started() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    for (args, words) in [
        (&["missing.json"][..], "missing.json"),
        (&[&config, "--listen", "0.0.0.0:0"], "--token-env"),
        (
            &[&config, "--listen", "127.0.0.1:0", "--token-env", "NOT_SET_ANYWHERE"],
            "NOT_SET_ANYWHERE",
        ),
        (&[&config, "--listen", "127.0.0.1:0", "--path", "mcp"], "slash"),
        (&[&config, "--listen", "127.0.0.1:0", "--path", "/health"], "/health"),
        (&[&config, "--listen", "127.0.0.1:0", "--path", "/a b"], "no path"),
        (&[&config, "--listen", "127.0.0.1:0", "--path", "/a?b"], "no path"),
        (
            &[&config, "--listen", "127.0.0.1:0", "--allow-origin", "https://x/"],
            "a scheme and a name",
        ),
        (
            &[&config, "--listen", "127.0.0.1:0", "--allow-origin", "app.example"],
            "a scheme and a name",
        ),
        (&[&config, "--listen", "127.0.0.1:0", "--allow-origin", "*"], "a scheme and a name"),
        (&[&config, "--listen", "127.0.0.1:0", "--allow-host", "x:1"], "without a port"),
        (&[&config, "--listen", "127.0.0.1:0", "--allow-host", "*"], "without a port"),
        (&[&config, "--drain", "5s"], "--budget"),
        (&[&config, "--stdio", "--listen", "127.0.0.1:0"], "cannot be used with"),
    ] {
        let mut child = start(args);
        let log = rest(child.stderr.as_mut().expect("a pipe"));
        assert_eq!(child.wait().expect("ended").code(), Some(2), "{args:?}: {log}");
        assert!(log.contains(words), "{args:?}: {log}");
    }
}

#[test]
fn sigterm_lets_calls_come_to_their_end_and_answers_the_others() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&[&config(dir.path()), "--listen", "127.0.0.1:0", "--drain", "1s"]);
    let (address, mut stdout) = address(&mut child);
    // The first one waits for the server, so that the others are under way when the signal comes.
    assert!(rest(&mut sleep(&address, 1)).contains("slept 1 ms"));
    let (mut short, mut long) = (sleep(&address, 500), sleep(&address, 60_000));
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    signal(&child, Signal::TERM);
    let (short, long) = (rest(&mut short), rest(&mut long));
    assert!(short.contains("slept 500 ms"), "{short}");
    assert!(long.contains("the gateway is closing"), "{long}");
    let report = rest(&mut stdout);
    let status = child.wait().expect("ended");
    assert!(status.success() && began.elapsed() < Duration::from_secs(5), "{status} {report}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn over_stdio_a_signal_lets_calls_come_to_their_end_as_well() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&[&config(dir.path()), "--drain", "1s"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let call = |ms: u64| {
        let params = json!({"name": "good__sleep", "arguments": {"ms": ms}});
        json!({"jsonrpc": "2.0", "id": ms, "method": "tools/call", "params": params})
    };
    stdin.write_all(format!("{}\n{}\n", initialize(), call(1)).as_bytes()).expect("written");
    let mut line = String::new();
    while !line.contains("slept 1 ms") {
        line.clear();
        assert!(stdout.read_line(&mut line).expect("read") > 0, "an answer");
    }
    stdin.write_all(format!("{}\n{}\n", call(500), call(60_000)).as_bytes()).expect("written");
    std::thread::sleep(Duration::from_millis(200));
    signal(&child, Signal::INT);
    let said = rest(&mut stdout);
    assert!(said.contains("slept 500 ms"), "{said}");
    assert!(said.contains("the gateway is closing"), "{said}");
    assert!(child.wait().expect("ended").success());
}

#[test]
fn a_token_is_asked_of_a_client_as_its_configuration_has_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let config = config(dir.path());
    let mut command = Command::new(BINARY);
    command.args(["serve", &config, "--listen", "127.0.0.1:0", "--token-env", "FLEET_TOKEN"]);
    command.env("FLEET_TOKEN", "s3cret-t0ken").stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("started");
    let (address, mut stdout) = address(&mut child);
    let client = dir.path().join("client.json");
    for (token, outcome, code) in [
        (Some("s3cret-t0ken"), "ok", 0),
        (Some("another"), "auth_required", 1),
        (None, "auth_required", 1),
    ] {
        let mut fleet = json!({"url": format!("http://{address}/mcp")});
        if let Some(token) = token {
            fleet["headers"] = json!({"Authorization": format!("Bearer {token}")});
        }
        std::fs::write(&client, json!({"mcpServers": {"fleet": fleet}}).to_string())
            .expect("written");
        let mut doctor = Command::new(BINARY);
        let doctor = doctor.args(["doctor", "--json"]).arg(&client).output().expect("run");
        let report: Value = serde_json::from_slice(&doctor.stdout).expect("a report");
        let fleet = &report["servers"][0];
        assert_eq!(fleet["outcome"], outcome, "{token:?}: {report:#}");
        assert_eq!(doctor.status.code(), Some(code), "{token:?}: {report:#}");
        if token.is_some() && code == 0 {
            assert!(fleet["tools"].as_u64() >= Some(3), "{report:#}");
            assert_eq!(fleet["leave"]["clean"], true, "{report:#}");
        }
        let all = [doctor.stdout, doctor.stderr].concat();
        assert!(!String::from_utf8_lossy(&all).contains("t0ken"), "{report:#}");
    }
    signal(&child, Signal::TERM);
    let report = rest(&mut stdout);
    let log = rest(child.stderr.as_mut().expect("a pipe"));
    assert!(child.wait().expect("ended").success());
    assert!(!report.contains("s3cret") && !log.contains("s3cret"), "{report} {log}");
}

#[test]
fn a_client_that_was_killed_in_the_middle_of_a_call_is_not_waited_for() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&[&config(dir.path())]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let call = |id: u64, ms: u64| {
        let params = json!({"name": "good__sleep", "arguments": {"ms": ms}});
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params})
    };
    let text = format!("{}\n{}\n", initialize(), call(1, 1));
    stdin.write_all(text.as_bytes()).expect("written");
    let mut line = String::new();
    while !line.contains("slept 1 ms") {
        line.clear();
        assert!(stdout.read_line(&mut line).expect("read") > 0, "an answer");
    }
    stdin.write_all(format!("{}\n", call(2, 60_000)).as_bytes()).expect("written");
    std::thread::sleep(Duration::from_millis(200));
    let began = Instant::now();
    // The kernel closes the pipes of a client that was killed.
    drop((stdin, stdout, child.stderr.take()));
    let status = child.wait().expect("ended");
    assert!(began.elapsed() < Duration::from_secs(6), "{:?} {status}", began.elapsed());
    assert!(status.success(), "{status}");
}

#[test]
fn over_stdio_a_client_that_reads_nothing_is_dropped_and_the_servers_left() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut child = start(&[&config(dir.path()), "--unread", "300ms"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let unread = child.stdout.take().expect("a pipe");
    let asking = std::thread::spawn(move || {
        let _dropped = stdin.write_all(format!("{}\n", initialize()).as_bytes());
        let message = "x".repeat(4096);
        for id in 1..100_000 {
            let call = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
                "name": "good__echo", "arguments": {"message": message}}});
            if stdin.write_all(format!("{call}\n").as_bytes()).is_err() {
                return id;
            }
        }
        100_000
    });
    let log = rest(child.stderr.as_mut().expect("a pipe"));
    let status = child.wait().expect("ended");
    assert!(asking.join().expect("no panic") < 100_000);
    assert!(log.contains("the client at the pipe was dropped"), "{log}");
    assert!(log.contains("left in") && status.success(), "{status} {log}");
    drop(unread);
}
