//! The regions and exits of a period, with their times.

use super::snapshot::escaped;
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
        let mut bars: Vec<_> = register::record(false)
            .into_iter()
            .map(|interval| Bar { interval, open: false })
            .collect();
        let scan = register::found();
        let now = Instant::now();
        bars.extend(scan.regions.into_iter().map(|found| {
            let name =
                found.name.as_deref().map(|name| format!(" `{}`", crate::names::Shown(name)));
            let interval = Interval {
                label: found.kind.noun().to_owned() + &name.unwrap_or_default(),
                owner: found.owner,
                at: found.entered_at,
                began: found.entered,
                ended: now,
            };
            Bar { interval, open: true }
        }));
        bars.extend(scan.exits.into_iter().map(|exit| {
            let interval = Interval {
                label: format!("exit of {}", exit.home),
                owner: exit.owner,
                at: Some(exit.running.registered_at),
                began: exit.running.since,
                ended: now,
            };
            Bar { interval, open: true }
        }));
        bars.sort_by_key(|bar| bar.interval.began);
        Timeline { began: self.began, bars }
    }
}

/// The regions that were left during a recording, the regions that were open at its end, and the exits that were
/// pending in between.
pub struct Timeline {
    began: Instant,
    bars: Vec<Bar>,
}

struct Bar {
    interval: Interval,
    /// Whether it was open at the end of the recording.
    open: bool,
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
        for Bar { interval, open } in &self.bars {
            let owner =
                interval.owner.as_ref().map_or_else(|| "no task".into(), ToString::to_string);
            let next = rows.len() + 1;
            let row = *rows.entry(owner).or_insert(next);
            let since = |at: Instant| {
                let micros = at.saturating_duration_since(self.began).as_micros();
                u64::try_from(micros).unwrap_or(u64::MAX)
            };
            let began = since(interval.began);
            let at = interval.at.map(ToString::to_string);
            let place =
                if interval.label.starts_with("exit of ") { "registered_at" } else { "entered_at" };
            events.push(json!({
                "name": interval.label,
                "ph": "X",
                "pid": 1,
                "tid": row,
                "ts": began,
                "dur": since(interval.ended).saturating_sub(began),
                "args": { place: at, "open": open },
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
