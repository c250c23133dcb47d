//! The cost of a guard for each further poll of the guarded work; and around work that yields four times.
//!
//! `n` is the number of guards nested around the work.

use benches::floor::Scope;
use benches::{Bench, Runtimes, finish, inside_a_task, poll, yield_once};
use futures::future::{AbortHandle, Abortable};
use moored::{CancelScope, move_on_after};
use std::cell::Cell;
use std::future::{Future, pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use stop_token::StopSource;
use stop_token::future::FutureExt;
use tokio_util::sync::CancellationToken;

const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn ask(bench: &mut Bench) {
    let runtimes = Runtimes::new().unwrap();
    let _inside = runtimes.current.enter();
    inside_a_task(|| {
        one_guard(bench);
        nested(bench);
        timed(bench);
        four_yields(bench);
    });
}

/// Counts its polls, because a guard that does not poll its future would seem fast.
fn counted(polls: &Cell<u64>) -> impl Future<Output = ()> {
    poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::Pending
    })
}

fn again<F: Future>(future: Pin<&mut F>) {
    assert!(poll(future).is_pending());
}

async fn scope<F: Future>(body: F) -> Option<F::Output> {
    CancelScope::new().run(body).await.ok()
}

async fn token<F: Future>(parent: &CancellationToken, body: F) -> Option<F::Output> {
    parent.child_token().run_until_cancelled(body).await
}

fn one_guard(bench: &mut Bench) {
    let (ours, theirs, futures, stops) = Default::default();
    let parent = CancellationToken::new();
    let mut scope = pin!(scope(counted(&ours)));
    let mut token = pin!(token(&parent, counted(&theirs)));
    let (_handle, registration) = AbortHandle::new_pair();
    let mut abortable = pin!(Abortable::new(counted(&futures), registration));
    let source = StopSource::new();
    let mut stopped = pin!(counted(&stops).timeout_at(source.token()));
    bench
        .question("a guarded future, per poll", 1)
        .each("moored: scope", || again(scope.as_mut()))
        .each("tokio-util: run_until_cancelled", || again(token.as_mut()))
        .each("futures: Abortable (no parent)", || again(abortable.as_mut()))
        .each("stop-token: timeout_at (no parent)", || again(stopped.as_mut()))
        .ask();
    if ours.get() > 0 {
        assert!([&theirs, &futures, &stops].iter().all(|polls: &&Cell<u64>| polls.get() > 0));
    }
}

fn scopes8<F: Future>(body: F) -> impl Future {
    scope(scope(scope(scope(scope(scope(scope(scope(body))))))))
}

fn tokens8<F: Future>(t: &CancellationToken, body: F) -> impl Future {
    let four = token(t, token(t, token(t, token(t, body))));
    token(t, token(t, token(t, token(t, four))))
}

async fn floor<F: Future>(body: F) -> Option<F::Output> {
    Scope::default().run(body).await
}

fn floors8<F: Future>(body: F) -> impl Future {
    floor(floor(floor(floor(floor(floor(floor(floor(body))))))))
}

/// Nested statically, as the compiler sees it in a program; 64 deep in eight boxes.
fn nested(bench: &mut Bench) {
    let parent = CancellationToken::new();
    let (ours, theirs, least) = Default::default();
    {
        let mut floors = pin!(floors8(counted(&least)));
        let mut scopes = pin!(scopes8(counted(&ours)));
        let mut tokens = pin!(tokens8(&parent, counted(&theirs)));
        bench
            .question("nested guards, per poll", 8)
            .each("moored: scopes", || again(scopes.as_mut()))
            .each("tokio-util: run_until_cancelled", || again(tokens.as_mut()))
            .each("floor: scopes without a handle", || again(floors.as_mut()))
            .ask();
    }
    type Boxed<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;
    let mut scopes: Boxed<'_> = Box::pin(counted(&ours));
    let mut tokens: Boxed<'_> = Box::pin(counted(&theirs));
    for _ in 0..8 {
        scopes = Box::pin(async { drop(scopes8(scopes).await) });
        tokens = Box::pin(async { drop(tokens8(&parent, tokens).await) });
    }
    bench
        .question("nested guards, per poll", 64)
        .each("moored: scopes", || assert!(poll(scopes.as_mut()).is_pending()))
        .each("tokio-util: run_until_cancelled", || assert!(poll(tokens.as_mut()).is_pending()))
        .ask();
    if ours.get() > 0 {
        assert!(theirs.get() > 0 && least.get() > 0);
    }
}

fn timed(bench: &mut Bench) {
    let mut ours = pin!(move_on_after(HOUR, pending::<()>()));
    let mut theirs = pin!(tokio::time::timeout(HOUR, pending::<()>()));
    bench
        .question("a time-out, per poll", 1)
        .each("moored: move_on_after", || again(ours.as_mut()))
        .each("tokio: timeout", || again(theirs.as_mut()))
        .ask();
}

async fn yields() {
    for _ in 0..4 {
        yield_once().await;
    }
}

fn four_yields(bench: &mut Bench) {
    let parent = CancellationToken::new();
    bench
        .question("around four yields", 1)
        .each("moored: scope", || finish(scope(yields())).unwrap())
        .each("tokio-util: child token, run_until_cancelled", || {
            finish(token(&parent, yields())).unwrap()
        })
        .ask();
    bench
        .question("around four yields, with a deadline", 1)
        .each("moored: scope", || {
            let scope = CancelScope::new().timeout(HOUR);
            finish(scope.run(yields())).unwrap();
        })
        .each("tokio + tokio-util: timeout, child token, run_until_cancelled", || {
            finish(tokio::time::timeout(HOUR, token(&parent, yields()))).unwrap().unwrap();
        })
        .ask();
}
