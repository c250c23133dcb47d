//! The spans and events of the feature `tracing`. Alone in its process, because a subscriber that comes while
//! other threads meet a span for the first time may miss it.

// `src/sync.rs` is the door for the crate's own memory. A test needs no loom.
#![allow(clippy::disallowed_types)]

use moored::testing::{MockClock, hand};
use moored::{BoxTask, CancelScope, ExitStack, Refused, Spawn, TaskGroup, task};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Held by each test: a subscriber may miss a span that another thread meets for the first time.
static ALONE: Mutex<()> = Mutex::new(());

/// Writes down the spans that are entered and the events inside.
#[derive(Clone, Default)]
struct Scribe(Arc<Mutex<Vec<String>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0 += &format!(" {field}={value:?}");
    }
}

impl Subscriber for Scribe {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "moored"
    }
    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        let mut text = Text("span".into());
        attributes.record(&mut text);
        self.0.lock().unwrap().push(text.0);
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        let mut text = Text("field".into());
        values.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text("event".into());
        event.record(&mut text);
        self.0.lock().unwrap().push(text.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn a_region_is_a_span_and_its_cancellation_an_event() {
    let _alone = ALONE.lock().unwrap();
    let scribe = Scribe::default();
    tracing::subscriber::with_default(scribe.clone(), || {
        let scope = CancelScope::new().named("traced");
        scope.cancel_because("enough");
        hand(scope.run(std::future::pending::<()>())).ready().unwrap_err();
    });
    let written = scribe.0.lock().unwrap().join("\n");
    assert!(written.contains("span region=\"cancel scope `traced`\""), "{written}");
    assert!(written.contains("message=cancelled") && written.contains("enough"), "{written}");
    assert!(written.contains("message=left"), "{written}");
}

#[test]
fn r08_an_exit_is_a_span_and_its_adoption_an_event_that_names_its_stack() {
    let _alone = ALONE.lock().unwrap();
    let scribe = Scribe::default();
    tracing::subscriber::with_default(scribe.clone(), || {
        let scope = CancelScope::new().named("adopter");
        let body = async {
            let stack = ExitStack::new().named("loser");
            let mut run = Box::pin(stack.run(async {
                stack.defer(async {});
                stack.defer(async {});
                std::future::pending::<Result<(), ()>>().await
            }));
            let mut polled = false;
            std::future::poll_fn(|cx| {
                polled = run.as_mut().poll(cx).is_ready();
                std::task::Poll::Ready(())
            })
            .await;
            assert!(!polled);
        };
        hand(scope.run(body)).drive().unwrap();
    });
    let written = scribe.0.lock().unwrap().join("\n");
    assert!(written.contains("span stack=\"exit stack `loser`\""), "{written}");
    assert!(written.contains(&format!("registered_at=\"{}:", file!())), "{written}");
    assert!(written.contains("adopted 2 exits from exit stack `loser`"), "{written}");
    assert!(written.contains("why=\"its body was dropped\""), "{written}");
    assert!(written.contains(&format!("entered_at=\"{}:", file!())), "{written}");
}

#[test]
fn r13_a_span_has_the_times_and_the_reason_of_its_region_and_an_exits_span_its_grace() {
    let _alone = ALONE.lock().unwrap();
    let scribe = Scribe::default();
    let clock = MockClock::new();
    tracing::subscriber::with_default(scribe.clone(), || {
        let minute = Duration::from_secs(60);
        let scope = CancelScope::new().named("timed").timeout(90 * minute).grace(minute / 2);
        let stack = ExitStack::new().named("bounded").grace(2 * minute);
        let body = stack.run(async {
            stack.defer(async {});
            moored::shield(moored::move_on_after(minute, std::future::pending::<()>())).await;
            Ok::<_, ()>(())
        });
        let mut run = hand(task(scope.run(body)).clock(clock.clone()));
        run.pending();
        scope.stop();
        run.pending();
        scope.cancel_because("enough");
        run.pending();
        clock.advance(minute);
        // The shield let the body end by itself.
        run.ready().unwrap().unwrap();
    });
    let written = scribe.0.lock().unwrap().join("\n");
    for field in [
        "field deadline_left=\"1h 30min\"",
        "field deadline_left=\"1min\"",
        "field reason=\"asked to wind down (at ",
        "field grace_left=\"30s\"",
        "field reason=\"cancelled: enough (at ",
        "grace=\"2min\"",
        "region=\"shield",
        "region=\"timeout",
        "shielded=true",
    ] {
        assert!(written.contains(field), "no {field} in\n{written}");
    }
}

#[test]
fn r13_a_stop_and_what_a_region_waits_for_are_told_in_words() {
    let _alone = ALONE.lock().unwrap();
    let scribe = Scribe::default();
    tracing::subscriber::with_default(scribe.clone(), || {
        let stack = ExitStack::new().named("worded");
        let scope = CancelScope::new().named("worded-scope");
        scope.stop();
        let body = async {
            stack.defer(async {});
            Ok::<_, ()>(())
        };
        hand(scope.run(stack.run(body))).ready().unwrap().unwrap();
    });
    let written = scribe.0.lock().unwrap().join("\n");
    assert!(written.contains("message=asked to wind down (at "), "{written}");
    assert!(written.contains("message=runs the exit registered at "), "{written}");
    assert!(!written.contains("Location"), "{written}");
}

#[test]
fn r08_a_region_that_waits_for_what_it_adopted_says_so() {
    let _alone = ALONE.lock().unwrap();
    let scribe = Scribe::default();
    tracing::subscriber::with_default(scribe.clone(), || {
        let body = async {
            let stack = ExitStack::new();
            let body = stack.run(async {
                stack.defer(std::future::pending::<()>());
                std::future::pending::<Result<(), ()>>().await
            });
            let mut run = Box::pin(body);
            let is_pending = std::future::poll_fn(|cx| {
                std::task::Poll::Ready(run.as_mut().poll(cx).is_pending())
            });
            assert!(is_pending.await);
        };
        hand(CancelScope::new().run(body)).pending();
    });
    let written = scribe.0.lock().unwrap().join("\n");
    assert!(written.contains("message=waits for exits that it adopted"), "{written}");
}

#[test]
fn r13_a_region_that_was_stopped_before_its_entry_is_told_with_its_whole_grace() {
    let _alone = ALONE.lock().unwrap();
    let scribe = Scribe::default();
    tracing::subscriber::with_default(scribe.clone(), || {
        let scope = CancelScope::new().grace(Duration::from_secs(40));
        scope.stop();
        hand(scope.run(std::future::pending::<()>())).pending();
    });
    let written = scribe.0.lock().unwrap().join("\n");
    assert!(written.contains("field grace_left=\"40s\""), "{written}");
}

/// An executor whose tasks the test polls.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<BoxTask>>>);

impl Spawn for Kept {
    fn spawn(&self, task: BoxTask) -> Result<(), Refused> {
        self.0.lock().unwrap().push(task);
        Ok(())
    }
}

#[test]
fn r16_the_span_of_a_child_has_its_name_and_the_place_of_its_spawn() {
    let _alone = ALONE.lock().unwrap();
    let scribe = Scribe::default();
    let kept = Kept::default();
    let mut places = Vec::new();
    tracing::subscriber::with_default(scribe.clone(), || {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let mut run = hand(group.run(async {
            places.push(("here", line!() + 1));
            group.spawn_named("here", async { Ok(()) });
            places.push(("elsewhere", line!() + 1));
            group.spawn_named_on("elsewhere", &kept, async { Ok(()) });
            Ok(())
        }));
        run.pending();
        hand(kept.0.lock().unwrap().remove(0)).ready();
        run.ready().unwrap();
    });
    let written = scribe.0.lock().unwrap().join("\n");
    for (name, line) in places {
        let of_child = |text: &&str| text.starts_with(&format!("span region=\"task `{name}`\""));
        let span = written.lines().find(of_child);
        let span = span.unwrap_or_else(|| panic!("no span of {name} in\n{written}"));
        assert!(span.contains(&format!("entered_at=\"{}:{line}:", file!())), "{span}");
    }
}

/// A subscriber that sends each event to the test, from any thread.
#[cfg(feature = "inspect")]
struct Sender(std::sync::mpsc::Sender<String>);

#[cfg(feature = "inspect")]
impl Subscriber for Sender {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "moored" && *metadata.level() <= tracing::Level::WARN
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let _ = self.0.send(text.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[cfg(feature = "inspect")]
#[test]
fn what_does_not_end_is_told_of_with_the_path_from_the_root() {
    use moored::inspect;
    let _alone = ALONE.lock().unwrap();
    let stack = ExitStack::new().named("watched");
    let mut run = hand(
        task(stack.run(async {
            stack.defer(std::future::pending::<()>());
            Ok::<_, ()>(())
        }))
        .named("watched-task"),
    );
    run.pending();
    let (sender, told) = std::sync::mpsc::channel();
    let watch = tracing::subscriber::with_default(Sender(sender), || {
        inspect::watch(Duration::from_millis(1), Duration::ZERO)
    });
    for _ in 0..2 {
        let told = told.recv_timeout(Duration::from_secs(60)).unwrap();
        let path = "does not end: task `watched-task` > exit stack `watched` > exit 1 of 1";
        assert!(told.contains(path), "{told}");
    }
    drop(watch);
    // The subscriber is dropped with the thread.
    while told.recv_timeout(Duration::from_secs(60)).is_ok() {}
}

/// A subscriber that panics in every call.
struct Broken;

impl Subscriber for Broken {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "moored"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        panic!("of a subscriber")
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {
        panic!("of a subscriber")
    }
    fn enter(&self, _: &Id) {
        panic!("of a subscriber")
    }
    fn exit(&self, _: &Id) {
        panic!("of a subscriber")
    }
}

#[test]
fn r14_a_subscriber_that_panics_breaks_off_neither_a_body_nor_an_exit() {
    let _alone = ALONE.lock().unwrap();
    let ran = Arc::new(Mutex::new(Vec::new()));
    tracing::subscriber::with_default(Broken, || {
        let stack = ExitStack::new();
        let body = async {
            for exit in ["third", "second", "first"] {
                let ran = Arc::clone(&ran);
                stack.defer(async move { ran.lock().unwrap().push(exit) });
            }
            Ok::<_, std::convert::Infallible>(7)
        };
        assert_eq!(hand(stack.run(body)).ready().unwrap(), 7);
        assert_eq!(moored::task::current(), None);
    });
    assert_eq!(*ran.lock().unwrap(), ["first", "second", "third"]);
}
