//! The book of exits: the exits that were registered, that began, in their order, that ended,
//! and that were lost.

use crate::support::dawdle;
use moored::{ExitStack, task};
use std::cell::RefCell;
use std::future::Future;
use std::sync::{Arc, Mutex, Once};

/// The book of one iteration.
#[derive(Clone, Default)]
pub(crate) struct Book(Arc<Mutex<Pages>>);

#[derive(Default)]
struct Pages {
    /// By stack: the exits that have not begun, oldest first.
    open: Vec<Vec<usize>>,
    registered: usize,
    running: usize,
    ended: usize,
}

std::thread_local! {
    /// Shuttle runs all threads of an iteration on one system thread, so this value belongs to one
    /// test.
    static LOST: RefCell<usize> = const { RefCell::new(0) };
}

impl Book {
    pub(crate) fn open() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            moored::set_report_hook(|report| match report {
                moored::Report::LostExits { registered_at, .. } => {
                    LOST.with_borrow_mut(|lost| *lost += registered_at.len());
                }
                other => panic!("unexpected report: {other}"),
            });
        });
        LOST.set(0);
        Book::default()
    }

    fn with<R>(&self, look: impl FnOnce(&mut Pages) -> R) -> R {
        look(&mut self.0.lock().unwrap())
    }

    /// A stack with `exits` exits around `body`. Each exit checks that it is its turn (R14) and that it runs as the task
    /// that registered it (R8).
    pub(crate) async fn stack<T: Send, F: Future<Output = T>>(&self, exits: usize, body: F) -> T {
        let stack = ExitStack::new();
        let number = self.with(|pages| {
            pages.open.push(Vec::new());
            pages.open.len() - 1
        });
        let inside = async {
            for _ in 0..exits {
                stack.defer(self.exit(number));
                dawdle().await;
            }
            Ok::<_, ()>(body.await)
        };
        stack.run(inside).await.expect("no exit fails")
    }

    fn exit(&self, stack: usize) -> impl Future<Output = ()> + Send + 'static {
        let (book, owner) = (self.clone(), task::current());
        let me = self.with(|pages| {
            pages.registered += 1;
            pages.open[stack].push(pages.registered);
            pages.registered
        });
        async move {
            let turn = book.with(|pages| {
                pages.running += 1;
                pages.open[stack].pop()
            });
            assert_eq!(turn, Some(me), "last in, first out");
            assert_eq!(task::current(), owner, "whose exit is it");
            dawdle().await;
            book.with(|pages| {
                pages.running -= 1;
                pages.ended += 1;
            });
        }
    }

    /// Every registered exit has run to its end.
    #[track_caller]
    pub(crate) fn is_closed(&self) {
        let (registered, running, ended) = self.figures();
        assert_eq!((ended, running, LOST.take()), (registered, 0, 0));
    }

    /// Every registered exit has run to its end, or was reported lost.
    #[track_caller]
    pub(crate) fn is_accounted_for(&self) {
        let (registered, _, ended) = self.figures();
        assert_eq!(ended + LOST.take(), registered);
    }

    /// Registered, running, ended.
    pub(crate) fn figures(&self) -> (usize, usize, usize) {
        self.with(|pages| (pages.registered, pages.running, pages.ended))
    }
}
