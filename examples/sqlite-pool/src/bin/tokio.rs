//! The story on tokio's threads.
//!
//! `cargo run -p moored-example-sqlite-pool --bin tokio`

use moored::BoxError;
use moored::rt::tokio::Tokio;

#[path = "shared/story.rs"]
mod story;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    story::tell(&Tokio::current()).await
}
