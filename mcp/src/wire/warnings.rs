//! The warnings of a session: noise of its server, and findings about it, that did not prevent the session.

use std::sync::OnceLock;

use parking_lot::Mutex;

/// Notes beyond this number are only counted, because a server may repeat its noise for ever.
const NOTES: usize = 16;
/// Findings beyond this number are only counted. The number is larger than that of notes, because each finding names
/// another item.
const FINDINGS: usize = 256;

/// Called with each line that is kept.
type Listener = Box<dyn Fn(&str) + Send + Sync>;

/// The notes and findings of one session, from its first start to its last.
#[derive(Default)]
pub(crate) struct Warnings {
    texts: Mutex<Texts>,
    listener: OnceLock<Listener>,
}

#[derive(Debug, Default)]
struct Texts {
    notes: Bounded<NOTES>,
    findings: Bounded<FINDINGS>,
}

/// The first `N` texts, and the number of later ones.
#[derive(Debug, Default)]
struct Bounded<const N: usize> {
    kept: Vec<String>,
    left_out: usize,
}

impl<const N: usize> Bounded<N> {
    /// Returns whether the text is kept.
    fn push(&mut self, text: &str) -> bool {
        let is_kept = self.kept.len() < N;
        if is_kept {
            self.kept.push(text.to_owned());
        } else {
            self.left_out += 1;
        }
        is_kept
    }

    fn texts(&self) -> impl Iterator<Item = String> {
        let more = (self.left_out > 0).then(|| format!("and {} more of the kind", self.left_out));
        self.kept.iter().cloned().chain(more)
    }
}

impl Warnings {
    /// Calls `listener` with each line that is kept from now on, outside of the lock. Only the first listener counts.
    pub(crate) fn tell(&self, listener: impl Fn(&str) + Send + Sync + 'static) {
        self.listener.get_or_init(|| Box::new(listener));
    }

    /// Noise, such as a line on standard output that is no message.
    pub(super) fn note(&self, note: String) {
        let is_kept = {
            let notes = &mut self.texts.lock().notes;
            match notes.kept.contains(&note) {
                // It says nothing new, and would take the place of another one.
                true => {
                    notes.left_out += 1;
                    false
                }
                false => notes.push(&note),
            }
        };
        self.told(is_kept, &note);
    }

    /// A finding, such as an item of a list that cannot be read. Equal findings are kept once, because a list may be read
    /// many times.
    pub(crate) fn warn(&self, finding: String) {
        let is_kept = {
            let findings = &mut self.texts.lock().findings;
            !findings.kept.contains(&finding) && findings.push(&finding)
        };
        self.told(is_kept, &finding);
    }

    /// The notes so far, then the findings so far.
    pub(crate) fn all(&self) -> Vec<String> {
        let texts = self.texts.lock();
        texts.notes.texts().chain(texts.findings.texts()).collect()
    }

    fn told(&self, is_kept: bool, text: &str) {
        if let Some(listener) = self.listener.get().filter(|_| is_kept) {
            listener(text);
        }
    }
}

impl std::fmt::Debug for Warnings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Warnings").field(&self.texts).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn noise_does_not_push_out_a_finding() {
        let warnings = Warnings::default();
        for line in 0..NOTES + 2 {
            warnings.note(format!("noise {line}"));
        }
        warnings.warn("a finding".into());
        let all = warnings.all();
        assert_eq!(all[NOTES..], ["and 2 more of the kind", "a finding"]);
    }

    #[test]
    fn the_same_noise_stands_there_once_and_is_counted() {
        let warnings = Warnings::default();
        for _ in 0..NOTES * 2 {
            warnings.note("noise".into());
        }
        warnings.note("other noise".into());
        let more = format!("and {} more of the kind", NOTES * 2 - 1);
        assert_eq!(warnings.all(), ["noise", "other noise", &more]);
    }

    #[test]
    fn the_same_finding_stands_there_once_and_is_told_once() {
        let (warnings, told) = (Warnings::default(), Arc::new(AtomicUsize::new(0)));
        let counted = told.clone();
        warnings.tell(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        for _ in 0..3 {
            warnings.warn("a finding".into());
        }
        assert_eq!((warnings.all().len(), told.load(Ordering::Relaxed)), (1, 1));
    }
}
