//! Stand-ins with the names of `moored`, until the core is there.
use std::future::Future;
use std::pin::Pin;

use parking_lot::Mutex;

type Exit = Pin<Box<dyn Future<Output = ()> + Send>>;

#[derive(Default)]
pub(crate) struct ExitStack {
    exits: Mutex<Vec<Exit>>,
}

impl ExitStack {
    pub(crate) fn new() -> Self {
        Self::default()
    }
    pub(crate) fn named(self, _name: &str) -> Self {
        self
    }
    pub(crate) fn defer(&self, exit: impl Future<Output = ()> + Send + 'static) {
        self.exits.lock().push(Box::pin(exit));
    }
    pub(crate) async fn run<T, E>(&self, body: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let result = body.await;
        loop {
            let Some(exit) = self.exits.lock().pop() else { break };
            exit.await;
        }
        result
    }
}
