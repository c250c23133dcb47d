// The other task takes a spawner, which may spawn from anywhere and nothing else.
use moored::TaskGroup;

async fn outer() {
    let group: TaskGroup<'static, ()> = TaskGroup::new();
    let spawner = group.spawner();
    tokio::spawn(async move {
        let _ = spawner.spawn(async { Ok(()) });
    });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
