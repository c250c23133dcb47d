//! The story on smol's thread.
//!
//! `cargo run -p moored-example-sqlite-pool --bin smol`

use moored::BoxError;
use moored::rt::smol::Smol;

#[path = "shared/story.rs"]
mod story;

fn main() -> Result<(), BoxError> {
    smol::block_on(story::tell(&Smol::global()))
}
