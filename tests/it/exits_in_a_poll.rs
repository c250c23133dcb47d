//! Exits that are registered, counted and handed on while their stack is polled: by its body, by its exits, by the body of a
//! stack inside, by another thread.

use crate::support::{Log, hand, yield_now};
use moored::{ExitStack, task};
use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::{Arc, Mutex};

type Never = Result<(), Infallible>;

fn on_another_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    std::thread::scope(|threads| threads.spawn(work).join().unwrap())
}

fn finish(body: impl Future<Output = ()>) {
    hand(task(body)).drive();
}

#[test]
fn r14_an_exit_of_another_thread_keeps_its_place_among_those_of_the_body() {
    for waits in [false, true] {
        let (log, stack) = (Log::new(), ExitStack::new());
        finish(async {
            let body = async {
                stack.defer(log.entry("first"));
                on_another_thread(|| stack.defer(log.entry("second")));
                on_another_thread(|| stack.defer(log.entry("third")));
                assert_eq!(stack.len(), 3);
                stack.defer(log.entry("fourth"));
                on_another_thread(|| stack.defer(log.entry("fifth")));
                if waits {
                    yield_now().await;
                }
                Never::Ok(())
            };
            stack.run(body).await.unwrap();
        });
        log.is(&["fifth", "fourth", "third", "second", "first"]);
    }
}

#[test]
fn r14_an_exit_that_another_thread_registers_while_exits_run_is_next() {
    for waits in [false, true] {
        let (log, stack) = (Log::new(), Arc::new(ExitStack::new()));
        finish(async {
            let (inside, of_exit) = (Arc::clone(&stack), log.clone());
            let exit = async move {
                if waits {
                    yield_now().await;
                }
                on_another_thread(|| inside.defer(of_exit.entry("of a thread")));
                of_exit.add("exit");
            };
            let body = async {
                stack.defer(log.entry("first"));
                stack.defer(exit);
                Never::Ok(())
            };
            stack.run(body).await.unwrap();
        });
        log.is(&["exit", "of a thread", "first"]);
    }
}

#[test]
fn r14_a_polled_stack_counts_its_exits_for_every_thread() {
    let stack = Arc::new(ExitStack::new());
    let everywhere = |stack: &ExitStack| {
        let other = on_another_thread(|| (stack.len(), format!("{stack:?}")));
        assert_eq!(other.0, stack.len());
        assert!(other.1.contains(&format!("exits: {}", other.0)), "{}", other.1);
        other.0
    };
    let seen: Arc<Mutex<Vec<usize>>> = Arc::default();
    finish(async {
        let body = async {
            for _ in 0..3 {
                let (inside, seen) = (Arc::downgrade(&stack), Arc::clone(&seen));
                stack.defer(async move {
                    let len = everywhere(&inside.upgrade().unwrap());
                    seen.lock().unwrap().push(len);
                });
            }
            assert_eq!(everywhere(&stack), 3);
            let other = ExitStack::new();
            let inside = async {
                other.defer(async {});
                assert_eq!((everywhere(&stack), everywhere(&other)), (3, 1));
                Never::Ok(())
            };
            other.run(inside).await.unwrap();
            assert_eq!(everywhere(&other), 0);
            Never::Ok(())
        };
        stack.run(body).await.unwrap();
    });
    assert_eq!(*seen.lock().unwrap(), [2, 1, 0]);
    assert_eq!(everywhere(&stack), 0);
}

#[test]
fn r14_exits_that_the_body_of_a_stack_inside_registers_keep_their_order() {
    let log = Log::new();
    let (outer, inner) = (ExitStack::new(), ExitStack::new());
    finish(async {
        let body = async {
            outer.defer(log.entry("outer 1"));
            let inside = async {
                outer.defer(log.entry("outer 2"));
                inner.defer(log.entry("inner"));
                outer.defer(log.entry("outer 3"));
                Never::Ok(())
            };
            inner.run(inside).await.unwrap();
            outer.defer(log.entry("outer 4"));
            Never::Ok(())
        };
        outer.run(body).await.unwrap();
    });
    log.is(&["inner", "outer 4", "outer 3", "outer 2", "outer 1"]);
}

#[test]
fn r08_a_stack_inside_that_is_dropped_where_it_waits_leaves_the_exits_of_the_outer_one_alone() {
    let log = Log::new();
    let outer = ExitStack::new();
    finish(async {
        let body = async {
            outer.defer(log.entry("outer 1"));
            {
                let inner = ExitStack::new();
                let inside = async {
                    inner.defer(log.entry("inner"));
                    pending::<Never>().await
                };
                let mut run = pin!(inner.run(inside));
                assert!(futures::poll!(run.as_mut()).is_pending());
                outer.defer(log.entry("outer 2"));
            }
            assert_eq!(outer.len(), 2);
            outer.defer(log.entry("outer 3"));
            Never::Ok(())
        };
        outer.run(body).await.unwrap();
    });
    log.is(&["inner", "outer 3", "outer 2", "outer 1"]);
}

#[test]
fn r14_all_exits_go_to_the_new_stack_also_from_the_body_of_a_stack_inside() {
    let log = Log::new();
    let (outer, inner) = (ExitStack::new(), ExitStack::new());
    finish(async {
        let body = async {
            outer.defer(log.entry("outer 1"));
            on_another_thread(|| outer.defer(log.entry("outer 2")));
            let inside = async {
                outer.defer(log.entry("outer 3"));
                inner.defer(log.entry("inner"));
                Ok::<_, Infallible>(outer.pop_all())
            };
            let kept = inner.run(inside).await.unwrap();
            assert_eq!((outer.len(), kept.len()), (0, 3));
            outer.defer(log.entry("outer 4"));
            Ok::<_, Infallible>(kept)
        };
        let kept = outer.run(body).await.unwrap();
        log.add("left");
        kept.close().await.unwrap();
    });
    log.is(&["inner", "outer 4", "left", "outer 3", "outer 2", "outer 1"]);
}

#[test]
fn r14_an_exit_moves_the_exits_that_come_after_it_to_a_new_stack() {
    let (log, stack) = (Log::new(), Arc::new(ExitStack::new()));
    let kept: Arc<Mutex<Option<ExitStack>>> = Arc::default();
    finish(async {
        let (inside, keeps) = (Arc::clone(&stack), Arc::clone(&kept));
        let body = async {
            stack.defer(log.entry("first"));
            stack.defer(log.entry("second"));
            stack.defer(async move { *keeps.lock().unwrap() = Some(inside.pop_all()) });
            Never::Ok(())
        };
        stack.run(body).await.unwrap();
        log.add("left");
        let kept = kept.lock().unwrap().take().unwrap();
        assert_eq!(kept.len(), 2);
        kept.close().await.unwrap();
    });
    log.is(&["left", "second", "first"]);
}
