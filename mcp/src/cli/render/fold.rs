//! Lines that fit a width.

use textwrap::{Options, WordSplitter, WrapAlgorithm};

/// Breaks `text` so that no line is wider than `width`. The first line begins with `first`, every further one with `next`.
///
/// A line breaks at spaces, and inside a word that is wider than a line.
pub(crate) fn fold(text: &str, first: &str, next: &str, width: usize) -> Vec<String> {
    let options = Options::new(width)
        .initial_indent(first)
        .subsequent_indent(next)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
        // Not at a hyphen, because addresses and flags contain hyphens.
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::wrap(text, options).into_iter().map(String::from).collect()
}

/// The number of columns that `text` takes.
pub(crate) fn columns(text: &str) -> usize {
    textwrap::core::display_width(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_at_spaces_and_inside_words_that_are_too_wide() {
        let lines = fold("see https://host/a-very-long-path now", "- ", "  ", 16);
        assert_eq!(lines, ["- see", "  https://host/a", "  -very-long-pat", "  h now"]);
        assert!(lines.iter().all(|line| columns(line) <= 16), "{lines:#?}");
    }

    #[test]
    fn a_text_that_fits_is_one_line() {
        assert_eq!(fold("  as it is", "", "    ", 80), ["  as it is"]);
        assert_eq!(fold("", "", "", 80), [""]);
    }
}
