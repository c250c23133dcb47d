// Its twin uses a local group, which stays on its thread.
use moored::local::TaskGroup;
use std::convert::Infallible;
use std::rc::Rc;

async fn outer() {
    let shared = Rc::new(7);
    let group: TaskGroup<'_, Infallible> = TaskGroup::new();
    group.spawn(async move {
        std::future::ready(()).await;
        Ok(*shared)
    });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
