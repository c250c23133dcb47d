//! Helpers for the JSON of this module.

use crate::names::is_escaped;
use std::time::Duration;

/// The schema of [`Snapshot::to_json`](super::Snapshot::to_json).
pub(super) const SNAPSHOT_SCHEMA: &str = include_str!("snapshot.schema.json");

/// JSON in which names have escapes for all characters that [`Shown`](crate::names::Shown) escapes, because JSON itself
/// requires fewer.
pub(super) fn escaped(json: String) -> String {
    if !json.contains(is_escaped) {
        return json;
    }
    let escape = |char: char| match is_escaped(char) {
        true => format!("\\u{:04x}", u32::from(char)),
        false => char.to_string(),
    };
    json.chars().map(escape).collect()
}

pub(super) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
