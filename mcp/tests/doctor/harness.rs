//! Runs the binary under a time limit, in a place of its own.

use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{processes, schema};

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_moored-mcp");
/// No run of the program takes longer, however its servers behave; on a busy machine as well.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// A directory of this test, for its configuration and its markers, and for finding its
/// processes.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        Self { dir: TempDir::new().expect("a temporary directory") }
    }

    /// The path of a file in this directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a configuration as text and gives its path.
    pub(crate) fn config_text(&self, text: &str) -> String {
        let path = self.file("servers.json");
        std::fs::write(&path, text).expect("the configuration is written");
        path.display().to_string()
    }

    /// Writes a configuration of these servers, in this order.
    pub(crate) fn config(&self, servers: &[(&str, Value)]) -> String {
        // By hand, because a map would lose the order and the repetitions.
        let entries: Vec<String> =
            servers.iter().map(|(name, entry)| format!("{}: {entry}", json!(name))).collect();
        self.config_text(&format!("{{\"mcpServers\": {{{}}}}}", entries.join(", ")))
    }

    /// Starts the program.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        self.start_with(args, &[])
    }

    /// Starts the program with these variables.
    pub(crate) fn start_with(&self, args: &[&str], variables: &[(&str, &str)]) -> Running {
        let mut program = Command::new(BINARY);
        program.args(args);
        self.start_program(program, variables)
    }

    /// Starts another program that starts ours.
    pub(crate) fn start_program(
        &self,
        mut program: Command,
        variables: &[(&str, &str)],
    ) -> Running {
        let mut child = program
            .env_remove("COLUMNS")
            .envs(variables.iter().copied())
            // A child inherits it, so everything of this place can be found again.
            .env("TMPDIR", self.dir.path())
            .env_remove("NO_COLOR")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let (sender, lines) = channel();
        // The thread ends when the last writer closes the pipe.
        std::thread::spawn(move || {
            let mut stdout = BufReader::new(stdout);
            let mut line = String::new();
            while stdout.read_line(&mut line).is_ok_and(|n| n > 0) {
                if sender.send(std::mem::take(&mut line)).is_err() {
                    break;
                }
            }
        });
        let (sender, said) = channel();
        std::thread::spawn(move || sender.send(read_all(stderr)));
        Running {
            child,
            lines,
            stdout: String::new(),
            stderr: said,
            deadline: Instant::now() + LIMIT,
            started: Instant::now(),
        }
    }

    /// Starts the program and waits for its end.
    pub(crate) fn run(&self, args: &[&str]) -> Run {
        self.start(args).finish()
    }

    /// Runs `doctor --json` on these servers, with short graces, and expects a report.
    pub(crate) fn examine(&self, servers: &[(&str, Value)], more: &[&str]) -> (Run, Value) {
        let config = self.config(servers);
        let mut args = vec!["doctor", &config, "--json"];
        args.extend(more);
        let run = self.run(&args);
        let report = run.report();
        (run, report)
    }

    /// The processes that this place's runs have left behind.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        processes::with_environment(&format!("TMPDIR={}", self.dir.path().display()))
    }
}

fn read_all(mut stderr: ChildStderr) -> String {
    let mut bytes = Vec::new();
    let _ended = stderr.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A run under way.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    stdout: String,
    stderr: Receiver<String>,
    deadline: Instant,
    started: Instant,
}

impl Running {
    /// Whether a line that was read has all of `words`.
    pub(crate) fn said(&self, words: &[&str]) -> bool {
        self.stdout.lines().any(|line| words.iter().all(|word| line.contains(word)))
    }

    /// Waits for a line on stdout that contains all of `words`.
    pub(crate) fn line_with(&mut self, words: &[&str]) -> String {
        loop {
            let line = self.lines.recv_timeout(self.left()).unwrap_or_else(|why| {
                panic!("no line with {words:?} ({why}):\n{}", self.stdout);
            });
            self.stdout.push_str(&line);
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    /// The process that was started.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to the program, and to nothing else.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        kill_process(Pid::from_raw(pid).expect("not zero"), signal).expect("it is running");
    }

    /// Closes this end of its stdout, as `head -1` does.
    pub(crate) fn hang_up(&mut self) {
        self.lines = channel().1;
    }

    /// Waits for the end.
    pub(crate) fn finish(mut self) -> Run {
        while let Ok(line) = self.lines.recv_timeout(self.left()) {
            self.stdout.push_str(&line);
        }
        // Its stderr ends with it, even if its stdout is no longer read.
        let Ok(stderr) = self.stderr.recv_timeout(self.left()) else {
            panic!("still running after {LIMIT:?}:\n{}", self.stdout);
        };
        let status = self.child.wait().expect("it can be waited for");
        let stdout = std::mem::take(&mut self.stdout);
        Run { status, stdout, stderr, took: self.started.elapsed() }
    }

    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed half-way must not leave the program behind; a signal that reaches no
        // process is no mistake here.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// Expects this exit status.
    pub(crate) fn expect(&self, code: i32) {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\nstdout:\n{}\nstderr:\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
    }

    /// The report on stdout, which is as its schema has it.
    pub(crate) fn report(&self) -> Value {
        let report = self.result();
        schema::check(&report);
        report
    }

    /// The one JSON object on stdout.
    pub(crate) fn result(&self) -> Value {
        let report: Value = serde_json::from_str(&self.stdout).unwrap_or_else(|why| {
            panic!("{why}\nstdout:\n{}\nstderr:\n{}", self.stdout, self.stderr)
        });
        assert!(report.is_object(), "{report}");
        report
    }

    /// Expects a refusal: status 2, nothing on stdout, these words on stderr.
    pub(crate) fn expect_refused(&self, words: &[&str]) {
        self.expect(2);
        assert_eq!(self.stdout, "");
        for word in words {
            assert!(self.stderr.contains(word), "{word:?} is not in: {}", self.stderr);
        }
    }
}

/// The report of one server.
pub(crate) fn server<'a>(report: &'a Value, name: &str) -> &'a Value {
    report["servers"]
        .as_array()
        .and_then(|servers| servers.iter().find(|server| server["name"] == name))
        .unwrap_or_else(|| panic!("no server {name}: {report:#}"))
}

/// The innermost cause of a server's failure.
pub(crate) fn cause(server: &Value) -> &str {
    server["error"]["chain"]
        .as_array()
        .and_then(|chain| chain.last()?.as_str())
        .unwrap_or_else(|| panic!("no chain: {server:#}"))
}

/// A stdio server of the fleet, with these faults.
pub(crate) fn stdio(flags: &[&str]) -> Value {
    let mut args = vec!["fleet-server", "--life", "90s"];
    args.extend(flags);
    json!({"command": BINARY, "args": args})
}

/// A server at this address.
pub(crate) fn at(url: &str) -> Value {
    json!({"url": url})
}
