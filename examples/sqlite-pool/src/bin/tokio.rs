//! The story on tokio's threads.
//!
//! `cargo run -p moored-example-sqlite-pool --bin tokio`

use moored::rt::tokio::Tokio;
use std::error::Error;

#[path = "shared/story.rs"]
mod story;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    story::tell(&Tokio::current()).await
}
