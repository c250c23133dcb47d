// A body that outlives its region: the future of `run` is returned, and the region with it is gone.
use moored::{CancelScope, Cancelled};
use std::future::Future;

fn detached() -> impl Future<Output = Result<(), Cancelled>> {
    let scope = CancelScope::new();
    scope.run(async {})
}

fn main() {
    drop(detached());
}
