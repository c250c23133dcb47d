//! The events of a run, as a file for a trace viewer: a lane for each server, its phases one after another.
//!
//! The format is the trace event format of Chrome, which `chrome://tracing` and Perfetto read, in its form as an array. Times are
//! microseconds since the beginning. Each event is written when it is known, so a program that is killed leaves a file that
//! can be read: in this form the bracket at the end may be missing.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use moored_mcp::{Event, EventKind, LeavePhase, ServerParams};
use serde_json::{Value, json};

use super::progress::View;
use super::render::words;

/// The file, and what is going on.
#[derive(Debug)]
pub(crate) struct Timeline {
    path: PathBuf,
    file: File,
    /// The first error of writing. Nothing is written after it.
    written: std::io::Result<()>,
    start: Instant,
    latest: Instant,
    lanes: Vec<Option<Phase>>,
}

/// The current phase of a server.
#[derive(Debug)]
struct Phase {
    name: &'static str,
    began: Instant,
    /// The facts that were known at its beginning.
    about: Value,
}

impl Phase {
    fn new(name: &'static str, began: Instant, about: Value) -> Option<Self> {
        Some(Self { name, began, about })
    }
}

impl Timeline {
    /// Creates the file, before anything is started.
    ///
    /// # Errors
    ///
    /// A sentence with the file and the error of the operating system.
    pub(crate) fn create(path: &Path, servers: &[ServerParams]) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| unwritable(path, &error))?;
        let start = Instant::now();
        let waiting = || Phase::new("wait for a turn", start, Value::Null);
        let lanes = servers.iter().map(|_| waiting()).collect();
        let written = Ok(());
        let mut it = Self { path: path.to_owned(), file, written, start, latest: start, lanes };
        it.write("[\n", &fact(0, "process_name", json!({"name": "moored-mcp"})));
        for (lane, server) in servers.iter().enumerate() {
            it.add(&fact(lane + 1, "thread_name", json!({"name": server.name})));
            it.add(&fact(lane + 1, "thread_sort_index", json!({"sort_index": lane})));
        }
        Ok(it)
    }

    /// Writes an event behind the ones before.
    fn add(&mut self, event: &Value) {
        self.write(",\n", event);
    }

    fn write(&mut self, before: &str, event: &Value) {
        if self.written.is_ok() {
            self.written = self.file.write_all(format!("{before}{event}").as_bytes());
        }
    }

    /// Ends the current phase of a server, and begins the next one. `ended` has further facts of the phase that ends.
    fn advance(&mut self, lane: usize, at: Instant, ended: Value, next: Option<Phase>) {
        let Some(place) = self.lanes.get_mut(lane) else { return };
        let Some(phase) = std::mem::replace(place, next) else { return };
        let mut args = phase.about;
        if let Value::Object(ended) = ended {
            match &mut args {
                Value::Object(args) => args.extend(ended),
                _ => args = Value::Object(ended),
            }
        }
        let began = self.micros(phase.began);
        self.add(&json!({
            "ph": "X", "pid": 1, "tid": lane + 1, "name": phase.name,
            "ts": began, "dur": self.micros(at) - began, "args": args,
        }));
    }

    /// Adds an event without a duration.
    fn mark(&mut self, lane: usize, at: Instant, name: &str) {
        let at = self.micros(at);
        self.add(&json!({
            "ph": "i", "s": "t", "pid": 1, "tid": lane + 1, "name": name, "ts": at,
        }));
    }

    fn micros(&self, at: Instant) -> u128 {
        at.saturating_duration_since(self.start).as_micros()
    }
}

impl View for Timeline {
    fn show(&mut self, event: &Event) {
        let (lane, at) = (event.index, event.at);
        self.latest = self.latest.max(at);
        let next = |name, about| Phase::new(name, at, about);
        match &event.kind {
            EventKind::Connecting => {
                self.advance(lane, at, Value::Null, next("connect", Value::Null));
            }
            EventKind::StartedAgain { message } => {
                let ended = json!({"ended": message});
                self.advance(lane, at, ended, next("connect again", Value::Null));
            }
            EventKind::Up(info) => {
                let about = json!({
                    "era": info.era, "tools": info.tools, "prompts": info.prompts,
                    "resources": info.resources,
                });
                self.advance(lane, at, Value::Null, next("connected", about));
            }
            EventKind::Failed { outcome, message } => {
                let ended = json!({"outcome": outcome, "error": message});
                self.advance(lane, at, ended, next("clean up", Value::Null));
            }
            EventKind::Lost { message } => {
                let ended = json!({"lost": message});
                self.advance(lane, at, ended, next("clean up", Value::Null));
            }
            EventKind::Restarting { message, .. } => {
                let ended = json!({"lost": message});
                self.advance(lane, at, ended, next("wait for a restart", Value::Null));
            }
            EventKind::Draining => {
                self.advance(lane, at, Value::Null, next("drain", Value::Null));
            }
            EventKind::Leaving(phase) => {
                self.advance(lane, at, Value::Null, next(phase_name(*phase), Value::Null));
            }
            EventKind::Left(report) => {
                let ended = json!({"leave": report.leave});
                self.advance(lane, at, ended, None);
            }
            other => {
                if let Some(text) = super::progress::line(other) {
                    self.mark(lane, at, &text);
                }
            }
        }
    }

    fn end(&mut self) -> Result<(), String> {
        for lane in 0..self.lanes.len() {
            self.advance(lane, self.latest, Value::Null, None);
        }
        let written = std::mem::replace(&mut self.written, Ok(()));
        let ended = written.and_then(|()| self.file.write_all(b"\n]\n"));
        ended.map_err(|error| unwritable(&self.path, &error))
    }
}

/// A fact about a lane; the lane 0 is the program itself.
fn fact(lane: usize, name: &str, args: Value) -> Value {
    json!({"ph": "M", "pid": 1, "tid": lane, "name": name, "args": args})
}

fn phase_name(phase: LeavePhase) -> &'static str {
    match phase {
        LeavePhase::Delete => "leave: DELETE",
        LeavePhase::EndOfInput => "leave: end of input",
        LeavePhase::Terminate => "leave: SIGTERM",
        LeavePhase::Kill => "leave: SIGKILL",
        _ => "leave",
    }
}

fn unwritable(path: &Path, error: &std::io::Error) -> String {
    words::plain(&format!("cannot write the timeline {}: {error}", path.display()))
}
