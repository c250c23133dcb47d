//! The story on smol's thread.
//!
//! `cargo run -p moored-example-sqlite-pool --bin smol`

use moored::rt::smol::Smol;
use std::error::Error;

#[path = "shared/story.rs"]
mod story;

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(story::tell(&Smol::global()))
}
