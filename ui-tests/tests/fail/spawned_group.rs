// A group borrowed by another task of the executor, which would spawn into it.
use moored::TaskGroup;

async fn outer() {
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let borrowed = &group;
    tokio::spawn(async move {
        borrowed.spawn(async { Ok(()) });
    });
}

fn main() {
    drop(outer());
}
