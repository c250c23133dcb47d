//! Panics of user code: caught, carried, resumed; and drops that go on after one (R15, R18).

use std::any::Any;
pub(crate) use std::panic::resume_unwind as resume;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic carried.
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs user code and turns its panic into a value.
///
/// Unwind safety is asserted because whatever panicked is dropped and never polled again.
pub(crate) fn catch<R>(user_code: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(user_code))
}

/// Drops every item, whatever the drops do; their panics are returned, in order.
pub(crate) fn drop_each<T>(items: impl IntoIterator<Item = T>) -> Vec<Payload> {
    items.into_iter().filter_map(|item| catch(|| drop(item)).err()).collect()
}

/// Drops what nobody can be told of if its drop panics; the panic hook has told of it then.
pub(crate) fn drop_quietly<T>(item: T) {
    if let Err(payload) = catch(|| drop(item)) {
        discard(payload);
    }
}

/// Drops what a panic carried. That may panic in turn, and there it ends: the last payload is leaked.
pub(crate) fn discard(payload: Payload) {
    if let Err(another) = catch(|| drop(payload)) {
        std::mem::forget(another);
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
