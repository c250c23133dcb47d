//! Two clients share one connection; a third one's time is up while it holds the connection, a fourth one has no money.

use moored::{BoxError, CancelScope, Failure, Spawn, TaskGroup};
use sqlite_pool::accounts::{TransferError, balance, create, transfer};
use sqlite_pool::{Error as PoolError, Pool};
use std::future::pending;
use std::time::Duration;

pub(crate) async fn tell(spawner: &impl Spawn) -> Result<(), BoxError> {
    let path = std::env::temp_dir().join(format!("sqlite-pool-{}.db", std::process::id()));
    let result = accounts(spawner, &Pool::new(&path, 1)).await;
    std::fs::remove_file(path)?;
    result
}

pub(crate) async fn accounts(spawner: &impl Spawn, pool: &Pool) -> Result<(), BoxError> {
    create(pool).await?;

    let group: TaskGroup<'_, Failure<TransferError>> = TaskGroup::new().named("clients");
    group
        .run(async {
            for amount in [10, 20] {
                let pool = pool.clone();
                group.spawn_on(spawner, async move { transfer(&pool, 1, 2, amount).await });
            }
            Ok(())
        })
        .await
        .map_err(Failure::flatten)?;
    println!("two clients: 30 moved, {} left on the first account", balance(pool, 1).await?);

    let scope = CancelScope::new().named("a slow client").timeout(Duration::from_millis(50));
    let slow = pool.transaction(async |tx| {
        tx.execute("UPDATE account SET balance = 0", ()).await?;
        // This transaction never ends by itself.
        pending::<Result<(), PoolError>>().await
    });
    let cancelled = scope.run(slow).await.expect_err("it never ends by itself");
    println!("{cancelled}: rolled back, {} left", balance(pool, 1).await?);

    let refused = transfer(pool, 1, 2, 1000).await.expect_err("it has no 1000");
    println!("{refused}: rolled back, {} left", balance(pool, 1).await?);

    println!("{} of {} connections in the pool", pool.available(), pool.size());
    Ok(())
}
