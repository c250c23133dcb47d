// It may be kept for as long as its region lives.
use moored::{ExitStack, Failure};
use std::future::Future;
use std::pin::Pin;

type Run<'a> = Pin<Box<dyn Future<Output = Result<(), Failure<()>>> + 'a>>;

fn main() {
    let stack = ExitStack::new();
    let mut kept: Vec<Run<'_>> = Vec::new();
    kept.push(Box::pin(stack.run(async { Ok(()) })));
    drop(kept);
}
