//! JSON lines, as far as a row of results needs them.

use std::fmt::Write;

/// One object, on one line.
#[derive(Debug)]
pub(crate) struct Row(String);

impl Row {
    pub(crate) fn new() -> Self {
        Row(String::from("{"))
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.string(key);
        self.0.push(':');
    }

    fn string(&mut self, text: &str) {
        self.0.push('"');
        for c in text.chars() {
            match c {
                '"' | '\\' => self.0.extend(['\\', c]),
                c if c < ' ' => write!(self.0, "\\u{:04x}", u32::from(c)).unwrap_or_default(),
                c => self.0.push(c),
            }
        }
        self.0.push('"');
    }

    pub(crate) fn text(mut self, key: &str, text: &str) -> Self {
        self.key(key);
        self.string(text);
        self
    }

    pub(crate) fn flag(mut self, key: &str, flag: bool) -> Self {
        self.key(key);
        self.0.push_str(if flag { "true" } else { "false" });
        self
    }

    pub(crate) fn number(mut self, key: &str, number: f64) -> Self {
        self.key(key);
        self.figure(number);
        self
    }

    pub(crate) fn numbers(mut self, key: &str, numbers: &[f64]) -> Self {
        self.key(key);
        self.0.push('[');
        for (i, number) in numbers.iter().enumerate() {
            if i > 0 {
                self.0.push(',');
            }
            self.figure(*number);
        }
        self.0.push(']');
        self
    }

    fn figure(&mut self, number: f64) {
        // Picoseconds at most; no exponent, which some readers of JSON lines do not take.
        let text = format!("{number:.3}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        self.0.push_str(if text.is_empty() { "0" } else { text });
    }

    pub(crate) fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}
