// A body that outlives its region: the future of `run` is kept where the region is not.
use moored::{ExitStack, Failure};
use std::future::Future;
use std::pin::Pin;

type Run<'a> = Pin<Box<dyn Future<Output = Result<(), Failure<()>>> + 'a>>;

fn main() {
    let mut kept: Vec<Run<'_>> = Vec::new();
    {
        let stack = ExitStack::new();
        kept.push(Box::pin(stack.run(async { Ok(()) })));
    }
    drop(kept);
}
