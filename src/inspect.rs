//! Who is inside what (feature `inspect`): what is open, who owns it, where it was entered, what it waits for
//! and for how long.
//!
//! [`snapshot`] answers now, as a tree to read or as JSON; [`record`] answers over time, as a timeline that a
//! trace viewer opens. With the feature on, every region is listed while it is open, at the cost of a lock
//! and two clock reads each.
//!
//! ```
//! use moored::{CancelScope, checkpoint, inspect};
//!
//! # futures::executor::block_on(async {
//! let scope = CancelScope::new().named("request");
//! scope
//!     .run(async {
//!         checkpoint().await;
//!         let open = inspect::snapshot();
//!         assert!(open.to_string().contains("cancel scope `request`"));
//!     })
//!     .await
//!     .unwrap();
//! # });
//! ```

use crate::region::register::{self, Found, Span};
use crate::region::{Kind, Phase};
use crate::sync::Arc;
use serde_json::{Value, json};
use std::fmt;
use std::time::{Duration, Instant};

/// The open regions of this process, as a forest: what was entered inside what.
///
/// `Display` is a tree with a line for each region.
#[derive(Clone, Debug)]
pub struct Snapshot {
    roots: Vec<Region>,
}

/// One open region.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Region {
    /// `task`, `cancel scope`, `exit stack` or `task group`.
    pub kind: &'static str,
    /// The name it was given.
    pub name: Option<String>,
    /// The task that owns it, as texts show it.
    pub owner: Option<String>,
    /// Where it was entered: file, line, column.
    pub entered_at: String,
    /// How long ago it was entered.
    pub open_for: Duration,
    /// What it waits for: its body, its children, exits that it adopted, or the exit registered at a place.
    pub waits_for: String,
    /// For how long.
    pub waiting_for: Duration,
    /// Whether it was cancelled itself.
    pub cancelled: bool,
    /// Whether it was asked to wind down.
    pub stopping: bool,
    /// How many exits are registered and have not begun.
    pub exits: usize,
    /// What was entered inside it, oldest first.
    pub inside: Vec<Region>,
}

/// Looks at every open region of this process. Each is looked at by itself: a region that is entered or left
/// meanwhile may be in it or not.
pub fn snapshot() -> Snapshot {
    let now = Instant::now();
    let mut found = register::found();
    found.sort_by_key(|region| region.number);
    let mut regions: Vec<(Found, Vec<Region>)> =
        found.into_iter().map(|region| (region, Vec::new())).collect();
    let mut roots = Vec::new();
    // Youngest first: whatever is inside a region was entered after it.
    while let Some((region, mut inside)) = regions.pop() {
        inside.reverse();
        let parent = region.parent.as_ref().and_then(|parent| {
            regions.iter().rposition(|(other, _)| Arc::ptr_eq(&other.node, parent))
        });
        let shown = Region::of(&region, inside, now);
        match parent {
            Some(parent) => regions[parent].1.push(shown),
            None => roots.push(shown),
        }
    }
    roots.reverse();
    Snapshot { roots }
}

impl Snapshot {
    /// The regions that nothing encloses, oldest first.
    pub fn regions(&self) -> &[Region] {
        &self.roots
    }

    /// The forest as JSON: an array of regions. Times are milliseconds.
    pub fn to_json(&self) -> String {
        Value::Array(self.roots.iter().map(Region::to_value).collect()).to_string()
    }
}

impl Region {
    fn of(found: &Found, inside: Vec<Region>, now: Instant) -> Self {
        Region {
            kind: match found.kind {
                Kind::Task | Kind::Child => "task",
                Kind::Scope | Kind::Stay => "cancel scope",
                Kind::Stack => "exit stack",
                Kind::Group => "task group",
            },
            name: found.name.as_deref().map(str::to_owned),
            owner: found.owner.as_ref().map(ToString::to_string),
            entered_at: found.entered_at.map_or_else(String::new, ToString::to_string),
            open_for: now.saturating_duration_since(found.entered),
            waits_for: match found.phase {
                Phase::Body => "its body".to_owned(),
                Phase::Children => "its children".to_owned(),
                Phase::Adopted => "exits that it adopted".to_owned(),
                Phase::Exit(at) => format!("the exit registered at {at}"),
            },
            waiting_for: now.saturating_duration_since(found.since),
            cancelled: found.cancelled,
            stopping: found.stopped,
            exits: found.exits,
            inside,
        }
    }

    fn to_value(&self) -> Value {
        json!({
            "kind": self.kind,
            "name": self.name,
            "owner": self.owner,
            "entered_at": self.entered_at,
            "open_ms": millis(self.open_for),
            "waits_for": self.waits_for,
            "waiting_ms": millis(self.waiting_for),
            "cancelled": self.cancelled,
            "stopping": self.stopping,
            "exits": self.exits,
            "inside": self.inside.iter().map(Region::to_value).collect::<Vec<_>>(),
        })
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        write!(f, "{:width$}{}", "", self.kind, width = depth * 2)?;
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        if let Some(owner) = &self.owner {
            write!(f, " of {owner}")?;
        }
        write!(f, ", entered {:.1?} ago at {}", self.open_for, self.entered_at)?;
        for (said, what) in [(self.cancelled, ", cancelled"), (self.stopping, ", stopping")] {
            f.write_str(if said { what } else { "" })?;
        }
        if self.exits > 0 {
            write!(f, ", {} exits to run", self.exits)?;
        }
        writeln!(f, ", waits {:.1?} for {}", self.waiting_for, self.waits_for)?;
        self.inside.iter().try_for_each(|region| region.write(f, depth + 1))
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.roots.iter().try_for_each(|region| region.write(f, 0))
    }
}

/// Keeps every region that is left from now on, until the recording is [finished](Recording::finish). There
/// is one recording in a process: a second one begins it anew.
pub fn record() -> Recording {
    register::record(true);
    Recording { began: Instant::now() }
}

/// A recording that is under way; see [`record`].
///
/// # On drop
///
/// It goes on, and keeps what is left: finish it.
#[derive(Debug)]
#[must_use = "finish it: what is left is kept until then"]
pub struct Recording {
    began: Instant,
}

impl Recording {
    /// Ends it.
    pub fn finish(self) -> Timeline {
        let spans = register::record(false);
        Timeline { began: self.began, spans }
    }
}

/// The regions that were left during a recording.
pub struct Timeline {
    began: Instant,
    spans: Vec<Span>,
}

impl Timeline {
    /// How many regions it has.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether nothing was left during the recording.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// As trace events in JSON, which Perfetto and Chromium's trace viewer open: a row for each task, a bar
    /// for each region. Times are microseconds since the recording began.
    pub fn to_trace_json(&self) -> String {
        let mut rows: Vec<String> = Vec::new();
        let mut events = Vec::new();
        for span in &self.spans {
            let owner = span.owner.as_ref().map_or_else(|| "no task".into(), ToString::to_string);
            let row = rows.iter().position(|row| *row == owner).unwrap_or_else(|| {
                rows.push(owner);
                rows.len() - 1
            });
            let since = |at: Instant| micros(at.saturating_duration_since(self.began));
            let began = since(span.entered);
            events.push(json!({
                "name": span.region,
                "ph": "X",
                "pid": 1,
                "tid": row + 1,
                "ts": began,
                "dur": since(span.left).saturating_sub(began),
                "args": { "entered_at": span.entered_at.map(ToString::to_string) },
            }));
        }
        events.extend(rows.iter().enumerate().map(|(row, name)| {
            json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": row + 1, "args": { "name": name } })
        }));
        json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string()
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").field("regions", &self.spans.len()).finish_non_exhaustive()
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
