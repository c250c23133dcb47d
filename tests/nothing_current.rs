//! A wait for a region where none is current is reported, once. The test has its own binary, because the report comes
//! once in a process.
#![allow(clippy::disallowed_types, reason = "a test has nothing that loom could take the place of")]
#![cfg(debug_assertions)]

use moored::{CancelScope, ExitStack, cancelled, set_report_hook, stop_requested};
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

fn is_pending(future: impl Future) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

#[test]
fn r05_a_wait_where_nothing_is_current_is_told_of_once_with_its_place_and_the_way_out() {
    let told: Arc<Mutex<Vec<String>>> = Arc::default();
    let hook = Arc::clone(&told);
    set_report_hook(move |report| hook.lock().unwrap().push(report.to_string()));

    // If a region is current, and in an exit, no report is made.
    let scope = CancelScope::new();
    assert!(is_pending(scope.run(cancelled())));
    let stack = ExitStack::new();
    stack.defer(stop_requested());
    assert!(is_pending(stack.close()));
    // A wait that is never polled, or that goes through a handle, makes no report either.
    drop((stop_requested(), scope.handle().stop_requested()));
    assert!(is_pending(CancelScope::new().handle().cancelled()));
    assert!(told.lock().unwrap().iter().all(|told| !told.contains("waits for ever")));

    let line = line!() + 1;
    assert!(is_pending(stop_requested()));
    assert!(is_pending(cancelled()));
    assert!(is_pending(stop_requested()));
    let told = told.lock().unwrap();
    let told: Vec<_> = told.iter().filter(|told| told.contains("waits for ever")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains(&format!("nothing_current.rs:{line}:")), "{told:?}");
    assert!(told[0].contains("`CancelHandle::stop_requested`"), "{told:?}");
}
