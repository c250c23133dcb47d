//! Cuts at every poll: each shape is dropped, cancelled, or made to panic at its k-th poll, for every k, inside each
//! kind of enclosing region. When the enclosing region has been left, every registered exit has run once and in order,
//! no wake-up was lost on the way, and no region is alive (R6, R7, R8, R14, R16, R19).

mod examples;

use crate::support::{Executor, Hand, Wakes, hand, lose, yield_now};
use moored::testing::{MockClock, cut, live_regions};
use moored::{
    BoxError, CancelScope, ExitStack, Resource, TaskGroup, checkpoint, move_on_after, shield, task,
};
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

type Story = Pin<Box<dyn Future<Output = ()> + Send>>;
type Shape = fn(Book) -> Story;

/// The registered exits, by stack. An exit removes itself when it begins, and checks that it is the
/// last of its stack.
#[derive(Clone, Default)]
struct Book {
    open: Arc<Mutex<Vec<Vec<usize>>>>,
    running: Arc<AtomicUsize>,
    executor: Executor,
}

impl Book {
    fn page(&self) -> usize {
        let mut open = self.open.lock().unwrap();
        open.push(Vec::new());
        open.len() - 1
    }

    /// An exit that takes two polls, and knows its turn and its owner.
    fn exit(&self, page: usize) -> impl Future<Output = ()> + Send + 'static {
        let (exit, owner) = (self.anybodys_exit(page), task::current());
        async move {
            assert_eq!(task::current(), owner, "whose exit is it");
            exit.await;
        }
    }

    /// An exit that may change hands.
    fn anybodys_exit(&self, page: usize) -> impl Future<Output = ()> + Send + 'static {
        let book = self.clone();
        let number = {
            let mut open = self.open.lock().unwrap();
            let number = open[page].len();
            open[page].push(number);
            number
        };
        async move {
            let turn = book.open.lock().unwrap()[page].pop();
            assert_eq!(turn, Some(number), "last in, first out");
            book.running.fetch_add(1, SeqCst);
            yield_now().await;
            book.running.fetch_sub(1, SeqCst);
        }
    }

    /// A body in a stack of two exits.
    async fn stack<T: Send>(&self, body: impl Future<Output = T> + Send) -> T {
        let (stack, page) = (ExitStack::new(), self.page());
        let inside = async {
            stack.defer(self.exit(page));
            yield_now().await;
            stack.defer(self.exit(page));
            Ok::<_, ()>(body.await)
        };
        stack.run(inside).await.expect("no exit fails")
    }

    #[track_caller]
    fn is_closed(&self, when: &dyn std::fmt::Debug) {
        let left: usize = self.open.lock().unwrap().iter().map(Vec::len).sum();
        assert_eq!(left, 0, "{left} exits have not run, cut at {when:?}");
        assert_eq!(self.running.load(SeqCst), 0, "an exit has not ended, cut at {when:?}");
    }
}

struct Lent(Book);

impl Resource for Lent {
    /// Its own exit.
    type Value = Story;
    type Error = ();

    async fn enter(self) -> Result<Story, ()> {
        yield_now().await;
        Ok(Box::pin(self.0.exit(self.0.page())))
    }

    async fn exit(exit: Story) -> Result<(), BoxError> {
        exit.await;
        Ok(())
    }
}

/// Every shape, with its name.
fn shapes() -> Vec<(&'static str, Shape)> {
    vec![
        ("stacks in stacks", |book| {
            Box::pin(async move { book.stack(book.stack(yield_now())).await })
        }),
        ("a stack in a scope in a stack", |book| {
            Box::pin(async move {
                let scope = CancelScope::new();
                let _ = book.stack(scope.run(book.stack(yield_now()))).await;
            })
        }),
        ("a scope that is over its time", |book| {
            Box::pin(async move {
                let _ = move_on_after(Duration::ZERO, book.stack(pending::<()>())).await;
                yield_now().await;
            })
        }),
        ("the loser of a select", |book| {
            Box::pin(async move {
                lose(book.stack(pending::<()>())).await;
                book.stack(checkpoint()).await;
            })
        }),
        ("two arms of one task", |book| {
            Box::pin(async move {
                let (a, b) = (book.stack(yield_now()), book.stack(book.stack(yield_now())));
                futures::future::join(a, b).await;
            })
        }),
        ("a stack that is closed by hand", |book| {
            Box::pin(async move {
                let (stack, page) = (ExitStack::new(), book.page());
                stack.defer(book.exit(page));
                yield_now().await;
                stack.defer(book.exit(page));
                stack.close().await.expect("no exit fails");
            })
        }),
        ("scopes that are entered, and left out of order", |book| {
            Box::pin(async move {
                let first = CancelScope::new().enter().unwrap();
                let second = CancelScope::new().enter().unwrap();
                let _ = first.run(book.stack(second.run(book.stack(yield_now())))).await;
                let _ = first.exit();
                yield_now().await;
                let _ = second.exit();
            })
        }),
        ("a stack that changes hands", |book| {
            Box::pin(async move {
                let page = book.page();
                let stack = ExitStack::new();
                stack.defer(book.anybodys_exit(page));
                yield_now().await;
                let released = stack.release().unwrap_or_else(|_| unreachable!("it is ours"));
                yield_now().await;
                let theirs = task(async move {
                    let stack = released.adopt();
                    yield_now().await;
                    stack.close().await.expect("no exit fails");
                });
                theirs.await;
            })
        }),
        ("a shield", |book| Box::pin(async move { shield(book.stack(yield_now())).await })),
        ("a resource", |book| {
            Box::pin(async move {
                let stack = ExitStack::new();
                let body = async {
                    let _lent = stack.enter(Lent(book)).await?;
                    yield_now().await;
                    Ok::<_, ()>(())
                };
                stack.run(body).await.expect("it opens");
            })
        }),
        ("a group with children in the task", |book| {
            Box::pin(async move {
                let group: TaskGroup<'_, ()> = TaskGroup::new();
                let body = async {
                    for _ in 0..3 {
                        drop(group.spawn(async {
                            book.stack(yield_now()).await;
                            Ok(())
                        }));
                    }
                    book.stack(yield_now()).await;
                    Ok(())
                };
                let _ = group.run(body).await;
            })
        }),
        ("a group whose child fails", |book| {
            Box::pin(async move {
                let group: TaskGroup<'_, ()> = TaskGroup::new();
                let body = async {
                    drop(group.spawn(async {
                        book.stack(pending::<()>()).await;
                        Ok(())
                    }));
                    drop(group.spawn(async { book.stack(async { Err::<(), _>(()) }).await }));
                    book.stack(pending::<()>()).await;
                    Ok(())
                };
                let _ = group.run(body).await;
            })
        }),
        ("a group with children on an executor", |book| {
            Box::pin(async move {
                let group: TaskGroup<'static, ()> = TaskGroup::new();
                let body = async {
                    for _ in 0..2 {
                        let theirs = book.clone();
                        drop(group.spawn_on(&book.executor, async move {
                            theirs.stack(yield_now()).await;
                            Ok(())
                        }));
                    }
                    book.stack(yield_now()).await;
                    Ok(())
                };
                let _ = group.run(body).await;
            })
        }),
    ]
}

/// Polls until it is ready, and the executor with it; both only while they are woken.
#[track_caller]
fn drive<F: Future>(hand: &mut Hand<F>, book: &Book) -> F::Output {
    for _ in 0..10_000 {
        let before = hand.wakes.count();
        if let Poll::Ready(output) = hand.poll() {
            // The executor may hold tasks that no region waits for.
            book.executor.run();
            return output;
        }
        book.executor.run();
        assert!(hand.wakes.count() > before, "pending, and nobody woke it");
    }
    panic!("no end in 10,000 polls");
}

/// Plays each shape for 0, 1, 2, … until it is over before it is cut. `play` tells whether it was cut.
fn everywhere(play: impl Fn(&Book, Story, usize) -> bool) {
    let mut cuts = 0;
    for (name, shape) in shapes() {
        for polls in 0.. {
            let book = Book::default();
            let was_cut = play(&book, shape(book.clone()), polls);
            book.is_closed(&(name, polls));
            assert_eq!(book.executor.len(), 0, "a task is left, {name} cut at {polls}");
            assert_eq!(live_regions(), 0, "a region is left, {name} cut at {polls}");
            if !was_cut {
                assert!(polls > 1, "{name} has no await to be cut at");
                break;
            }
            cuts += 1;
        }
    }
    // The form that ci/proof.py reads.
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    println!("explored {name}: {cuts} cuts");
}

#[test]
fn r08_dropped_anywhere_inside_a_task() {
    everywhere(|book, story, polls| {
        let mut run = hand(task(cut(polls, story)));
        drive(&mut run, book).is_none()
    });
}

#[test]
fn r08_dropped_anywhere_inside_each_region() {
    everywhere(|book, story, polls| {
        let scope = CancelScope::new();
        let mut run = hand(scope.run(cut(polls, story)));
        drive(&mut run, book).expect("nobody cancels").is_none()
    });
    everywhere(|book, story, polls| {
        let stack = ExitStack::new();
        let mut was_cut = false;
        let body = async {
            was_cut = cut(polls, story).await.is_none();
            Ok::<_, ()>(())
        };
        // A failure that was abandoned inside has its record here.
        let _ = drive(&mut hand(stack.run(body)), book);
        was_cut
    });
    everywhere(|book, story, polls| {
        let group: TaskGroup<'_, ()> = TaskGroup::new();
        let mut was_cut = false;
        let body = async {
            let child = group.spawn(async { Ok(cut(polls, story).await.is_none()) });
            was_cut = child.join().await.expect("it ends well");
            Ok(())
        };
        let _ = drive(&mut hand(group.run(body)), book);
        was_cut
    });
    everywhere(|book, story, polls| {
        let mut run = hand(task(shield(cut(polls, story))));
        drive(&mut run, book).is_none()
    });
}

/// Dropped with a scope around it, which is itself cut at each of its polls.
#[test]
fn r07_dropped_anywhere_at_two_depths() {
    for outer in 0..12 {
        everywhere(|book, story, polls| {
            let inner = async {
                let dropped = CancelScope::new().run(cut(polls, story)).await;
                yield_now().await;
                dropped
            };
            let mut run = hand(task(cut(outer, inner)));
            match drive(&mut run, book) {
                Some(dropped) => dropped.expect("nobody cancels").is_none(),
                // The outer one came first.
                None => polls < 12,
            }
        });
    }
}

#[test]
fn r06_cancelled_anywhere() {
    everywhere(|book, story, polls| {
        let scope = CancelScope::new();
        let handle = scope.handle();
        let mut run = hand(scope.run(story));
        for _ in 0..polls {
            if run.poll().is_ready() {
                book.executor.run();
                return false;
            }
            book.executor.run();
        }
        handle.cancel();
        let _ = drive(&mut run, book);
        true
    });
}

/// As [`r06_cancelled_anywhere`], by the time.
#[test]
fn r11_out_of_time_anywhere() {
    everywhere(|book, story, polls| {
        let clock = MockClock::new();
        let mut run = hand(
            task(async { CancelScope::new().timeout(Duration::from_secs(1)).run(story).await })
                .clock(clock.clone()),
        );
        for _ in 0..polls {
            if run.poll().is_ready() {
                book.executor.run();
                return false;
            }
            book.executor.run();
        }
        clock.advance(Duration::from_secs(2));
        let _ = drive(&mut run, book);
        true
    });
}

/// The panic payload of a cut. It is raised by `resume_unwind`, which prints no message.
struct Cut;

/// The story panics at its k-th poll, before it does anything in that poll.
#[test]
fn r15_panicking_anywhere() {
    everywhere(|book, mut story, polls| {
        let mut left = polls;
        let panicking = std::future::poll_fn(move |cx| {
            let Some(rest) = left.checked_sub(1) else { resume_unwind(Box::new(Cut)) };
            left = rest;
            story.as_mut().poll(cx)
        });
        let mut run = hand(task(panicking));
        let ended = catch_unwind(AssertUnwindSafe(|| drive(&mut run, book)));
        book.executor.run();
        match ended {
            Ok(()) => false,
            Err(payload) if payload.is::<Cut>() => true,
            Err(other) => resume_unwind(other),
        }
    });
}

/// The task itself is dropped at its k-th poll. It was first polled inside a scope of another task, so that scope
/// adopts its exits.
#[test]
fn r08_a_task_dropped_anywhere_goes_to_where_it_was_first_polled() {
    everywhere(|book, story, polls| {
        let scope = CancelScope::new();
        let mut run = hand(scope.run(async {
            let mut lent = Box::pin(task(story));
            let mut done = false;
            for _ in 0..polls {
                done = done || crate::support::poll_once(&mut lent).await.is_ready();
                yield_now().await;
            }
            drop(lent);
            !done
        }));
        drive(&mut run, book).expect("nobody cancels")
    });
}

/// The harness finds the two faults that it is made for: a story that loses an exit, and a story
/// that nothing wakes.
#[test]
fn the_harness_bites() {
    let book = Book::default();
    let page = book.page();
    drop(book.exit(page));
    let lost = catch_unwind(AssertUnwindSafe(|| book.is_closed(&0)));
    assert!(lost.is_err());
    let asleep = catch_unwind(AssertUnwindSafe(|| drive(&mut hand(pending::<()>()), &book)));
    assert!(asleep.is_err());
    let waker = Waker::from(Wakes::new());
    assert!(Box::pin(pending::<()>()).as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
}
