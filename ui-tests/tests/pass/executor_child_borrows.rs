// An executor child owns its values.
use moored::TaskGroup;
use moored::rt::tokio::Tokio;

async fn outer() {
    let word = String::from("owned");
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    group.spawn_on(&Tokio::current(), async move { Ok(word.len()) });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
