// A child that borrows a value which is dropped before its group.
use moored::TaskGroup;

async fn outer() {
    let group: TaskGroup<'_, ()> = TaskGroup::new();
    let word = String::from("short-lived");
    group.spawn(async { Ok(drop(word.len())) });
    group.run(async { Ok(()) }).await.unwrap();
}

fn main() {
    drop(outer());
}
