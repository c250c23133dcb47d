// A runtime's handle given where an executor is expected.
use moored::TaskGroup;
use std::convert::Infallible;

async fn outer() {
    let group: TaskGroup<'_, Infallible> = TaskGroup::new();
    let handle = tokio::runtime::Handle::current();
    group.spawn_on(&handle, async { Ok(()) });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
