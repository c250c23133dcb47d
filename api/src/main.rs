//! Prints the public interface of a crate, an item a line, from the JSON that rustdoc wrote: `api FILE`.

use public_api::Builder;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("api FILE: a file that rustdoc wrote as JSON")?;
    // Blanket implementations are the standard library's. Auto traits are pinned by tests/it/auto_traits.rs, for the
    // futures too.
    let api = Builder::from_rustdoc_json(file)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .include_function_parameter_names(true)
        .build()?;
    println!("{api}");
    Ok(())
}
