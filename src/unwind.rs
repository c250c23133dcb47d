//! Panics of user code: caught, carried, resumed; and the bomb that goes on after one (R15, R18).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// What a panic carried.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs user code and turns its panic into a value.
///
/// Unwind safety is asserted because whatever panicked is dropped and never polled again.
pub(crate) fn catch<R>(user_code: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(user_code))
}

/// Goes on with a panic that was caught, unless the thread unwinds already: a second panic would
/// abort the process, so it ends here.
pub(crate) fn resume(payload: Payload) {
    if !std::thread::panicking() {
        resume_unwind(payload);
    }
}

/// Runs `user_code` for every item, whatever the earlier ones did; the first panic goes on afterwards.
pub(crate) fn each<T>(items: impl IntoIterator<Item = T>, mut user_code: impl FnMut(T)) {
    let mut first = None;
    for item in items {
        if let Err(payload) = catch(|| user_code(item)) {
            first.get_or_insert(payload);
        }
    }
    if let Some(payload) = first {
        resume(payload);
    }
}

/// The text of a panic, for a record that has to tell of it.
pub(crate) fn message(payload: &Payload) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
