//! Transactions on real SQLite, under tokio and smol: however they end, nothing stays open.

mod cut;
mod leave;
mod programs;
mod support;
