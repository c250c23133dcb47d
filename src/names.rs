//! Names that users give, in texts: a name with a line break or a terminal's control sequence must not change the text
//! around it.

use std::fmt::{self, Write};

/// Shows a name with its control characters, line breaks and marks of writing direction escaped.
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.contains(is_escaped) {
            return f.write_str(self.0);
        }
        self.0.chars().try_for_each(|char| match is_escaped(char) {
            true => write!(f, "{}", char.escape_debug()),
            false => f.write_char(char),
        })
    }
}

/// A thing and its name, for texts: ``exit stack `session` ``.
pub(crate) fn described(noun: &str, name: Option<&str>) -> String {
    name.map_or_else(|| noun.to_owned(), |name| format!("{noun} `{}`", Shown(name)))
}

/// Whether `char` is a control character, or a character of Unicode that breaks lines or changes the direction of
/// writing.
pub(crate) fn is_escaped(char: char) -> bool {
    let marks = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}'];
    let turns =
        ('\u{202a}'..='\u{202e}').contains(&char) || ('\u{2066}'..='\u{2069}').contains(&char);
    char.is_control() || marks.contains(&char) || turns
}

#[cfg(test)]
mod tests {
    use crate::names::Shown;

    #[test]
    fn a_name_stays_as_it_is_and_what_would_change_its_line_is_escaped() {
        assert_eq!(Shown("session `gîthub` 🙂\\").to_string(), "session `gîthub` 🙂\\");
        let hostile = "a\nb\r\t\u{1b}[31m\u{7f}\u{85}\u{2028}\u{2029}\u{202e}\u{0}";
        let shown = Shown(hostile).to_string();
        assert_eq!(shown, "a\\nb\\r\\t\\u{1b}[31m\\u{7f}\\u{85}\\u{2028}\\u{2029}\\u{202e}\\0");
    }
}
