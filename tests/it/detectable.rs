//! Which misuse is detectable, by the environment in which the code runs (R5). A row of the table is an
//! environment, and has three tests: the current task, the operations that are rejected, and those that are
//! accepted. "None" is an unknown identity.
//!
//! | how the code runs | known | rejected | accepted |
//! |---|---|---|---|
//! | moored task | itself | any other task's | its own |
//! | tokio task | tokio's id | other tokio tasks', moored tasks' | its own |
//! | `block_on` body | none | nothing | everything |
//! | `LocalSet` | tokio's id; none in `run_until` of a `block_on` | as a tokio task | its own |
//! | smol task | none; a region in it is a root | nothing outside that root | everything |
//! | plain thread | none | nothing | everything |
//! | scoped thread | none, not even the task that started it | nothing, but from a task in it | everything |
//! | nested `block_on` | the task around it | as that task | everything of that task |
//! | drop at a runtime's shutdown | the task that is dropped | as that task | its own |

use crate::support::{block_on, hand, poll_once, yield_now};
use moored::{CancelScope, ExitStack, Misuse, TaskGroup, TaskId, task};
use std::future::{Future, pending};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};

/// A stack that the moored task `owner` has entered.
fn of_a_moored_task() -> Arc<ExitStack> {
    hand(
        task(async {
            let stack = ExitStack::new().named("a task's");
            stack.defer(async {});
            Arc::new(stack)
        })
        .named("owner"),
    )
    .ready()
}

/// A stack that a tokio task has entered.
fn of_a_tokio_task() -> Arc<ExitStack> {
    in_tokio(async {
        let stack = ExitStack::new().named("a tokio task's");
        stack.defer(async {});
        Arc::new(stack)
    })
}

/// A stack that was entered outside every known task.
fn of_nobody() -> Arc<ExitStack> {
    let stack = ExitStack::new();
    stack.defer(async {});
    assert_eq!(stack.owner(), None);
    Arc::new(stack)
}

/// Whether the current task may register an exit.
fn admits(stack: &ExitStack) -> bool {
    match stack.try_defer(async {}) {
        Ok(()) => true,
        Err(rejected) => {
            assert!(matches!(rejected.error(), Misuse::WrongTask(_)), "{rejected}");
            false
        }
    }
}

fn who() -> Option<String> {
    task::current().map(|id| id.to_string())
}

fn is_tokios(id: Option<&TaskId>) -> bool {
    id.is_some_and(|id| id.to_string().starts_with("tokio task "))
}

/// Closes a stack that a test has entered, so that nothing is reported lost.
fn close(stack: Arc<ExitStack>) {
    // On a thread of its own, because a thread without a known task may close every stack.
    std::thread::spawn(move || block_on(Arc::into_inner(stack).unwrap().close()).unwrap())
        .join()
        .unwrap();
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().build().unwrap()
}

/// Runs `future` in a tokio task.
fn in_tokio<F>(future: F) -> F::Output
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    runtime().block_on(async { tokio::spawn(future).await.unwrap() })
}

// A moored task.

#[test]
fn r05_moored_task_known_is_its_id_and_name() {
    let told = hand(task(async { who() }).named("me")).ready().unwrap();
    assert!(told.starts_with("task ") && told.ends_with(" (me)"), "{told}");
}

#[test]
fn r05_moored_task_rejected_is_what_any_other_task_owns() {
    let (moored, tokio) = (of_a_moored_task(), of_a_tokio_task());
    let admitted = hand(task(async { (admits(&moored), admits(&tokio)) })).ready();
    assert_eq!(admitted, (false, false));
    close(moored);
    close(tokio);
}

#[test]
fn r05_moored_task_accepted_is_what_it_owns_and_what_nobody_does() {
    let nobody = of_nobody();
    hand(task(async {
        let own = ExitStack::new();
        own.defer(async {});
        yield_now().await;
        assert!(admits(&own) && admits(&nobody));
        let deeper = CancelScope::new();
        assert!(deeper.run(async { admits(&own) }).await.unwrap());
        own.close().await.unwrap();
    }))
    .drive();
    close(nobody);
}

// A tokio task.

#[test]
fn r05_tokio_task_known_is_tokios_id() {
    assert!(in_tokio(async { is_tokios(task::current().as_ref()) }));
}

#[test]
fn r05_tokio_task_rejected_is_what_another_tokio_task_or_a_moored_one_owns() {
    let moored = of_a_moored_task();
    let theirs = Arc::clone(&moored);
    let admitted = in_tokio(async move {
        let other = tokio::spawn(async {
            let stack = ExitStack::new();
            stack.defer(async {});
            stack
        });
        let other = other.await.unwrap();
        let admitted = (admits(&other), admits(&theirs));
        let refused = other.close().await.unwrap_err();
        assert!(refused.rejected().is_some());
        close(Arc::new(refused.into_inner().unwrap()));
        admitted
    });
    assert_eq!(admitted, (false, false));
    close(moored);
}

#[test]
fn r05_tokio_task_accepted_is_its_own_through_regions_that_are_their_own_roots() {
    in_tokio(async {
        let own = ExitStack::new();
        own.defer(async {});
        tokio::task::yield_now().await;
        assert!(admits(&own));
        assert!(CancelScope::new().run(async { admits(&own) }).await.unwrap());
        own.close().await.unwrap();
    });
}

// The body of a `block_on`.

#[test]
fn r05_block_on_known_is_nobody() {
    assert_eq!(block_on(async { who() }), None);
    assert_eq!(runtime().block_on(async { who() }), None);
    assert_eq!(smol::block_on(async { who() }), None);
}

#[test]
fn r05_block_on_rejected_is_nothing() {
    for stack in [of_a_moored_task(), of_a_tokio_task(), of_nobody()] {
        assert!(block_on(async { admits(&stack) }));
        assert!(runtime().block_on(async { admits(&stack) }));
        close(stack);
    }
}

#[test]
fn r05_block_on_accepted_is_everything_and_a_region_in_it_is_its_own_root() {
    block_on(async {
        let own = ExitStack::new();
        own.defer(async {});
        let inside = own.run(async { Ok::<_, ()>(who()) }).await.unwrap();
        assert!(inside.unwrap().starts_with("task "));
        let stack = ExitStack::new();
        stack.defer(async {});
        assert!(admits(&stack));
        stack.close().await.unwrap();
    });
}

// A `LocalSet`.

#[test]
fn r05_local_set_known_is_the_id_of_a_spawned_task_and_nobody_in_a_block_on() {
    let set = tokio::task::LocalSet::new();
    set.block_on(&runtime(), async {
        assert_eq!(who(), None);
        let local = tokio::task::spawn_local(async { is_tokios(task::current().as_ref()) });
        assert!(local.await.unwrap());
    });
}

#[test]
fn r05_local_set_rejected_is_what_another_local_task_owns() {
    let set = tokio::task::LocalSet::new();
    let moored = of_a_moored_task();
    let stack = set.block_on(&runtime(), async {
        let owner = tokio::task::spawn_local(async {
            let stack = ExitStack::new();
            stack.defer(async {});
            Arc::new(stack)
        });
        let stack = owner.await.unwrap();
        let (one, two) = (Arc::clone(&stack), Arc::clone(&moored));
        let thief = tokio::task::spawn_local(async move { (admits(&one), admits(&two)) });
        assert_eq!(thief.await.unwrap(), (false, false));
        assert!(admits(&stack), "the body of the set's block_on is nobody");
        stack
    });
    close(stack);
    close(moored);
}

#[test]
fn r05_local_set_accepted_is_its_own_across_awaits() {
    let set = tokio::task::LocalSet::new();
    set.block_on(&runtime(), async {
        let own = tokio::task::spawn_local(async {
            let stack = ExitStack::new();
            stack.defer(async {});
            tokio::task::yield_now().await;
            assert!(admits(&stack));
            stack.close().await.unwrap();
        });
        own.await.unwrap();
    });
}

// A smol task.

fn in_smol<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> T {
    smol::block_on(smol::spawn(future))
}

#[test]
fn r05_smol_task_known_is_nobody_and_in_a_region_that_regions_task() {
    let (outside, inside) =
        in_smol(async { (who(), CancelScope::new().run(async { who() }).await.unwrap()) });
    assert_eq!(outside, None);
    assert!(inside.unwrap().starts_with("task "));
}

#[test]
fn r05_smol_task_rejected_is_nothing_but_from_inside_a_region_of_its_own() {
    let stack = of_a_moored_task();
    let theirs = Arc::clone(&stack);
    let admitted = in_smol(async move {
        let outside = admits(&theirs);
        (outside, CancelScope::new().run(async { admits(&theirs) }).await.unwrap())
    });
    assert_eq!(admitted, (true, false));
    close(stack);
}

#[test]
fn r05_smol_task_accepted_is_everything_also_what_another_smol_task_entered() {
    let stack = in_smol(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        stack
    });
    in_smol(async move {
        assert!(admits(&stack));
        stack.close().await.unwrap();
    });
}

// A plain thread.

fn on_thread<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    std::thread::spawn(f).join().unwrap()
}

#[test]
fn r05_thread_known_is_nobody_whoever_started_it() {
    let told = hand(task(async { on_thread(who) })).ready();
    assert_eq!(told, None);
}

#[test]
fn r05_thread_rejected_is_nothing() {
    let (moored, tokio) = (of_a_moored_task(), of_a_tokio_task());
    let (one, two) = (Arc::clone(&moored), Arc::clone(&tokio));
    assert_eq!(on_thread(move || (admits(&one), admits(&two))), (true, true));
    close(moored);
    close(tokio);
}

#[test]
fn r05_thread_accepted_is_what_it_and_other_threads_entered() {
    let stack = on_thread(of_nobody);
    let theirs = Arc::clone(&stack);
    assert!(on_thread(move || admits(&theirs)));
    assert!(admits(&stack));
    close(stack);
}

// A scoped thread.

#[test]
fn r05_scoped_thread_known_is_nobody_though_it_borrows_from_a_task() {
    let told = hand(task(async {
        let own = ExitStack::new();
        let told = std::thread::scope(|scope| scope.spawn(|| (who(), own.len())).join().unwrap());
        own.close().await.unwrap();
        told
    }))
    .ready();
    assert_eq!(told, (None, 0));
}

#[test]
fn r05_scoped_thread_rejected_is_what_the_task_owns_as_soon_as_it_is_a_task_itself() {
    hand(task(async {
        let own = ExitStack::new().named("lent to a thread");
        own.defer(async {});
        let admitted = std::thread::scope(|scope| {
            scope.spawn(|| block_on(task(async { admits(&own) }))).join().unwrap()
        });
        assert!(!admitted);
        own.close().await.unwrap();
    }))
    .drive();
}

#[test]
fn r05_scoped_thread_accepted_is_everything() {
    hand(task(async {
        let own = ExitStack::new();
        own.defer(async {});
        let admitted = std::thread::scope(|scope| scope.spawn(|| admits(&own)).join().unwrap());
        assert!(admitted, "an unknown identity is never held against anybody");
        assert_eq!(own.len(), 2);
        own.close().await.unwrap();
    }))
    .drive();
}

// A nested `block_on`.

#[test]
fn r05_nested_block_on_known_is_the_task_around_it_and_afterwards_again() {
    hand(task(async {
        let outside = who();
        assert_eq!(block_on(async { who() }), outside);
        let inner = block_on(task(async { who() }).named("inner"));
        assert!(inner.unwrap().ends_with("(inner)"));
        assert_eq!(who(), outside);
    }))
    .ready();
    in_tokio(async {
        let outside = who();
        assert_eq!(futures::executor::block_on(async { who() }), outside);
    });
}

#[test]
fn r05_nested_block_on_rejected_is_what_another_task_owns_and_from_a_task_in_it() {
    let other = of_a_moored_task();
    hand(task(async {
        let own = ExitStack::new();
        own.defer(async {});
        assert!(!block_on(async { admits(&other) }));
        assert!(!block_on(task(async { admits(&own) })));
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn(async { Ok(admits(&own)) });
        assert!(!block_on(group.run(async { Ok(child.join().await.unwrap()) })).unwrap());
        drop(group);
        own.close().await.unwrap();
    }))
    .drive();
    close(other);
}

#[test]
fn r05_nested_block_on_accepted_is_what_the_task_around_it_owns() {
    hand(task(async {
        let own = ExitStack::new();
        own.defer(async {});
        assert!(block_on(async { admits(&own) }));
        let scope = CancelScope::new();
        assert!(block_on(scope.run(async { admits(&own) })).unwrap());
        block_on(own.close()).unwrap();
    }))
    .drive();
}

// Dropped by a runtime that shuts down.

/// Sends, when it is dropped, the current task and whether each stack admits it.
struct AtDrop {
    tell: Sender<(Option<TaskId>, Vec<bool>)>,
    stacks: Vec<Arc<ExitStack>>,
}

impl Drop for AtDrop {
    fn drop(&mut self) {
        let admitted = self.stacks.iter().map(|stack| admits(stack)).collect();
        let _ = self.tell.send((task::current(), admitted));
    }
}

/// Parks in a task of a runtime that then shuts down; returns the values that the drop sent.
fn at_shutdown<F>(
    make: impl FnOnce(AtDrop) -> F,
    foreign: &[Arc<ExitStack>],
) -> (Option<TaskId>, Vec<bool>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (tell, told) = channel();
    let runtime = runtime();
    let parked = runtime.spawn(make(AtDrop { tell, stacks: foreign.to_vec() }));
    runtime.block_on(tokio::task::yield_now());
    assert!(!parked.is_finished());
    drop(runtime);
    told.recv().unwrap()
}

#[test]
fn r05_shutdown_known_is_the_task_that_is_dropped() {
    let in_moored = |at_drop: AtDrop| {
        task(async move {
            let _at_drop = at_drop;
            pending::<()>().await
        })
        .named("dropped")
    };
    let (who, _) = at_shutdown(in_moored, &[]);
    assert_eq!(who.unwrap().name(), Some("dropped"));
    let in_plain_tokio = |at_drop: AtDrop| async move {
        let _at_drop = at_drop;
        pending::<()>().await
    };
    let (who, _) = at_shutdown(in_plain_tokio, &[]);
    assert!(who.is_none() || is_tokios(who.as_ref()), "{who:?}");
}

#[test]
fn r05_shutdown_rejected_is_what_another_task_owns() {
    let other = of_a_moored_task();
    let parked = |at_drop: AtDrop| {
        task(async move {
            let _at_drop = at_drop;
            pending::<()>().await
        })
    };
    let (_, admitted) = at_shutdown(parked, &[Arc::clone(&other)]);
    assert_eq!(admitted, [false]);
    close(other);
}

#[test]
fn r05_shutdown_accepted_is_what_the_dropped_task_owns() {
    let slot: Arc<Mutex<Option<Arc<ExitStack>>>> = Arc::default();
    let kept = Arc::clone(&slot);
    let parked = move |mut at_drop: AtDrop| {
        task(async move {
            let own = Arc::new(ExitStack::new());
            own.defer(async {});
            at_drop.stacks.push(Arc::clone(&own));
            *kept.lock().unwrap() = Some(own);
            pending::<()>().await
        })
    };
    let (_, admitted) = at_shutdown(parked, &[]);
    assert_eq!(admitted, [true], "no false alarm while everything is torn down");
    close(slot.lock().unwrap().take().unwrap());
}

// The rules that hold in every row.

#[test]
fn r05_an_in_task_child_is_a_task_of_its_own_wherever_its_group_runs() {
    async fn probe() -> bool {
        let own = ExitStack::new();
        let admitted = own
            .run(async {
                own.defer(async {});
                let group: TaskGroup<'_, ()> = TaskGroup::new();
                let child = group.spawn(async { Ok(admits(&own)) });
                Ok::<_, ()>(group.run(async { Ok(child.join().await.unwrap()) }).await.unwrap())
            })
            .await;
        admitted.unwrap()
    }
    assert!(!hand(task(probe())).drive());
    assert!(!in_tokio(probe()));
    assert!(!block_on(probe()));
    assert!(!in_smol(probe()));
    assert!(!on_thread(|| block_on(probe())));
    assert!(!hand(task(async { block_on(probe()) })).drive());
}

#[test]
fn r05_two_arms_of_a_join_are_one_task_wherever_they_run() {
    async fn probe() -> bool {
        let scope = CancelScope::new();
        let both = scope.run(async {
            let own = ExitStack::new();
            own.defer(async {});
            let arm = async {
                yield_now().await;
                admits(&own)
            };
            let (one, two) = futures::future::join(arm, async { admits(&own) }).await;
            own.close().await.unwrap();
            one && two
        });
        both.await.unwrap()
    }
    assert!(hand(task(probe())).drive());
    assert!(in_tokio(probe()));
    assert!(block_on(probe()));
    assert!(in_smol(probe()));
    assert!(
        hand(task(async {
            poll_once(&mut Box::pin(async { block_on(probe()) })).await.is_ready()
        }))
        .drive()
    );
}
