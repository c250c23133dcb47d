// The region is a local of the future that runs it.
use moored::{CancelScope, Cancelled};
use std::future::Future;

fn detached() -> impl Future<Output = Result<(), Cancelled>> {
    async {
        let scope = CancelScope::new();
        scope.run(async {}).await
    }
}

fn main() {
    drop(detached());
}
