//! Durations in the form of the command line and the configuration: `250ms`, `10s`, `2m`.
//!
//! Whole numbers with a unit, nothing else. A bare number is refused because seconds and
//! milliseconds differ by a factor of a thousand and both are plausible, and a fraction is
//! refused because the next smaller unit can express it.

use std::time::Duration;

/// The longest time limit that makes sense to a person.
///
/// It also keeps every later addition to a clock reading far from overflow.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads a duration such as `250ms`, `10s` or `2m`.
///
/// # Errors
///
/// A text with the expected form, ready to be shown after the option's name.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.chars().take_while(char::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "" if !number.is_empty() => {
            return Err(format!("a unit is missing: write {number}ms, {number}s or {number}m"));
        }
        _ => return Err("expected a whole number and a unit: 250ms, 10s or 2m".to_owned()),
    };
    if number.is_empty() {
        return Err("expected a whole number and a unit: 250ms, 10s or 2m".to_owned());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .map(Duration::from_millis)
        .filter(|d| *d <= LONGEST)
        .ok_or_else(|| "longer than a day, which is the most that can be asked for".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_with_a_unit_are_read() {
        assert_eq!(parse_duration("0ms"), Ok(Duration::ZERO));
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(parse_duration("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_advice() {
        for text in ["", "s", "ms", "1.5s", "-1s", "10 s", "1h", "10S", "١s"] {
            let refused = parse_duration(text).expect_err(text);
            assert!(refused.contains("whole number"), "{text}: {refused}");
        }
        assert_eq!(
            parse_duration("10"),
            Err("a unit is missing: write 10ms, 10s or 10m".to_owned())
        );
    }

    #[test]
    fn a_duration_that_would_overflow_a_clock_is_refused() {
        for text in ["1441m", "18446744073709551615m", "99999999999999999999s"] {
            assert!(parse_duration(text).expect_err(text).contains("a day"), "{text}");
        }
        assert_eq!(parse_duration("1440m"), Ok(LONGEST));
    }
}
