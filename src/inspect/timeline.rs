//! The regions and exits of a period, with their times.

use super::snapshot::escaped;
use crate::names::described;
use crate::region::register::{self, Interval};
use serde_json::json;
use std::collections::HashMap;
use std::fmt;
use std::time::Instant;

/// Keeps every region that is left from now on, and every exit that ends after it was pending, until the recording is
/// [finished](Recording::finish). A process has one recording: a second call begins it anew.
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
#[must_use = "finish it: every region that is left is kept until then"]
pub struct Recording {
    began: Instant,
}

impl Recording {
    /// Ends it.
    pub fn finish(self) -> Timeline {
        let mut bars = register::record(false);
        let scan = register::found();
        bars.extend(scan.regions.into_iter().map(|found| Interval {
            label: described(found.kind.noun(), found.name.as_deref()),
            owner: found.owner,
            at: found.entered_at,
            began: found.entered,
            ended: None,
        }));
        bars.extend(scan.exits.into_iter().map(|exit| Interval {
            label: format!("exit of {}", exit.home),
            owner: exit.owner,
            at: Some(exit.running.registered_at),
            began: exit.running.since,
            ended: None,
        }));
        bars.sort_by_key(|bar| bar.began);
        Timeline { began: self.began, finished: Instant::now(), bars }
    }
}

/// The regions that were left during a recording, the regions that were open at its end, and the exits that were
/// pending in between.
pub struct Timeline {
    began: Instant,
    finished: Instant,
    bars: Vec<Interval>,
}

impl Timeline {
    /// The number of bars.
    pub fn len(&self) -> usize {
        self.bars.len()
    }

    /// Whether no region was left during the recording, and none is open.
    pub fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }

    /// As trace events in JSON, which Perfetto and Chromium's trace viewer open: a row for each task, a bar for each
    /// region and for each exit. Times are microseconds since the recording began. A bar that began before the
    /// recording begins at 0. A bar that was open at the end of the recording ends there, and has `"open": true`.
    pub fn to_trace_json(&self) -> String {
        let mut rows: HashMap<String, usize> = HashMap::new();
        let mut events = Vec::new();
        let since = |at: Instant| {
            let micros = at.saturating_duration_since(self.began).as_micros();
            u64::try_from(micros).unwrap_or(u64::MAX)
        };
        for Interval { label, owner, at, began, ended } in &self.bars {
            let owner = owner.as_ref().map_or_else(|| "no task".into(), ToString::to_string);
            let next = rows.len() + 1;
            let row = *rows.entry(owner).or_insert(next);
            let began = since(*began);
            let place = if label.starts_with("exit of ") { "registered_at" } else { "entered_at" };
            events.push(json!({
                "name": label,
                "ph": "X",
                "pid": 1,
                "tid": row,
                "ts": began,
                "dur": since(ended.unwrap_or(self.finished)).saturating_sub(began),
                "args": { place: at.map(ToString::to_string), "open": ended.is_none() },
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
        f.debug_struct("Timeline").field("bars", &self.bars.len()).finish_non_exhaustive()
    }
}
