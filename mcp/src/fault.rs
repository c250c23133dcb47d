//! One failure of one server, on its way to the report: its kind, and the chain down to its cause.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use crate::error::SharedError;
use crate::report::{ErrorReport, ExitStatusReport, Outcome};

/// A failure, classified where it was observed.
///
/// The kind is decided by the code that knows it (from a status line, a wait status, an `io::Error`), never from the
/// text of an error that has already lost it.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) outcome: Outcome,
    message: String,
    source: Option<SharedError>,
    /// The end of the child, if that is the failure.
    pub(crate) exit: Option<ExitStatusReport>,
    /// The time that the server asks to wait before the next attempt.
    pub(crate) wait: Option<Duration>,
    /// Whether the server has refused: a further attempt has no use before something changes there.
    pub(crate) is_refusal: bool,
    /// Whether another request in the same attempt to connect would fail for the same reason.
    pub(crate) is_of_the_attempt: bool,
}

impl Fault {
    /// A failure that is its own cause.
    pub(crate) fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            outcome,
            message,
            source: None,
            exit: None,
            wait: None,
            is_refusal: false,
            is_of_the_attempt: false,
        }
    }

    /// The cause of the failure.
    pub(crate) fn cause(&self) -> Option<SharedError> {
        self.source.clone()
    }

    /// A failure with its cause.
    pub(crate) fn caused(
        outcome: Outcome,
        message: impl Into<String>,
        source: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self { source: Some(Arc::new(source)), ..Self::new(outcome, message) }
    }

    /// The server's process has ended by itself.
    pub(crate) fn exited(message: impl Into<String>, exit: ExitStatusReport) -> Self {
        Self { exit: Some(exit), ..Self::new(Outcome::Exited, message) }
    }

    /// The same failure with these words of the server as its cause.
    pub(crate) fn after_words(self, words: Option<String>) -> Self {
        let cause = words.and_then(|words| Flattened::from_texts(vec![words]));
        Self { source: cause.map(|it| Arc::new(it) as _), ..self }
    }

    /// The same failure of a server that asks for a pause before the next attempt.
    pub(crate) fn asking_to_wait(self, wait: Option<Duration>) -> Self {
        Self { wait, ..self }
    }

    /// The same failure, and whether it is a refusal.
    pub(crate) fn refused(self, is_refusal: bool) -> Self {
        Self { is_refusal, ..self }
    }

    /// The same failure, which every other request in the same attempt to connect would have.
    pub(crate) fn of_the_attempt(self) -> Self {
        Self { is_of_the_attempt: true, ..self }
    }

    /// The same failure with a remark in its first line.
    pub(crate) fn remarked(mut self, remark: &str) -> Self {
        self.message.push_str(&format!(" ({remark})"));
        self
    }

    /// The same failure with another first line.
    pub(crate) fn headed(self, message: impl Into<String>) -> Self {
        Self { message: message.into(), ..self }
    }

    /// Returns the failure in other words, and its causes as well. If no text of a cause changes, the causes keep their types.
    pub(crate) fn reworded(mut self, word: impl Fn(&str) -> String) -> Self {
        self.message = word(&self.message);
        if let Some(source) = &self.source {
            let texts = chain(source.as_ref());
            let words: Vec<_> = texts.iter().map(|text| word(text)).collect();
            if words != texts {
                self.source = Flattened::from_texts(words).map(|it| Arc::new(it) as _);
            }
        }
        self
    }

    /// The failure in one line, its innermost cause included.
    pub(crate) fn line(&self) -> String {
        match chain(self).as_slice() {
            [_, .., innermost] => format!("{}: {innermost}", self.message),
            _ => self.message.clone(),
        }
    }

    /// The report of this failure.
    pub(crate) fn report(&self, stderr_tail: Option<String>) -> ErrorReport {
        ErrorReport {
            message: self.message.clone(),
            chain: chain(self),
            stderr_tail,
            stderr_error: None,
            exit_status: self.exit,
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Fault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

/// The texts from `error` inwards, without repeated neighbours.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(current) = next {
        let text = current.to_string();
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = current.source();
    }
    texts
}

/// The chain of an error that cannot be cloned, as an error that can.
#[derive(Debug, Clone)]
pub(crate) struct Flattened {
    text: String,
    source: Option<Box<Flattened>>,
}

impl Flattened {
    /// Copies the texts from `error` inwards.
    pub(crate) fn of(error: &(dyn Error + 'static)) -> Self {
        Self {
            text: error.to_string(),
            source: error.source().map(|source| Box::new(Self::of(source))),
        }
    }

    /// An error for each text, the first one outermost; `None` if there is no text.
    pub(crate) fn from_texts(texts: Vec<String>) -> Option<Self> {
        texts
            .into_iter()
            .rev()
            .fold(None, |source, text| Some(Self { text, source: source.map(Box::new) }))
    }
}

impl std::fmt::Display for Flattened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Flattened {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_goes_down_to_the_operating_systems_text() {
        let refused = std::io::Error::from_raw_os_error(111);
        let fault = Fault::caused(Outcome::Unreachable, "cannot reach it", refused);
        assert_eq!(
            fault.report(None).chain,
            ["cannot reach it", "Connection refused (os error 111)"]
        );
    }

    #[test]
    fn other_words_are_those_of_the_whole_chain() {
        let refused = std::io::Error::from_raw_os_error(111);
        let told = Fault::caused(Outcome::Other, "bad t0ken-1", refused);
        let fault = Fault::caused(Outcome::AuthRequired, "no t0ken-1", told);
        let shown = fault.reworded(|text| text.replace("t0ken-1", "(hidden)"));
        let chain = ["no (hidden)", "bad (hidden)", "Connection refused (os error 111)"];
        assert_eq!(shown.report(None).chain, chain);
        assert!(!format!("{shown:?}").contains("t0ken-1"), "{shown:?}");
        // A cause in which nothing is reworded stays the value that it is.
        let fault =
            Fault::caused(Outcome::Other, "t0ken-1", std::io::Error::from_raw_os_error(111));
        let source =
            fault.reworded(|text| text.replace("t0ken-1", "x")).cause().expect("its cause");
        assert!(source.is::<std::io::Error>());
    }

    #[test]
    fn neighbours_that_say_the_same_stand_once_in_a_chain() {
        let inner = Fault::new(Outcome::Other, "same");
        let fault = Fault::caused(Outcome::Other, "same", inner);
        assert_eq!(fault.report(None).chain, ["same"]);
    }
}
