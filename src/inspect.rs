//! The tree of open regions (feature `inspect`): each region, its owner, the place where it was entered, and
//! its current wait with its duration.
//!
//! [`snapshot`] shows the present state, as a tree to read or as JSON; [`record`] shows a period, as a
//! timeline that a trace viewer opens. With the feature on, every region is listed while it is open, at the
//! cost of a lock and two clock reads each.
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

use crate::failure::counted;
use crate::names::{Shown, is_escaped};
use crate::region::register::{self, Found, Span};
use crate::region::{Kind, Phase};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// The depth to which regions are nested in the tree. Deeper regions are in a list in the region at this depth, each
/// with its depth as a number.
const NESTED: usize = 32;

/// The open regions of this process, as a forest: each region with the regions that were
/// entered inside it.
///
/// `Display` is a tree with a line for each region. A snapshot takes time and memory in proportion to the number of
/// regions. Regions may be nested to any depth, but the tree is no deeper than 32. Deeper regions are one list, in
/// which each region is followed by the regions inside it, with [its depth](Region::depth).
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
    /// The place where it was entered: file, line, column.
    pub entered_at: String,
    /// The time since it was entered.
    pub open_for: Duration,
    /// Its current wait: its body, its children, exits that it adopted, or the exit registered at a place.
    pub waits_for: String,
    /// The duration of that wait.
    pub waiting_for: Duration,
    /// Whether it was cancelled itself.
    pub cancelled: bool,
    /// Whether it was asked to wind down.
    pub stopping: bool,
    /// The number of exits that are registered and have not begun.
    pub exits: usize,
    /// The number of regions around it.
    pub depth: usize,
    /// The regions that were entered inside it, oldest first; at a depth of 31 all regions inside it,
    /// at any depth.
    pub inside: Vec<Region>,
}

/// Looks at every open region of this process, one after the other. A region that is entered or left
/// meanwhile may be in the snapshot or not.
pub fn snapshot() -> Snapshot {
    let now = Instant::now();
    let mut open = Vec::new();
    let mut roots = Vec::new();
    for (found, depth) in outermost_first(register::found()) {
        close_to(level(depth), &mut open, &mut roots);
        open.push(Region::of(&found, depth, now));
    }
    close_to(0, &mut open, &mut roots);
    Snapshot { roots }
}

/// Each region with its depth, followed by the regions inside it, oldest first.
fn outermost_first(found: Vec<Found>) -> Vec<(Found, usize)> {
    let places: HashMap<u64, usize> =
        found.iter().enumerate().map(|(place, region)| (region.number, place)).collect();
    let mut roots = Vec::new();
    let mut inside = vec![Vec::new(); found.len()];
    // Youngest first, because the next region is taken from the end.
    for (place, region) in found.iter().enumerate().rev() {
        match region.parent.and_then(|parent| places.get(&parent)) {
            Some(parent) => inside[*parent].push(place),
            None => roots.push(place),
        }
    }
    let mut found: Vec<_> = found.into_iter().map(Some).collect();
    let mut next: Vec<(usize, usize)> = roots.into_iter().map(|place| (place, 0)).collect();
    let mut sorted = Vec::with_capacity(found.len());
    while let Some((place, depth)) = next.pop() {
        next.extend(inside[place].iter().map(|place| (*place, depth + 1)));
        sorted.extend(found[place].take().map(|region| (region, depth)));
    }
    sorted
}

/// The level of the tree at which a region of this depth is shown.
fn level(depth: usize) -> usize {
    depth.min(NESTED)
}

/// Moves the open regions at this level and below into their parents.
fn close_to(level: usize, open: &mut Vec<Region>, roots: &mut Vec<Region>) {
    while open.len() > level {
        if let Some(region) = open.pop() {
            open.last_mut().map_or(&mut *roots, |around| &mut around.inside).push(region);
        }
    }
}

impl Snapshot {
    /// The regions that nothing encloses, oldest first.
    pub fn regions(&self) -> &[Region] {
        &self.roots
    }

    /// Every region, each followed by the regions inside it.
    fn all(&self) -> impl Iterator<Item = &Region> {
        let mut rest = vec![self.roots.iter()];
        std::iter::from_fn(move || {
            loop {
                match rest.last_mut()?.next() {
                    Some(region) => {
                        rest.push(region.inside.iter());
                        return Some(region);
                    }
                    None => drop(rest.pop()),
                }
            }
        })
    }

    /// The forest as JSON: an array of regions. Times are milliseconds.
    pub fn to_json(&self) -> String {
        let mut json = String::from("[");
        let mut open = 0;
        for region in self.all() {
            let level = level(region.depth);
            if open > level {
                json.extend(std::iter::repeat_n("]}", open - level));
                json.push(',');
            }
            open = level + 1;
            let own = region.own_values().to_string();
            // The closing brace comes after the regions inside.
            json.push_str(own.strip_suffix('}').unwrap_or(&own));
            json.push_str(",\"inside\":[");
        }
        json.extend(std::iter::repeat_n("]}", open));
        json.push(']');
        escaped(json)
    }
}

impl Region {
    fn of(found: &Found, depth: usize, now: Instant) -> Self {
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
            depth,
            inside: Vec::new(),
        }
    }

    /// All values but the regions inside.
    fn own_values(&self) -> Value {
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
            "depth": self.depth,
        })
    }
}

impl fmt::Display for Region {
    /// One line, without the regions inside.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        if let Some(name) = &self.name {
            write!(f, " `{}`", Shown(name))?;
        }
        if let Some(owner) = &self.owner {
            write!(f, " of {owner}")?;
        }
        write!(f, ", entered {:.1?} ago at {}", self.open_for, self.entered_at)?;
        for (said, what) in [(self.cancelled, ", cancelled"), (self.stopping, ", stopping")] {
            f.write_str(if said { what } else { "" })?;
        }
        if self.exits > 0 {
            write!(f, ", {} to run", counted(self.exits, "exit"))?;
        }
        write!(f, ", waits {:.1?} for {}", self.waiting_for, self.waits_for)
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.all().try_for_each(|region| {
            write!(f, "{:width$}", "", width = level(region.depth) * 2)?;
            if region.depth >= NESTED {
                write!(f, "(depth {}) ", region.depth)?;
            }
            writeln!(f, "{region}")
        })
    }
}

/// Keeps every region that is left from now on, until the recording is [finished](Recording::finish). A
/// process has one recording: a second call begins it anew.
pub fn record() -> Recording {
    register::record(true);
    Recording { began: Instant::now() }
}

/// A recording that is under way; see [`record`].
///
/// # On drop
///
/// The recording goes on, and keeps every region that is left, until it is finished.
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
    /// The number of regions in it.
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether no region was left during the recording.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// As trace events in JSON, which Perfetto and Chromium's trace viewer open: a row for each task, a bar
    /// for each region. Times are microseconds since the recording began.
    pub fn to_trace_json(&self) -> String {
        let mut rows: HashMap<String, usize> = HashMap::new();
        let mut events = Vec::new();
        for span in &self.spans {
            let owner = span.owner.as_ref().map_or_else(|| "no task".into(), ToString::to_string);
            let next = rows.len() + 1;
            let row = *rows.entry(owner).or_insert(next);
            let since = |at: Instant| micros(at.saturating_duration_since(self.began));
            let began = since(span.entered);
            events.push(json!({
                "name": span.region,
                "ph": "X",
                "pid": 1,
                "tid": row,
                "ts": began,
                "dur": since(span.left).saturating_sub(began),
                "args": { "entered_at": span.entered_at.map(ToString::to_string) },
            }));
        }
        events.extend(rows.iter().map(|(name, row)| {
            json!({ "name": "thread_name", "ph": "M", "pid": 1, "tid": row, "args": { "name": name } })
        }));
        escaped(json!({ "traceEvents": events, "displayTimeUnit": "ms" }).to_string())
    }
}

impl fmt::Debug for Timeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeline").field("regions", &self.spans.len()).finish_non_exhaustive()
    }
}

/// JSON in which names have escapes for all characters that [`Shown`] escapes, because JSON
/// itself requires fewer.
fn escaped(json: String) -> String {
    if !json.contains(is_escaped) {
        return json;
    }
    let escape = |char: char| match is_escaped(char) {
        true => format!("\\u{:04x}", u32::from(char)),
        false => char.to_string(),
    };
    json.chars().map(escape).collect()
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
