//! Durations as the command reads and shows them.

use std::time::Duration;

use moored_mcp::config::parse_duration;

/// Reads a time limit that may not be zero, because nothing could succeed within it.
///
/// # Errors
///
/// A text for use after the option's name.
pub(crate) fn parse_limit(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("zero, so that nothing could succeed within it".to_owned()),
        limit => Ok(limit),
    }
}

/// Shows whole milliseconds the way a person reads them: `870 ms`, `4.1 s`, `2 min 5 s`.
pub(crate) fn show_ms(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min {} s", ms / 60_000, ms % 60_000 / 1_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn milliseconds_are_shown_in_the_unit_a_person_would_use() {
        assert_eq!(show_ms(0), "0 ms");
        assert_eq!(show_ms(999), "999 ms");
        assert_eq!(show_ms(1_000), "1.0 s");
        assert_eq!(show_ms(4_190), "4.1 s");
        assert_eq!(show_ms(125_000), "2 min 5 s");
    }
}
