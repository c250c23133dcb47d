//! Durations in texts.

use std::fmt;
use std::time::Duration;

/// Shows a duration as people read it: `0s`, `250ms`, `1.5s`, `1min 30s`, `2h 5min`, `3d 4h`.
///
/// The standard library shows zero as `0ns` and an hour as `3600s`. `{:.1}` rounds a duration below a minute to one digit
/// after the point.
pub(crate) struct Lasting(pub(crate) Duration);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
        let (large, small, unit) = match seconds {
            0 if self.0.is_zero() => return f.write_str("0s"),
            0..60 if f.precision().is_none() => return fmt::Debug::fmt(&self.0, f),
            0..60 => return f.write_str(&format!("{:.1?}", self.0).replacen(".0", "", 1)),
            60..3_600 => ((minutes, "min"), seconds % 60, "s"),
            3_600..86_400 => ((hours, "h"), minutes % 60, "min"),
            _ => ((days, "d"), hours % 24, "h"),
        };
        write!(f, "{}{}", large.0, large.1)?;
        if small == 0 { Ok(()) } else { write!(f, " {small}{unit}") }
    }
}

#[cfg(test)]
mod tests {
    use crate::lasting::Lasting;
    use std::time::Duration;

    #[test]
    fn durations_are_shown_in_two_units_at_most_and_zero_in_seconds() {
        for (duration, shown) in [
            (Duration::ZERO, "0s"),
            (Duration::from_micros(812), "812µs"),
            (Duration::from_millis(250), "250ms"),
            (Duration::from_millis(59_500), "59.5s"),
            (Duration::from_secs(60), "1min"),
            (Duration::from_millis(90_700), "1min 30s"),
            (Duration::from_secs(7_500), "2h 5min"),
            (Duration::from_secs(86_400), "1d"),
            (Duration::from_secs(273_600), "3d 4h"),
            (Duration::MAX, "213503982334601d 7h"),
        ] {
            assert_eq!(Lasting(duration).to_string(), shown);
        }
        assert_eq!(format!("{:.1}", Lasting(Duration::from_nanos(121_734_100))), "121.7ms");
        assert_eq!(format!("{:.1}", Lasting(Duration::from_millis(95))), "95ms");
        assert_eq!(format!("{:.1}", Lasting(Duration::from_nanos(29_999_999_000))), "30s");
        assert_eq!(format!("{:.1}", Lasting(Duration::ZERO)), "0s");
    }
}
