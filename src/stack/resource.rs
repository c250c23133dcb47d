//! Resources: types with an async enter and an async exit.

use super::{ExitStack, Held};
use crate::failure::BoxError;
use crate::fused::fused;
use crate::opaque::opaque;
use crate::wrong_task::accepted;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

/// A resource that is entered and left asynchronously: a connection, a subscription, a lock on a
/// server.
///
/// After Python's async context managers. It fits resources that are entered in one step. If entering takes
/// two steps, such as a permit and then a connection, a future that is dropped between them has a permit to
/// give back already: register an exit for each step with [`ExitStack::hold`] or [`ExitStack::defer`] before
/// the next await. Do the same if the step's own future is not cancel safe.
///
/// # Examples
///
/// ```
/// use moored::{BoxError, ExitStack, Resource};
///
/// struct Subscription(&'static str);
///
/// impl Resource for Subscription {
///     type Value = String;
///     type Error = std::io::Error;
///
///     async fn enter(self) -> Result<String, std::io::Error> {
///         Ok(format!("subscribed to {}", self.0))
///     }
///
///     async fn exit(value: String) -> Result<(), BoxError> {
///         println!("no longer {value}");
///         Ok(())
///     }
/// }
///
/// # futures::executor::block_on(async {
/// let stack = ExitStack::new();
/// let held = stack.enter(Subscription("news")).await.unwrap();
/// assert_eq!(*held, "subscribed to news");
/// drop(held);
/// stack.close().await.unwrap();
/// # });
/// ```
pub trait Resource: Send + 'static {
    /// The value that is held while the resource is entered.
    type Value: Send + 'static;
    /// The error of entering.
    type Error;

    /// Enters it. If the future is dropped or fails, no exit is registered, and there must be nothing to
    /// leave.
    fn enter(self) -> impl Future<Output = Result<Self::Value, Self::Error>> + Send + 'static;

    /// Leaves it.
    fn exit(value: Self::Value) -> impl Future<Output = Result<(), BoxError>> + Send + 'static;
}

type Entering<R> =
    Pin<Box<dyn Future<Output = Result<<R as Resource>::Value, <R as Resource>::Error>> + Send>>;

/// The future of [`ExitStack::enter`].
#[must_use = "futures do nothing unless polled; dropping it enters nothing"]
pub struct Enter<'a, R: Resource> {
    stack: &'a ExitStack,
    at: &'static Location<'static>,
    state: State<R>,
}

enum State<R: Resource> {
    New(R),
    Entering(Entering<R>),
    Done,
}

impl<'a, R: Resource> Enter<'a, R> {
    pub(super) fn new(stack: &'a ExitStack, resource: R, at: &'static Location<'static>) -> Self {
        Enter { stack, at, state: State::New(resource) }
    }
}

impl<R: Resource> Unpin for Enter<'_, R> {}

impl<R: Resource> Future for Enter<'_, R> {
    type Output = Result<Held<R::Value>, R::Error>;

    #[track_caller]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let State::Done = this.state {
            return Poll::Pending;
        }
        // Checked at every poll, so that a resource is not entered if its exit could not be
        // registered.
        if let Err(misuse) = this.stack.admit("enter", this.at) {
            misuse.panic();
        }
        if let State::New(_) = this.state {
            if let State::New(resource) = std::mem::replace(&mut this.state, State::Done) {
                this.state = State::Entering(Box::pin(resource.enter()));
            }
        }
        let State::Entering(entering) = &mut this.state else { return Poll::Pending };
        let entered = ready!(entering.as_mut().poll(cx));
        let call = |(), value, _| R::exit(value);
        let held = entered.map(|value| {
            let held = this.stack.hold_at(value, (), call, this.at);
            accepted(held)
        });
        // Set after the exit is registered, because the drop of the resource's future is user code,
        // and may panic.
        this.state = State::Done;
        Poll::Ready(held)
    }
}

fused!({R: Resource} Enter<'_, R>: |enter| matches!(enter.state, State::Done));

opaque!({R: Resource} Enter<'_, R>);
