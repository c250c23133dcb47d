//! The permits of a pool.

use async_channel::{Receiver, Sender};
use async_sqlite::{Client, ClientBuilder, Error};
use std::path::PathBuf;
use std::sync::Arc;

/// One message for each free connection: the connection, or only its permit if it was not opened yet.
#[derive(Clone, Debug)]
pub(crate) struct Slots {
    path: Arc<PathBuf>,
    size: usize,
    put: Sender<Option<Client>>,
    take: Receiver<Option<Client>>,
}

impl Slots {
    pub(crate) fn new(path: PathBuf, size: usize) -> Self {
        assert!(size > 0, "a pool needs room for one connection at least");
        let (put, take) = async_channel::bounded(size);
        for _ in 0..size {
            put.try_send(None).expect("there is room for every permit");
        }
        Self { path: Arc::new(path), size, put, take }
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    pub(crate) fn available(&self) -> usize {
        self.take.len()
    }

    pub(crate) async fn take(&self) -> Lease {
        let client = self.take.recv().await.expect("a pool owns both ends");
        Lease { slots: self.clone(), client, is_clean: false }
    }
}

/// A permit, with its connection.
///
/// Its drop gives the permit back in every case, so that a pool never shrinks; only [`give_back`](Self::give_back)
/// gives the connection back as well.
pub(crate) struct Lease {
    slots: Slots,
    client: Option<Client>,
    is_clean: bool,
}

impl Lease {
    pub(crate) async fn open(&mut self) -> Result<(), Error> {
        if self.client.is_none() {
            let client = ClientBuilder::new().path(&*self.slots.path).open().await?;
            self.client = Some(client);
        }
        Ok(())
    }

    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// The exit: rolls back a transaction that a caller left open, and gives the connection back. If the rollback
    /// fails, the connection is closed, which rolls back too.
    pub(crate) async fn give_back(mut self) -> Result<(), Error> {
        let Some(client) = &self.client else { return Ok(()) };
        let reset = client
            .conn(|connection| {
                if connection.is_autocommit() {
                    Ok(())
                } else {
                    connection.execute_batch("ROLLBACK")
                }
            })
            .await;
        if reset.is_err() {
            // The error that is returned is the reason why it had to be closed.
            let _ = client.close().await;
        }
        self.is_clean = reset.is_ok();
        reset
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let client = self.client.take().filter(|_| self.is_clean);
        // It has room for every permit, and may only be closed.
        let _ = self.slots.put.try_send(client);
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("is_open", &self.client.is_some()).finish_non_exhaustive()
    }
}
