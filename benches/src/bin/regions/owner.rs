//! The cost of the owner check: an operation that checks its owner, beside the read of a thread-local and the same work
//! without a check.

use benches::{Bench, finish, inside_a_task};
use futures::future::BoxFuture;
use moored::{CancelScope, ExitStack};
use std::cell::{Cell, RefCell};
use std::hint::black_box;
use std::pin::pin;

thread_local! {
    static CURRENT: Cell<u64> = const { Cell::new(1) };
    static TASK: RefCell<Option<std::sync::Arc<u64>>> = RefCell::new(Some(std::sync::Arc::new(1)));
}

const AT_ONCE: u64 = 100;

pub(crate) fn ask(bench: &mut Bench) {
    bench
        .question("owner check: who runs?", 1)
        .each("moored: task::current, outside every task", moored::task::current)
        .each("floor: a thread-local number", || CURRENT.with(|current| black_box(current).get()))
        .each("floor: a thread-local Arc, cloned", || TASK.with_borrow(|task| task.clone()))
        .ask();
    // In batches, because the exits have to be run or dropped outside the measured part.
    inside_a_task(|| {
        bench
            .question("owner check: an exit registered", AT_ONCE)
            .items(AT_ONCE)
            .batched("moored: try_defer, by the owner", ExitStack::new, |stack| {
                for _ in 0..AT_ONCE {
                    stack.try_defer(async {}).unwrap();
                }
                Close(Some(stack))
            })
            .batched("by hand: a boxed future pushed", Vec::new, |mut stack| {
                for _ in 0..AT_ONCE {
                    let exit: BoxFuture<'static, ()> = Box::pin(async {});
                    stack.push(black_box(exit));
                }
                stack
            })
            .ask();
        let scope = CancelScope::new().enter().unwrap();
        bench
            .question("owner check: a run in an entered scope", 1)
            .each("moored: EnteredScope::run", || finish(scope.run(async { black_box(1) })))
            .each("floor: the future alone", || finish(pin!(async { black_box(1) })))
            .ask();
    });
}

/// Runs the exits when it is dropped: a stack that is dropped open would hand them to its task.
struct Close(Option<ExitStack>);

impl Drop for Close {
    fn drop(&mut self) {
        let stack = self.0.take().unwrap();
        assert_eq!(stack.len() as u64, AT_ONCE);
        finish(stack.close()).unwrap();
    }
}
