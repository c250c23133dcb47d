// A child that borrows its own group: the group would have to outlive itself.
use moored::TaskGroup;

async fn outer() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    group.spawn(async {
        group.spawn(async { Ok(()) });
        Ok(())
    });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
