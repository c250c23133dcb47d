//! The panics of the program's own code: of hooks, callbacks and providers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The text of a panic. Its payload is dropped here, because the program may have panicked with a value whose drop panics
/// too, and that must end neither the session nor its group.
pub(crate) fn text(payload: Box<dyn Any + Send>) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // Its drop may panic as well.
        std::mem::forget(another);
    }
    text.unwrap_or_else(|| "a value that is no text".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A value that panics with another one of its kind when it is dropped.
    #[derive(Debug)]
    pub(crate) struct Bomb;

    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::panic_any(Bomb);
            }
        }
    }

    #[test]
    fn a_payload_whose_drop_panics_ends_nothing() {
        let caught = catch_unwind(|| std::panic::panic_any(Bomb)).expect_err("a panic");
        assert_eq!(text(caught), "a value that is no text");
        let caught = catch_unwind(|| panic!("in {}", "words")).expect_err("a panic");
        assert_eq!(text(caught), "in words");
    }
}
