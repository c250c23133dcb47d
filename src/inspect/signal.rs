//! The tree of open regions, printed when the process gets a signal.

use super::snapshot::snapshot;
use ::tokio::runtime::Builder;
use ::tokio::signal::unix::{SignalKind, signal};
use std::io::{self, Write};

/// From now on, whenever the process gets `SIGUSR1`, its tree of open regions is printed on standard error (features
/// `inspect` and `tokio`, on Unix): `kill -USR1 <pid>` shows the current waits.
///
/// It listens on its own thread with a small runtime, so it may be called anywhere, and works even if the program's
/// runtime is blocked. It listens until the process ends; after a second call the tree is printed twice.
///
/// # Errors
///
/// If the thread cannot be started, or the signal cannot be listened to.
///
/// # Examples
///
/// ```no_run
/// fn main() -> std::io::Result<()> {
///     moored::inspect::on_signal()?;
///     // the program
/// #   Ok(())
/// }
/// ```
pub fn on_signal() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    let mut asked = {
        let _inside = runtime.enter();
        signal(SignalKind::user_defined1())?
    };
    let listen = move || {
        runtime.block_on(async {
            while asked.recv().await.is_some() {
                // Not `eprint!`, which panics if standard error cannot be written.
                drop(write!(io::stderr().lock(), "moored: open regions:\n{}", snapshot()));
            }
        });
    };
    std::thread::Builder::new().name("moored-signal".into()).spawn(listen)?;
    Ok(())
}
