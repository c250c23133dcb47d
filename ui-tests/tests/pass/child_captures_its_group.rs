// A child that spawns children takes a spawner with it.
use moored::TaskGroup;

async fn outer() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let spawner = group.spawner();
    group.spawn(async move {
        let _ = spawner.spawn(async { Ok(()) });
        Ok(())
    });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
