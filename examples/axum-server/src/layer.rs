//! A tower layer that gives each request a task, a time limit, and a home for its exits.

use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use moored::{GroupSpawner, fail_after, task};
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tower_layer::Layer;
use tower_service::Service;

/// Puts each request of a service into a task of its own, with a time limit.
///
/// A handler below it enters stacks and scopes as it likes. The exits of a request that the limit cuts off run before the
/// request is answered, with `504 Gateway Timeout`. The exits of a request that is dropped, because its client has
/// disconnected, go to the group of `leftovers`, which waits for them.
#[derive(Clone, Debug)]
pub struct RequestTask {
    limit: Duration,
    leftovers: GroupSpawner<'static, Infallible>,
}

impl RequestTask {
    /// A layer with this time limit for each request.
    #[must_use]
    pub fn new(limit: Duration, leftovers: GroupSpawner<'static, Infallible>) -> Self {
        RequestTask { limit, leftovers }
    }
}

impl<S> Layer<S> for RequestTask {
    type Service = InTask<S>;

    fn layer(&self, inner: S) -> InTask<S> {
        InTask { inner, layer: self.clone() }
    }
}

/// The service that [`RequestTask`] makes of another one.
#[derive(Clone, Debug)]
pub struct InTask<S> {
    inner: S,
    layer: RequestTask,
}

type Answer<E> = Pin<Box<dyn Future<Output = Result<Response, E>> + Send>>;

impl<S, B> Service<Request<B>> for InTask<S>
where
    S: Service<Request<B>>,
    S::Response: IntoResponse + Send,
    S::Error: Send,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Answer<S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Answer<S::Error> {
        let RequestTask { limit, leftovers } = self.layer.clone();
        let name = format!("{} {}", request.method(), request.uri().path());
        let answer = self.inner.call(request);
        // The limit is inside the task, so that a request that it cuts off is undone before it is answered.
        let limited = async move {
            match fail_after(limit, answer).await {
                Ok(answer) => answer.map(IntoResponse::into_response),
                Err(_late) => Ok(StatusCode::GATEWAY_TIMEOUT.into_response()),
            }
        };
        Box::pin(task(limited).named(name).on_abandon(leftovers))
    }
}
