//! The ids of tasks that the runtime knows: tokio's, and `task` in a runtime (R5).

use crate::support::{Gate, Log, Reports, block_on, poll_once, yield_now};
use moored::{CancelScope, Cause, ExitStack, TaskGroup, task};
use std::future::{Future, pending};
use std::sync::Arc;

async fn spawned<F>(future: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    tokio::spawn(future).await.unwrap()
}

#[tokio::test]
async fn r05_a_stack_entered_in_one_tokio_task_is_rejected_in_another() {
    let log = Log::new();
    let stack = Arc::new(ExitStack::new().named("session"));
    let (theirs, exit) = (Arc::clone(&stack), log.entry("exit"));
    let gate = Gate::new();
    let wait = gate.wait();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let owner = tokio::spawn(async move {
        theirs.defer(exit);
        sender.send(theirs.owner().unwrap()).unwrap();
        wait.await;
        let stack = theirs;
        stack.run(async { Ok::<_, ()>(()) }).await.unwrap();
    });
    let owner_id = receiver.await.unwrap();
    assert!(owner_id.to_string().starts_with("tokio task "), "{owner_id}");
    let theirs = Arc::clone(&stack);
    let (text, thief) = spawned(async move {
        let rejected = theirs.try_defer(async {}).unwrap_err();
        (rejected.to_string(), task::current().unwrap())
    })
    .await;
    assert!(text.starts_with(&format!("{thief} may not defer exit stack `session`")), "{text}");
    assert!(text.contains(&format!("entered by {owner_id} at")), "{text}");
    assert_ne!(owner_id, thief);
    let theirs = Arc::clone(&stack);
    let rejected = spawned(async move {
        matches!(
            theirs.run(async { Ok::<_, ()>(()) }).await.unwrap_err().cause(),
            Cause::Rejected(_)
        )
    })
    .await;
    assert!(rejected);
    gate.open();
    owner.await.unwrap();
    log.is(&["exit"]);
}

#[tokio::test]
async fn r05_the_body_of_a_block_on_has_no_tokio_id_and_is_not_rejected() {
    let stack = Arc::new(ExitStack::new());
    let theirs = Arc::clone(&stack);
    spawned(async move { theirs.defer(async {}) }).await;
    assert_eq!(task::current(), None);
    stack.try_defer(async {}).unwrap();
    assert_eq!(stack.len(), 2);
    Arc::into_inner(stack).unwrap().close().await.unwrap();
}

#[tokio::test]
async fn r05_a_root_region_moves_between_tokio_tasks_with_its_future() {
    let gate = Gate::new();
    let log = Log::new();
    let wait = gate.wait();
    let exit = log.entry("exit");
    let mut run = Box::pin(async move {
        let scope = CancelScope::new();
        let stack = ExitStack::new();
        let body = async {
            stack.defer(exit);
            wait.await;
            stack.defer(async {});
            CancelScope::new().run(yield_now()).await.unwrap();
            Ok::<_, ()>(())
        };
        scope.run(stack.run(body)).await.unwrap().unwrap();
        drop(scope);
        7
    });
    let moved = spawned(async move {
        assert!(poll_once(&mut run).await.is_pending());
        (run,)
    })
    .await;
    gate.open();
    assert_eq!(spawned(moved.0).await, 7);
    log.is(&["exit"]);
}

#[tokio::test]
async fn r05_a_root_region_does_not_hide_tokios_id() {
    // A stack of the tokio task, used inside a region of the same tokio task that is its own root.
    spawned(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        let scope = CancelScope::new();
        scope.run(async { stack.try_defer(async {}).unwrap() }).await.unwrap();
        assert_eq!(stack.len(), 2);
        stack.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn r05_a_moored_task_hides_tokios_id() {
    spawned(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        task(async { stack.try_defer(async {}).unwrap_err() }).await;
        stack.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn r05_an_in_task_child_in_a_tokio_task_is_rejected_by_an_outer_stack() {
    spawned(async {
        let stack = ExitStack::new();
        stack.defer(async {});
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let child = group.spawn(async { Ok(stack.try_defer(async {}).is_err()) });
        let rejected = group.run(async { Ok(child.join().await.unwrap()) }).await;
        assert!(rejected.unwrap());
        drop(group);
        stack.close().await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn r05_a_nested_block_on_in_a_tokio_task_keeps_and_restores_the_outer_task() {
    spawned(async {
        let before = task::current();
        let inner = block_on(task(async { task::current() }).named("inner"));
        assert_eq!(inner.unwrap().name(), Some("inner"));
        let stack = ExitStack::new();
        stack.defer(async {});
        block_on(async { stack.try_defer(async {}).unwrap() });
        assert_eq!(task::current(), before);
        stack.close().await.unwrap();
    })
    .await;
}

#[test]
fn r05_what_a_runtime_drops_at_its_shutdown_is_not_a_foreign_drop() {
    let reports = Reports::watch();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    runtime.spawn(task(async move {
        let stack = ExitStack::new().named("shut-down");
        let scope = CancelScope::new().named("shut-down scope");
        let body = async {
            sender.send(()).unwrap();
            scope.run(pending::<()>()).await.map_err(drop)
        };
        stack.run(body).await
    }));
    receiver.recv().unwrap();
    drop(runtime);
    assert_eq!(reports.of("shut-down"), Vec::<String>::new());
}

/// In a process of its own, in which no other test has taken a number.
#[test]
fn r05_a_task_of_the_runtime_is_not_the_task_of_the_crate_with_its_number() {
    const ALONE: &str = "MOORED_ALONE";
    if std::env::var_os(ALONE).is_none() {
        let name = "r05_a_task_of_the_runtime_is_not_the_task_of_the_crate_with_its_number";
        let test = format!("runtime_ids::{name}");
        let mut alone = std::process::Command::new(std::env::current_exe().unwrap());
        let alone = alone.args(["--exact", &test]).env(ALONE, "1").output().unwrap();
        let told = String::from_utf8_lossy(&alone.stdout);
        assert!(alone.status.success() && told.contains("1 passed"), "{told}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let current = || async { task::current().unwrap() };
    let of_runtime = || runtime.block_on(async { tokio::spawn(current()).await.unwrap() });
    let of_crate = || crate::support::hand(task(current())).ready();
    let number = |id: &moored::TaskId| -> u64 {
        id.to_string().rsplit(' ').next().unwrap().parse().unwrap()
    };
    let (mut theirs, mut ours) = (of_runtime(), of_crate());
    for _ in 0..10_000 {
        match number(&theirs).cmp(&number(&ours)) {
            std::cmp::Ordering::Less => theirs = of_runtime(),
            std::cmp::Ordering::Greater => ours = of_crate(),
            std::cmp::Ordering::Equal => return assert_ne!(theirs, ours),
        }
    }
    panic!("no two of one number: {theirs} and {ours}");
}
