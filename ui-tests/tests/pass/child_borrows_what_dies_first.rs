// A child may borrow a value that lives longer than the group.
use moored::TaskGroup;

async fn outer() {
    let word = String::from("long-lived");
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    group.spawn(async { Ok(drop(word.len())) });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
