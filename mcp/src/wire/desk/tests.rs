//! Callbacks without a server: how they are called, cancelled and ended.

use std::future::{pending, ready};

use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::*;
use crate::wire::warnings::Warnings;

fn open(callbacks: Callbacks) -> (Arc<Desk>, DeskEnd, Arc<Warnings>) {
    let warnings = Arc::<Warnings>::default();
    let recorder = Arc::new(Recorder::new(warnings.clone(), Arc::default()));
    let (desk, end) = Desk::open(&"s".into(), &callbacks, &recorder, &Arc::default())
        .expect("there are callbacks");
    (desk, end, warnings)
}

/// Reports its drop.
struct Dropped(UnboundedSender<&'static str>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _nobody_listens = self.0.send("dropped");
    }
}

/// A callback without an end, which reports its beginning and its drop.
fn endless() -> (Callbacks, UnboundedReceiver<&'static str>) {
    let (says, hears) = unbounded_channel();
    let callbacks = Callbacks::new().on_request("ask", move |_| {
        let dropped = Dropped(says.clone());
        async move {
            dropped.0.send("begun").expect("the test listens");
            pending::<()>().await;
            drop(dropped);
            Ok(Value::Null)
        }
    });
    (callbacks, hears)
}

fn ask(desk: &Desk) -> Answer {
    desk.ask("ask".into(), json!({"a": 1}), None).expect("there is a callback")
}

const PATIENCE: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_request_is_answered_and_leaves_no_entry() {
    let echo = Callbacks::new().on_request("ask", async |asked: ServerMessage| Ok(asked.params));
    let (desk, end, _) = open(echo);
    assert_eq!(ask(&desk).given().await, Ok(json!({"a": 1})));
    assert!(desk.running.0.lock().all.is_empty());
    assert!(desk.ask("other".into(), Value::Null, None).is_none());
    end.ended(PATIENCE).await.expect("nothing runs");
}

#[tokio::test]
async fn an_answer_that_is_dropped_cancels_its_callback() {
    let (callbacks, mut hears) = endless();
    let (desk, end, _) = open(callbacks);
    let answer = ask(&desk);
    assert_eq!(hears.recv().await, Some("begun"));
    // It was never polled.
    drop(answer);
    assert_eq!(hears.recv().await, Some("dropped"));
    end.ended(PATIENCE).await.expect("nothing runs");
}

#[tokio::test]
async fn a_panic_before_and_in_the_future_is_an_error_and_a_warning() {
    let callbacks = Callbacks::new()
        .on_request("ask", |_| -> std::future::Ready<Result<Value, RequestError>> {
            panic!("before")
        })
        .on_any_request(async |_| panic!("{}", "in"));
    let (desk, end, warnings) = open(callbacks);
    for method in ["ask", "other"] {
        let answer = desk.ask(method.into(), Value::Null, None).expect("there is a callback");
        let error = answer.given().await.expect_err("it panicked");
        assert_eq!(error.code, RequestError::INTERNAL);
        assert!(!error.message.contains("before"), "the server is not told: {error}");
    }
    let warnings = warnings.all();
    assert_eq!(
        warnings,
        ["the callback for ask panicked: before", "the callback for other panicked: in"]
    );
    end.ended(PATIENCE).await.expect("nothing runs");
}

#[tokio::test]
async fn requests_are_bounded_and_refused_beyond_that() {
    let (callbacks, _hears) = endless();
    let (desk, end, _) = open(callbacks);
    let answers: Vec<_> = (0..REQUESTS).map(|_| ask(&desk)).collect();
    let error = ask(&desk).given().await.expect_err("too many");
    assert_eq!(error.code, RequestError::INTERNAL);
    drop(answers);
    end.ended(PATIENCE).await.expect("all are cancelled");
}

#[tokio::test]
async fn leaving_cancels_requests_and_hears_the_notifications_that_came_before() {
    let (callbacks, mut hears) = endless();
    let (says, mut told) = unbounded_channel();
    let callbacks = callbacks.on_notification(move |it: ServerMessage| {
        says.send(it.params).expect("the test listens");
        ready(())
    });
    let (desk, end, _) = open(callbacks);
    let answer = ask(&desk);
    assert_eq!(hears.recv().await, Some("begun"));
    desk.stop_answering();
    assert!(answer.given().await.is_err());
    assert_eq!(hears.recv().await, Some("dropped"));
    assert!(ask(&desk).given().await.is_err(), "no more are taken");
    for number in 0..100 {
        desk.tell("notifications/message".into(), json!(number), None);
    }
    end.ended(PATIENCE).await.expect("nothing runs");
    for number in 0..100 {
        assert_eq!(told.try_recv(), Ok(json!(number)));
    }
    desk.tell("notifications/message".into(), json!("late"), None);
}

#[tokio::test]
async fn a_callback_that_ignores_its_cancellation_is_named() {
    let callbacks = Callbacks::new()
        .on_request("ask", async |_| {
            moored::shield(pending::<()>()).await;
            Ok(Value::Null)
        })
        .on_notification(async |_| moored::shield(pending::<()>()).await);
    let (desk, end, _) = open(callbacks);
    let _answer = ask(&desk);
    desk.tell("told".into(), Value::Null, None);
    while desk.running.0.lock().all.len() < 2 {
        tokio::task::yield_now().await;
    }
    let error = end.ended(PATIENCE).await.expect_err("both go on");
    assert!(error.ends_with("left to themselves: ask, told"), "{error}");
}

#[tokio::test]
async fn notifications_that_no_callback_keeps_up_with_are_counted_as_a_warning() {
    let callbacks = Callbacks::new().on_notification(|_| pending::<()>());
    let (desk, end, warnings) = open(callbacks);
    for _ in 0..NOTICES + 1 {
        desk.tell("told".into(), Value::Null, None);
    }
    let warnings = warnings.all();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    end.ended(PATIENCE).await.expect("it obeys");
}
