// A child that holds an `Rc`: the group may move to another thread with its task.
use moored::TaskGroup;
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
