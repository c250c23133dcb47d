//! The shapes that a library author writes, inside `tokio::spawn` on a runtime of several threads: nested,
//! generic, in an `async fn` of a trait (design, section 2).

use crate::support::Log;
use moored::rt::tokio::Tokio;
use moored::{CancelScope, Cause, ExitStack, Failure, TaskGroup, checkpoint, task};
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

#[derive(Debug)]
struct Slow;

impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slow")
    }
}

impl Error for Slow {}

/// Nested, with borrows across awaits.
async fn nested(log: Log) -> Result<usize, Failure<Slow>> {
    let word = String::from("borrowed");
    let stack = ExitStack::new().named("outer");
    stack
        .run(async {
            stack.defer(log.entry("exit"));
            let scope = CancelScope::new();
            let inner = async {
                let group: TaskGroup<'_, Slow> = TaskGroup::new();
                let length = group
                    .run(async {
                        let child = group.spawn(async {
                            checkpoint().await;
                            Ok(word.len())
                        });
                        let far = group.spawn_on(&Tokio::current(), async { Ok(1) });
                        Ok(child.join().await.unwrap() + far.join().await.unwrap())
                    })
                    .await;
                length.map_err(|_| Slow)
            };
            match scope.run(inner).await {
                Ok(length) => length,
                Err(_cancelled) => Err(Slow),
            }
        })
        .await
}

/// Generic over the future and its types.
async fn guarded<F, T, E>(log: &Log, body: F) -> Result<T, Failure<E>>
where
    F: Future<Output = Result<T, E>> + Send,
    T: Send,
    E: Send,
{
    let stack = ExitStack::new();
    stack.defer(log.entry("guarded exit"));
    stack.run(body).await
}

/// In a trait, with the bound that `tokio::spawn` asks for.
trait Service: Send + Sync + 'static {
    fn call(&self, n: usize) -> impl Future<Output = Result<usize, Failure<Slow>>> + Send;
}

struct Doubling(Log);

impl Service for Doubling {
    async fn call(&self, n: usize) -> Result<usize, Failure<Slow>> {
        let group: TaskGroup<'_, Slow> = TaskGroup::new();
        group
            .run(async {
                let twice = group.spawn(async { Ok(n * 2) });
                let value = guarded(&self.0, async { Ok(twice.join().await.unwrap()) }).await;
                value.map_err(|failure| match failure.into_cause() {
                    Cause::Body(error) => error,
                    _ => Slow,
                })
            })
            .await
    }
}

async fn through<S: Service>(service: Arc<S>, n: usize) -> usize {
    service.call(n).await.unwrap()
}

/// A struct that keeps a stack, and is closed by value.
struct Session {
    stack: ExitStack,
    log: Log,
}

impl Session {
    async fn open(log: Log) -> Session {
        let stack = ExitStack::new();
        checkpoint().await;
        stack.defer(log.entry("session closed"));
        Session { stack, log }
    }

    async fn close(self) {
        self.log.add("closing");
        self.stack.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nested_shape_runs_in_a_spawned_task() {
    let log = Log::new();
    assert_eq!(tokio::spawn(nested(log.clone())).await.unwrap().unwrap(), 9);
    assert_eq!(tokio::spawn(task(nested(log.clone())).named("n")).await.unwrap().unwrap(), 9);
    log.is(&["exit", "exit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_generic_shape_runs_in_a_spawned_task() {
    let log = Log::new();
    let theirs = log.clone();
    let value = tokio::spawn(async move {
        let nested = async { guarded(&theirs, async { Ok::<_, Slow>(7) }).await.map_err(|_| Slow) };
        guarded(&theirs, nested).await
    });
    assert_eq!(value.await.unwrap().unwrap(), 7);
    log.is(&["guarded exit", "guarded exit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shape_in_a_trait_runs_in_a_spawned_task() {
    let log = Log::new();
    let service = Arc::new(Doubling(log.clone()));
    assert_eq!(tokio::spawn(through(service, 21)).await.unwrap(), 42);
    log.is(&["guarded exit"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_struct_that_keeps_a_stack_runs_in_a_spawned_task() {
    let log = Log::new();
    let theirs = log.clone();
    tokio::spawn(task(async move {
        let session = Session::open(theirs).await;
        checkpoint().await;
        session.close().await;
    }))
    .await
    .unwrap();
    log.is(&["closing", "session closed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boxed_and_dyn_bodies_run_in_a_spawned_task() {
    type Body = std::pin::Pin<Box<dyn Future<Output = Result<u32, Slow>> + Send>>;
    let body: Body = Box::pin(async { Ok(7) });
    let value = tokio::spawn(async move {
        let stack = ExitStack::new();
        stack.run(body).await
    });
    assert_eq!(value.await.unwrap().unwrap(), 7);
}

/// Recursion through a box.
fn countdown(n: u32) -> std::pin::Pin<Box<dyn Future<Output = u32> + Send>> {
    Box::pin(async move {
        if n == 0 {
            return 0;
        }
        CancelScope::new().run(countdown(n - 1)).await.unwrap() + 1
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recursive_regions_run_in_a_spawned_task() {
    assert_eq!(tokio::spawn(countdown(50)).await.unwrap(), 50);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_readmes_shape_with_a_question_mark_runs_in_a_spawned_task() {
    #[derive(Debug)]
    enum AppError {
        Slow,
        Leaving(String),
    }
    impl From<Failure<Slow>> for AppError {
        fn from(failure: Failure<Slow>) -> Self {
            AppError::Leaving(failure.to_string())
        }
    }
    async fn app(slow: bool) -> Result<u32, AppError> {
        let stack = ExitStack::new();
        let scope = CancelScope::new();
        if slow {
            scope.cancel();
        }
        let rows = stack
            .run(async {
                let held = stack.hold(7, |_| async {});
                let query = async {
                    checkpoint().await;
                    Ok(*held)
                };
                match scope.run(query).await {
                    Ok(rows) => rows,
                    Err(_) => Err(Slow),
                }
            })
            .await?;
        if rows == 0 { Err(AppError::Slow) } else { Ok(rows) }
    }
    assert_eq!(tokio::spawn(app(false)).await.unwrap().unwrap(), 7);
    let error = tokio::spawn(app(true)).await.unwrap().unwrap_err();
    assert!(matches!(&error, AppError::Leaving(text) if text == "slow"), "{error:?}");
    assert!(!matches!(error, AppError::Slow));
}
