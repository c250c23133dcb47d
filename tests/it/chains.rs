//! Chains of regions, each entered inside the one before: memory of regions that were left is freed, however long the
//! chain grows (R1, R19).
#![allow(clippy::unit_arg, reason = "a child of one call is read at a glance")]

use crate::support::{Gate, hand, poll_once, yield_now};
use moored::testing::{MockClock, live_regions};
use moored::{CancelScope, Clock, EnteredScope, ExitStack, ReasonKind, Released, TaskGroup, task};
use std::cell::RefCell;
use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;
use std::task::Poll;
use std::time::Duration;

const STEPS: usize = 1_000;

/// A chain that keeps the regions that were left soon has more than this many.
const FEW: usize = 12;

/// Takes `STEPS` steps, and checks after each step how many regions live.
#[track_caller]
fn roll<T>(before: usize, first: T, mut step: impl FnMut(T) -> T) {
    let mut at = first;
    for steps in 1..=STEPS {
        at = step(at);
        let more = live_regions() - before;
        assert!(more <= FEW, "{more} regions live after {steps} steps");
    }
    drop(at);
    // Runs the exits that the last step abandoned in its task.
    assert!(live_regions() - before <= 1, "regions live on");
}

fn enter() -> EnteredScope {
    CancelScope::new().enter().unwrap()
}

fn enter_inside(outer: &EnteredScope) -> EnteredScope {
    hand(outer.run(async { enter() })).ready().unwrap()
}

fn exit_after(outer: EnteredScope, inner: EnteredScope) -> EnteredScope {
    outer.exit().unwrap();
    inner
}

/// The same outside every task and in one.
fn in_and_outside_a_task(chain: impl Fn()) {
    chain();
    hand(task(async { chain() })).drive();
    assert_eq!(live_regions(), 0);
}

#[test]
fn r19_scopes_entered_each_inside_the_one_before() {
    in_and_outside_a_task(|| {
        roll(live_regions(), enter(), |outer| {
            let inner = enter_inside(&outer);
            exit_after(outer, inner)
        });
        // Left by a drop.
        roll(live_regions(), enter(), |outer| enter_inside(&outer));
    });
}

#[test]
fn r19_scopes_that_are_handed_on_each_into_the_one_before() {
    in_and_outside_a_task(|| {
        roll(live_regions(), enter(), |outer| {
            let released = enter().release().unwrap();
            let inner = hand(outer.run(async { released.adopt() })).ready().unwrap();
            exit_after(outer, inner)
        });
        roll(live_regions(), enter(), |outer| {
            let released = enter_inside(&outer).release().unwrap();
            outer.exit().unwrap();
            released.adopt()
        });
    });
}

#[test]
fn r19_stacks_first_used_each_inside_the_one_before() {
    let used = || {
        let stack = ExitStack::new();
        stack.defer(yield_now());
        stack
    };
    in_and_outside_a_task(|| {
        roll(live_regions(), used(), |outer| {
            hand(outer.run(async { Ok::<_, ()>(used()) })).drive().unwrap()
        });
    });
}

type Boxed = Pin<Box<dyn Future<Output = ()>>>;

fn poll(run: &mut Boxed) -> Poll<()> {
    hand(poll_fn(|cx| run.as_mut().poll(cx))).poll()
}

/// Begins each run inside the run before, lends it outwards, and polls it on when the run before has ended.
#[track_caller]
fn roll_lent<R: Future<Output = ()> + 'static>(run: fn(Boxed) -> R) {
    let next: Rc<RefCell<Option<Boxed>>> = Rc::default();
    let begin = || {
        let (gate, next) = (Gate::new(), Rc::clone(&next));
        let mut opened = Box::pin(gate.wait());
        let body = poll_fn(move |cx| {
            // Taken out of the slot, because the inner run takes from the slot as well.
            let inner = next.take();
            if let Some(mut inner) = inner {
                assert!(inner.as_mut().poll(cx).is_pending());
                next.replace(Some(inner));
            }
            opened.as_mut().poll(cx)
        });
        (Box::pin(run(Box::pin(body))) as Boxed, gate)
    };
    let before = live_regions();
    let mut first = begin();
    assert!(poll(&mut first.0).is_pending());
    roll(before, first, |(mut outer, gate)| {
        let (inner, its_gate) = begin();
        next.replace(Some(inner));
        assert!(poll(&mut outer).is_pending());
        let inner = next.take().unwrap();
        gate.open();
        assert!(poll(&mut outer).is_ready());
        (inner, its_gate)
    });
}

#[test]
fn r19_runs_begun_each_inside_the_one_before_and_lent_outwards() {
    in_and_outside_a_task(|| {
        roll_lent(|body| async move { CancelScope::new().run(body).await.unwrap() });
        roll_lent(|body| async move {
            let stack = ExitStack::new();
            stack.run(async { Ok::<_, ()>(body.await) }).await.unwrap();
        });
        roll_lent(|body| async move {
            let group: TaskGroup<'_, ()> = TaskGroup::new();
            group.run(async { Ok(body.await) }).await.unwrap();
        });
        roll_lent(|body| async move { task(body).await });
        roll_lent(|body| async move { task(body).clock(MockClock::new()).await });
    });
}

#[test]
fn r11_what_is_lent_out_of_a_task_keeps_the_clock_of_a_task_further_out_that_was_left() {
    let clock = MockClock::new();
    let lend = |run: &mut Boxed| assert!(poll(run).is_pending());
    let scope = CancelScope::new().timeout(Duration::from_secs(1)).named("lent");
    let mut inner: Boxed = Box::pin(task(async move {
        let late = scope.run(pending::<()>()).await.unwrap_err();
        assert_eq!(late.reason().kind(), ReasonKind::Deadline);
    }));
    hand(task(async { task(async { lend(&mut inner) }).await }).clock(clock.clone())).ready();
    assert!(poll(&mut inner).is_pending());
    clock.advance(Duration::from_secs(1));
    assert!(poll(&mut inner).is_ready());
}

#[test]
fn r04_a_scope_that_is_adopted_inside_one_that_was_entered_in_it_is_inside_that_one() {
    let chain = || {
        let before = live_regions();
        let a = enter();
        let b = enter_inside(&a);
        let c = enter_inside(&b);
        let released = a.release().unwrap();
        // Each of the three would be inside the next.
        let a = hand(c.run(async { released.adopt() })).ready().unwrap();
        assert!(![&a, &b, &c].iter().any(|scope| scope.handle().is_cancelled()));
        a.handle().cancel();
        assert!(a.handle().is_cancelled() && !b.handle().is_cancelled());
        b.handle().cancel();
        assert!(c.handle().is_cancelled());
        drop((a, b, c));
        assert_eq!(live_regions(), before);
    };
    in_and_outside_a_task(chain);
}

// Looks and waits in a chain.

#[test]
fn r07_what_outlives_a_cancelled_region_far_outside_is_not_cancelled_any_more() {
    let body = async {
        let outer = enter();
        let mut chain = vec![enter_inside(&outer)];
        for at in 0..20 {
            chain.push(enter_inside(&chain[at]));
        }
        let innermost = chain[20].handle();
        outer.handle().cancel_because("the outermost");
        // The first look finds its way, and the second one knows it.
        for _ in 0..2 {
            assert!(innermost.is_cancelled());
            assert_eq!(innermost.reason().unwrap().message(), Some("the outermost"));
        }
        outer.exit().unwrap();
        assert!(!innermost.is_cancelled() && innermost.reason().is_none());
        chain[3].handle().cancel_because("one between");
        assert_eq!(innermost.reason().unwrap().message(), Some("one between"));
        assert!(!chain[2].handle().is_cancelled());
    };
    hand(task(body)).drive();
}

#[test]
fn r10_the_reason_is_that_of_the_nearest_cancelled_region_whatever_was_found_before() {
    let body = async {
        let mut chain = vec![enter()];
        for at in 0..20 {
            chain.push(enter_inside(&chain[at]));
        }
        let innermost = chain[20].handle();
        for (at, scope) in chain.iter().enumerate().take(20) {
            scope.handle().cancel_because(at.to_string());
            assert_eq!(innermost.reason().unwrap().message(), Some(&*at.to_string()));
        }
        chain[0].handle().stop();
        assert!(innermost.is_stop_requested() && chain[19].handle().is_stop_requested());
        let mut chain = chain.into_iter();
        chain.next().unwrap().exit().unwrap();
        assert!(!innermost.is_stop_requested());
    };
    hand(task(body)).drive();
}

#[test]
fn r12_a_wait_in_a_scope_that_outlives_the_shield_around_it_ends_when_the_shield_is_left() {
    let body = async {
        let outer = enter();
        let shield = async { CancelScope::new().shielded().enter().unwrap() };
        let shield = outer.run(shield).await.unwrap();
        let inner = enter_inside(&shield);
        let mut wait = hand(inner.handle().cancelled());
        wait.pending();
        outer.handle().cancel();
        wait.pending();
        let before = wait.wakes.count();
        shield.exit().unwrap();
        assert!(wait.wakes.count() > before);
        wait.ready();
    };
    hand(task(body)).drive();
}

#[test]
fn r11_a_wait_in_a_chain_that_is_left_from_outside_in_is_told_of_each_time_that_is_set_later() {
    let clock = MockClock::new();
    let far = Duration::from_secs(3_600);
    let body = async {
        let outer = CancelScope::new().timeout(far);
        let handle = outer.handle();
        let outer = outer.enter().unwrap();
        let mut chain = vec![enter_inside(&outer)];
        for at in 0..4 {
            chain.push(enter_inside(&chain[at]));
        }
        let mut chain = chain.into_iter();
        let mut waits: Vec<_> =
            chain.as_slice().iter().map(|s| hand(s.handle().cancelled())).collect();
        waits.iter_mut().for_each(|wait| wait.pending());
        for left in 0..4 {
            drop(chain.next());
            let wait = &mut waits[4];
            wait.pending();
            let before = wait.wakes.count();
            handle.stop_within(far - Duration::from_secs(left + 1));
            assert!(wait.wakes.count() > before, "not told after {left} were left");
        }
        let wait = &mut waits[4];
        wait.pending();
        clock.advance(far);
        wait.ready();
        let grace = handle.reason().unwrap().grace();
        assert_eq!(grace, Some(far - Duration::from_secs(4)));
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r11_what_is_lent_out_of_two_tasks_sets_later_deadlines_by_the_clock_of_the_outer_one() {
    let clock = MockClock::new();
    let mut inner: Boxed = Box::pin(task(async move {
        yield_now().await;
        // A walk outwards, past both.
        assert_eq!(moored::current_deadline(), None);
        let late = CancelScope::new()
            .timeout(Duration::from_secs(1))
            .run(pending::<()>())
            .await
            .unwrap_err();
        assert_eq!(late.reason().kind(), ReasonKind::Deadline);
    }));
    let lend = async { assert!(poll(&mut inner).is_pending()) };
    hand(task(async { task(lend).await }).clock(clock.clone())).ready();
    assert!(poll(&mut inner).is_pending());
    clock.advance(Duration::from_secs(1));
    assert!(poll(&mut inner).is_ready());
}

#[test]
fn r04_a_scope_that_is_moved_out_of_a_cancelled_chain_is_not_cancelled_any_more() {
    let body = async {
        let mut all = vec![enter()];
        for at in 0..30 {
            all.push(enter_inside(&all[at]));
        }
        let inner = all[30].handle();
        all[0].handle().stop();
        assert!(inner.is_stop_requested() && !inner.is_cancelled());
        all[5].handle().cancel_because("five");
        assert!(inner.is_cancelled());
        assert_eq!(inner.reason().unwrap().message(), Some("five"));
        let moved = all.remove(10).release().unwrap();
        let ten = moved.adopt();
        // It is directly inside the task now.
        assert!(!inner.is_cancelled());
        assert!(!inner.is_stop_requested());
        ten.handle().cancel_because("ten");
        assert_eq!(inner.reason().unwrap().message(), Some("ten"));
    };
    hand(task(body)).drive();
}

#[test]
fn r12_looks_far_out_end_at_a_shield_until_it_is_left() {
    let body = async {
        let mut all = vec![enter()];
        for at in 0..30 {
            let scope = CancelScope::new();
            let scope = if at == 14 { scope.shielded() } else { scope };
            let entered = all[at].run(async { scope.enter().unwrap() }).await.unwrap();
            all.push(entered);
        }
        let (outer, inner, above) = (all[0].handle(), all[30].handle(), all[14].handle());
        outer.cancel();
        assert!(above.is_cancelled() && !inner.is_cancelled() && !all[15].handle().is_cancelled());
        let mut wait = hand(inner.cancelled());
        wait.pending();
        let shield = all.remove(15);
        shield.exit().unwrap();
        assert!(inner.is_cancelled());
        wait.ready();
    };
    hand(task(body)).drive();
}

#[test]
fn r11_a_time_around_a_shield_counts_inside_after_the_shield_was_left() {
    for stopped in [false, true] {
        let clock = MockClock::new();
        let body = async {
            let outer = CancelScope::new().timeout(Duration::from_secs(1)).enter().unwrap();
            let shield = CancelScope::new().shielded();
            let shield = outer.run(async { shield.enter().unwrap() }).await.unwrap();
            let inner = shield.run(async { enter() }).await.unwrap();
            if stopped {
                outer.handle().stop();
            }
            let handle = inner.handle();
            let mut wait = moored::testing::hand(handle.cancelled());
            wait.pending();
            assert_eq!((handle.is_cancelled(), handle.deadline()), (false, None));
            drop(shield);
            assert!(handle.deadline().is_some());
            wait.pending();
            clock.advance(Duration::from_secs(1));
            wait.ready();
            drop((inner, outer));
        };
        hand(task(body).clock(clock.clone())).drive();
    }
}

#[test]
fn r12_a_run_that_is_dropped_in_an_entered_shield_that_gave_way_holds_nothing_off() {
    let clock = MockClock::new();
    let body = async {
        let outer = enter();
        let shield = CancelScope::new().shielded().grace(Duration::from_secs(1));
        let shield = outer.run(async { shield.enter().unwrap() }).await.unwrap();
        let inside = RefCell::new(None);
        let mut run = Box::pin(shield.run(async {
            *inside.borrow_mut() = Some(enter());
            pending::<()>().await;
        }));
        assert!(poll_once(&mut run).await.is_pending());
        outer.handle().cancel();
        let inner = inside.borrow().as_ref().unwrap().handle();
        assert!(!shield.handle().is_cancelled() && !inner.is_cancelled());
        clock.advance(Duration::from_secs(1));
        assert!(shield.handle().is_cancelled());
        // The run was not polled since, and is the nearest shield.
        assert!(!inner.is_cancelled());
        drop(run);
        assert!(inner.is_cancelled());
        inside.take();
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r04_what_is_inside_a_stack_is_reached_after_the_scope_around_that_has_moved_through_it() {
    let (outer, inner) = (CancelScope::new(), CancelScope::new());
    let mut waits = hand(inner.handle().cancelled());
    waits.pending();
    let place: Mutex<Option<Released<EnteredScope>>> = Mutex::default();
    let take = || place.lock().unwrap().take().unwrap();
    let body = outer.run(async {
        let stack = ExitStack::new();
        let mut lent = Box::pin(stack.run(async {
            let mut inside = Box::pin(inner.run(pending::<()>()));
            assert!(poll_once(&mut inside).await.is_pending());
            yield_now().await;
            let adopted = take().adopt();
            *place.lock().unwrap() = Some(adopted.release().unwrap());
            pending::<Result<(), ()>>().await
        }));
        let entered = CancelScope::new().enter().unwrap();
        let lends = entered.run(async { assert!(poll_once(&mut lent).await.is_pending()) });
        lends.await.unwrap();
        *place.lock().unwrap() = Some(entered.release().unwrap());
        assert!(poll_once(&mut lent).await.is_pending());
        let elsewhere = || hand(task(async { take().adopt() })).ready();
        let moved = std::thread::scope(|threads| threads.spawn(elsewhere).join().unwrap());
        moved.handle().cancel();
        waits.pending();
        let before = waits.wakes.count();
        outer.cancel();
        assert!(waits.wakes.count() > before, "nobody woke the wait");
        waits.ready();
        std::thread::scope(|threads| threads.spawn(|| drop(moved)).join().unwrap());
    });
    hand(task(body)).ready().unwrap();
}

/// Scopes inside each other, as many that walks remember their ends.
fn chain(outermost: CancelScope) -> Vec<EnteredScope> {
    let mut all = vec![outermost.enter().unwrap()];
    while all.len() < 30 {
        all.push(enter_inside(&all[all.len() - 1]));
    }
    all
}

#[test]
fn r11_waits_far_inside_follow_the_times_of_the_regions_around() {
    let clock = MockClock::new();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let body = async {
        let chain = chain(CancelScope::new().timeout(minutes(60)));
        let [innermost, further_in, middle] = [29, 28, 15].map(|at| chain[at].handle());
        let now = clock.now();
        // Walks remember the end of the outermost scope.
        let mut first = hand(innermost.cancelled());
        first.pending();
        assert_eq!(further_in.deadline(), Some(now + minutes(60)));
        // An earlier time between counts at once.
        chain[15].handle().stop_within(minutes(30));
        assert_eq!(further_in.deadline(), Some(now + minutes(30)));
        assert_eq!(innermost.deadline(), Some(now + minutes(30)));
        let mut second = hand(innermost.cancelled());
        second.pending();
        chain[0].handle().stop_within(minutes(20));
        assert_eq!(innermost.deadline(), Some(now + minutes(20)));
        clock.advance(minutes(15));
        first.pending();
        second.pending();
        // The outermost scope is left, and its times with it.
        let mut chain = chain.into_iter();
        drop(chain.next());
        assert_eq!(innermost.deadline(), Some(now + minutes(30)));
        clock.advance(minutes(10));
        first.pending();
        second.pending();
        assert!(!innermost.is_cancelled());
        clock.advance(minutes(5));
        assert!(middle.is_cancelled());
        first.ready();
        second.ready();
        assert_eq!(innermost.reason().unwrap().kind(), ReasonKind::Parent);
        drop(chain);
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r13_waits_far_inside_a_scope_that_was_stopped_follow_the_grace_of_one_around() {
    let clock = MockClock::new();
    let minute = Duration::from_secs(60);
    let body = async {
        let chain = chain(CancelScope::new().grace(minute));
        let mut wait = hand(chain[29].handle().cancelled());
        wait.pending();
        chain[2].handle().stop();
        wait.pending();
        assert_eq!(chain[29].handle().deadline(), None);
        let before = wait.wakes.count();
        chain[0].handle().stop();
        assert!(wait.wakes.count() > before, "the wait has to look when the grace ends");
        wait.pending();
        assert_eq!(chain[29].handle().deadline(), Some(clock.now() + minute));
        clock.advance(minute);
        wait.ready();
        drop(chain);
    };
    hand(task(body).clock(clock.clone())).drive();
}

#[test]
fn r07_a_cancellation_inside_a_cancelled_scope_counts_when_that_one_has_left() {
    for inside_out in [false, true] {
        let mut chain = chain(CancelScope::new());
        let handles: Vec<_> = chain.iter().map(EnteredScope::handle).collect();
        let mut waits: Vec<_> = handles.iter().map(|handle| hand(handle.cancelled())).collect();
        waits.iter_mut().for_each(|wait| wait.pending());
        for at in 0..2 {
            handles[if inside_out { 1 - at } else { at }].cancel_because(format!("number {at}"));
        }
        assert!(waits.iter().skip(1).all(|wait| wait.wakes.count() == 1));
        drop(chain.remove(0));
        waits.iter_mut().skip(1).for_each(|wait| wait.ready());
        assert!(handles[29].reason().is_some());
        drop(chain.remove(0));
        assert!(handles[29].reason().is_none());
        let mut late = hand(handles[29].cancelled());
        late.pending();
        handles[10].cancel();
        assert_eq!(late.wakes.count(), 1);
        late.ready();
    }
}

/// The grace of an outer stop is news for a wait inside scopes that were stopped before.
#[test]
fn r13_a_wait_inside_scopes_that_were_stopped_before_sees_the_grace_of_an_outer_stop() {
    let (clock, grace) = (MockClock::new(), Duration::from_secs(10));
    let chain = async {
        let mut chain = vec![CancelScope::new().grace(grace).enter().unwrap()];
        while chain.len() < 40 {
            let inner = enter_inside(&chain[chain.len() - 1]);
            chain.push(inner);
        }
        let inner = chain[39].handle();
        let mut wait = hand(inner.cancelled());
        assert!(wait.poll().is_pending());
        // So many scopes are inside it that it keeps a mark, at which a later stop ends.
        chain[1].handle().stop();
        assert!(wait.poll().is_pending());
        let wakes = wait.wakes.count();
        chain[0].handle().stop();
        assert!(wait.wakes.count() > wakes, "the wait is not told of the grace");
        assert!(wait.poll().is_pending());
        let wakes = wait.wakes.count();
        clock.advance(grace);
        assert!(wait.wakes.count() > wakes, "the wait does not watch the grace");
        assert!(wait.poll().is_ready());
        chain.into_iter().rev().for_each(drop);
    };
    hand(task(chain).clock(clock.clone())).ready();
}
