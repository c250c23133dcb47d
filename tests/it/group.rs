use crate::support::{hand, yield_now};
use moored::{Cause, ChildError, TaskGroup, rt::tokio::Tokio};

#[test]
fn r16_run_returns_after_every_child_has_left() {
    let word = String::from("borrowed");
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let mut run = hand(group.run(async {
        let child = group.spawn(async {
            yield_now().await;
            Ok(word.len())
        });
        Ok(child.join().await.unwrap())
    }));
    assert_eq!(run.drive().unwrap(), 8);
}

#[test]
fn r17_the_first_failure_cancels_the_siblings_and_the_body() {
    let group: TaskGroup<'_, &str> = TaskGroup::new();
    let mut handle = None;
    let mut run = hand(group.run(async {
        handle = Some(group.spawn(std::future::pending::<Result<(), &str>>()));
        group.spawn(async {
            yield_now().await;
            Err::<(), _>("broken")
        });
        std::future::pending::<Result<(), &str>>().await
    }));
    let failure = run.drive().unwrap_err();
    drop(run);
    assert!(matches!(failure.cause(), Cause::Child { error: "broken", .. }));
    assert_eq!(failure.rest().count(), 0);
    let joined = hand(handle.unwrap().join()).ready();
    assert!(matches!(joined, Err(ChildError::Cancelled(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn r16_executor_children_are_waited_for() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let sum = group
        .run(async {
            let tokio = Tokio::current();
            let children: Vec<_> = (0..100)
                .map(|n| {
                    group.spawn_on(&tokio, async move {
                        tokio::task::yield_now().await;
                        Ok(n)
                    })
                })
                .collect();
            let mut sum = 0;
            for child in children {
                sum += child.join().await.unwrap();
            }
            Ok(sum)
        })
        .await
        .unwrap();
    assert_eq!(sum, 4950);
}
