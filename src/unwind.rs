//! Panics of user code: caught, carried, resumed; and drops that continue after a panic (R15,
//! R18).

use std::any::Any;
use std::fmt::{self, Write};
pub(crate) use std::panic::resume_unwind as resume;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The payload of a panic. Its drop is user code: see [`discard`].
pub(crate) type Payload = Box<dyn Any + Send>;

/// Runs user code and turns its panic into a value.
///
/// Unwind safety is asserted because a future that panicked is dropped and never polled again.
pub(crate) fn catch<R>(user_code: impl FnOnce() -> R) -> Result<R, Payload> {
    catch_unwind(AssertUnwindSafe(user_code))
}

/// Drops every item, even if some drops panic; returns the panics, in order.
pub(crate) fn drop_each<T>(items: impl IntoIterator<Item = T>) -> Vec<Payload> {
    items.into_iter().filter_map(|item| catch(|| drop(item)).err()).collect()
}

/// Drops a value. A panic of its drop has no caller to go to, and ends here after the panic hook has reported it.
pub(crate) fn drop_quietly<T>(item: T) {
    quietly(|| drop(item));
}

/// As [`drop_quietly`], one by one.
pub(crate) fn drop_each_quietly<T>(items: impl IntoIterator<Item = T>) {
    items.into_iter().for_each(drop_quietly);
}

/// Runs user code that must not interrupt its caller, and that no code waits for: its panic ends here, after the panic
/// hook has reported it.
pub(crate) fn quietly(user_code: impl FnOnce()) {
    if let Err(payload) = catch(user_code) {
        discard(payload);
    }
}

/// Drops the payload of a panic, if there is one. The drop may panic in turn; then its payload is leaked.
pub(crate) fn discard(payload: impl Into<Option<Payload>>) {
    let Some(payload) = payload.into() else { return };
    if let Err(another) = catch(|| drop(payload)) {
        std::mem::forget(another);
    }
}

/// The first of several panics, which is to be resumed; discards the others, because only one can be.
pub(crate) fn first_of(panics: impl IntoIterator<Item = Payload>) -> Option<Payload> {
    let mut panics = panics.into_iter();
    let first = panics.next();
    panics.for_each(discard);
    first
}

/// The text of a panic, for a record.
pub(crate) fn into_message(payload: Payload) -> String {
    let message = if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    };
    discard(payload);
    message
}

/// The text of a value with a `Display` that may be user code: as much of it as was written before it panicked.
pub(crate) fn text(shown: &impl fmt::Display) -> String {
    let mut text = String::new();
    match catch(|| write!(text, "{shown}")) {
        Ok(Ok(())) => {}
        Ok(Err(_)) => text.push_str(" (the rest of this text could not be written)"),
        Err(payload) => {
            discard(payload);
            text.push_str(" (the rest of this text could not be written: its `Display` panicked)");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::unwind::text;
    use std::fmt;

    #[test]
    fn r18_a_text_that_cannot_be_written_to_its_end_says_so() {
        struct BreaksOff;
        impl fmt::Display for BreaksOff {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("so far")?;
                Err(fmt::Error)
            }
        }
        assert_eq!(text(&BreaksOff), "so far (the rest of this text could not be written)");
    }
}
