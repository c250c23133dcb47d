//! The command: `moored-mcp serve`.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
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

fn signal(child: &Child) {
    let pid = Pid::from_raw(child.id().try_into().expect("an id")).expect("an id");
    kill_process(pid, Signal::INT).expect("sent");
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
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    let address =
        line.trim().strip_prefix("listening on http://").and_then(|it| it.strip_suffix("/mcp"));
    let mut stream =
        std::net::TcpStream::connect(address.expect("an address")).expect("it listens");
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .expect("asked");
    assert!(rest(&mut stream).starts_with("HTTP/1.1 200"));
    let began = Instant::now();
    signal(&child);
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
        (&[&config, "--drain", "5s"], "--budget"),
        (&[&config, "--stdio", "--listen", "127.0.0.1:0"], "cannot be used with"),
    ] {
        let mut child = start(args);
        let log = rest(child.stderr.as_mut().expect("a pipe"));
        assert_eq!(child.wait().expect("ended").code(), Some(2), "{args:?}: {log}");
        assert!(log.contains(words), "{args:?}: {log}");
    }
}
