//! Durations in texts and reports.

use std::fmt;
use std::time::Duration;

/// Shows a duration in milliseconds or seconds: `0s`, `250ms`, `1.5s`, `30s`.
///
/// The standard library shows zero as `0ns`, and the rest of a time limit as `4.999871203s`.
#[cfg_attr(not(feature = "config"), allow(unreachable_pub, reason = "`config` exports it"))]
pub fn show_duration(duration: Duration) -> impl fmt::Display {
    Shown(duration)
}

/// A century: longer than any wait, and a point in time of the clock can be that far away.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// A limit that can be added to a point in time and to other limits. One of a century or more is no limit.
pub(crate) fn bounded(limit: Duration) -> Duration {
    limit.min(FAR)
}

/// Whole milliseconds, cut off.
pub(crate) fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

struct Shown(Duration);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Rounded up, because a limit that is not zero must not look like one that is.
        let ms = self.0.as_nanos().div_ceil(1_000_000);
        let (seconds, rest) = (ms / 1_000, ms % 1_000);
        match (seconds, rest) {
            (_, 0) => write!(f, "{seconds}s"),
            (0, _) => write!(f, "{ms}ms"),
            _ => write!(f, "{seconds}.{}s", format!("{rest:03}").trim_end_matches('0')),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_shown_in_milliseconds_or_seconds() {
        for (duration, shown) in [
            (Duration::ZERO, "0s"),
            (Duration::from_nanos(1), "1ms"),
            (Duration::from_millis(250), "250ms"),
            (Duration::from_micros(999_001), "1s"),
            (Duration::from_millis(1_050), "1.05s"),
            (Duration::from_nanos(4_999_871_203), "5s"),
            (Duration::from_secs(90), "90s"),
        ] {
            assert_eq!(show_duration(duration).to_string(), shown);
        }
    }
}
