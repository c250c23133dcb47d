//! The results of children, as a stream (R17, R19).

use super::groups::{Group, next};
use crate::support::{Executor, boom, hand, panic_text, yield_now};
use futures::StreamExt;
use moored::Outcome;
use std::future::pending;
use std::sync::Mutex;

#[test]
fn r17_results_tell_how_children_end_in_the_order_in_which_they_do() {
    let group = Group::new().keep_going();
    let executor = Executor::new();
    let mut run = hand(group.run(async {
        let mut results = group.results();
        let slow = group.spawn(async {
            yield_now().await;
            yield_now().await;
            Ok(())
        });
        let broken = group.spawn(async { Err::<(), _>("broken") });
        let ended = [results.next().await.unwrap(), results.next().await.unwrap()];
        assert_eq!((&ended[0].0, &ended[1].0), (&broken.id(), &slow.id()));
        assert!(matches!(ended[0].1, Outcome::Failed) && matches!(ended[1].1, Outcome::Completed));
        assert_eq!(next(&mut results).await, None, "nobody is inside");
        let cancelled = group.spawn(pending::<Result<(), _>>());
        cancelled.cancel();
        group.spawn_on(&executor, async { Ok(()) });
        assert_eq!(next(&mut results).await, Some("cancelled"), "there may be more after a `None`");
        assert_eq!(next(&mut results).await, Some("completed"));
        assert_eq!(next(&mut results).await, None);
        Ok(())
    }));
    for _ in 0..6 {
        run.pending();
    }
    executor.run();
    assert_eq!(run.drive().unwrap_err().causes().count(), 1);
}

#[test]
fn r17_results_tell_of_a_panic() {
    let group = Group::new();
    let told = Mutex::new(Vec::new());
    let mut results = group.results();
    group.spawn(async {
        boom("child");
        Ok(())
    });
    let mut run = hand(group.run(async { Ok(()) }));
    assert_eq!(panic_text(|| run.drive()), "child");
    told.lock().unwrap().extend(hand(next(&mut results)).ready());
    assert_eq!(*told.lock().unwrap(), ["panicked"]);
}

#[test]
fn r17_two_streams_both_see_everything_from_when_they_were_made() {
    let group = Group::new();
    let body = async {
        let mut first = group.results();
        group.spawn(async { Ok(()) }).join().await.unwrap();
        let mut second = group.results();
        group.spawn(async { Ok(()) }).join().await.unwrap();
        assert_eq!(next(&mut first).await, Some("completed"));
        assert_eq!(next(&mut first).await, Some("completed"));
        assert_eq!(next(&mut first).await, None);
        assert_eq!(next(&mut second).await, Some("completed"));
        assert_eq!(next(&mut second).await, None);
        Ok(())
    };
    hand(group.run(body)).drive().unwrap();
}

#[test]
fn r19_nothing_is_buffered_without_a_stream() {
    let group = Group::new();
    let body = async {
        drop(group.results());
        for _ in 0..1_000 {
            group.spawn(async { Ok(()) }).join().await.unwrap();
        }
        let mut results = group.results();
        assert_eq!(next(&mut results).await, None);
        Ok(())
    };
    hand(group.run(body)).drive().unwrap();
}

#[test]
fn r17_a_reader_on_another_thread_is_woken_by_the_last_child() {
    let executor = Executor::new();
    let group = Group::new();
    let mut results = group.results();
    group.spawn_on(&executor, async {
        yield_now().await;
        Ok(())
    });
    let mut run = hand(group.run(async { Ok(()) }));
    run.pending();
    std::thread::scope(|threads| {
        let reader = threads.spawn(move || {
            crate::support::block_on(async {
                assert_eq!(next(&mut results).await, Some("completed"));
                assert_eq!(next(&mut results).await, None);
            });
        });
        executor.run();
        reader.join().unwrap();
    });
    run.drive().unwrap();
}
