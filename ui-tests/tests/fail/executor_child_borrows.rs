// A child on an executor that borrows: there is no parallel borrowing.
use moored::TaskGroup;
use moored::rt::tokio::Tokio;

async fn outer() {
    let word = String::from("borrowed");
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let borrowed = &word;
    group.spawn_on(&Tokio::current(), async move { Ok(borrowed.len()) });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
