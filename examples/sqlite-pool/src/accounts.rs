//! An application on top of the pool: money that is moved between accounts, and never lost on the way.

use crate::{Error, Pool};
use moored::Failure;

/// The reason why money was not moved.
#[derive(Debug)]
pub enum TransferError {
    /// The account has less money than was to be moved.
    Insufficient {
        /// The balance of the account.
        balance: i64,
    },
    /// The database refused.
    Database(Error),
}

impl std::fmt::Display for TransferError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Insufficient { balance } => write!(f, "only {balance} on the account"),
            Self::Database(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for TransferError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Insufficient { .. } => None,
            Self::Database(error) => error.source(),
        }
    }
}

impl From<Error> for TransferError {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

/// Makes the tables, and two accounts with 100 each.
///
/// # Cancel safety
///
/// All or nothing.
///
/// # Errors
///
/// Where the database refuses.
pub async fn create(pool: &Pool) -> Result<(), Failure<Error>> {
    pool.transaction(async |tx| {
        tx.execute("CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER)", ()).await?;
        tx.execute("CREATE TABLE entry (account INTEGER, amount INTEGER)", ()).await?;
        tx.execute("INSERT INTO account VALUES (1, 100), (2, 100)", ()).await?;
        Ok(())
    })
    .await
}

/// Moves `amount`, and writes an entry for each side.
///
/// # Cancel safety
///
/// All or nothing.
///
/// # Errors
///
/// [`TransferError`], as the body's.
pub async fn transfer(
    pool: &Pool,
    from: i64,
    to: i64,
    amount: i64,
) -> Result<i64, Failure<TransferError>> {
    pool.transaction(async move |tx| {
        for (account, amount) in [(from, -amount), (to, amount)] {
            tx.execute("INSERT INTO entry VALUES (?1, ?2)", (account, amount)).await?;
            let sql = "UPDATE account SET balance = balance + ?2 WHERE id = ?1";
            tx.execute(sql, (account, amount)).await?;
        }
        let left: i64 = tx.query_one("SELECT balance FROM account WHERE id = ?1", (from,)).await?;
        if left < 0 {
            // The error alone rolls the transaction back.
            return Err(TransferError::Insufficient { balance: left + amount });
        }
        Ok(left)
    })
    .await
}

/// The balance of an account.
///
/// # Cancel safety
///
/// Nothing is changed.
///
/// # Errors
///
/// Where the database refuses.
pub async fn balance(pool: &Pool, id: i64) -> Result<i64, Failure<Error>> {
    pool.transaction(async move |tx| {
        tx.query_one("SELECT balance FROM account WHERE id = ?1", (id,)).await
    })
    .await
}
