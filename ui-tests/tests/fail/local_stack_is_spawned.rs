// A stack of the local flavour on a runtime of many threads: its exits need not be `Send`.
use moored::local::ExitStack;
use std::convert::Infallible;

fn main() {
    tokio::spawn(async {
        let stack = ExitStack::new();
        let _ = stack.run(async { Ok::<(), Infallible>(()) }).await;
    });
}
