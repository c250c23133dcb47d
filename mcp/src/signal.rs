//! The names of signals, for texts.

use rustix::process::Signal;

/// The signals that end programs, by their names.
const NAMED: [(Signal, &str); 17] = [
    (Signal::HUP, "SIGHUP"),
    (Signal::INT, "SIGINT"),
    (Signal::QUIT, "SIGQUIT"),
    (Signal::ILL, "SIGILL"),
    (Signal::TRAP, "SIGTRAP"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::BUS, "SIGBUS"),
    (Signal::FPE, "SIGFPE"),
    (Signal::KILL, "SIGKILL"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::SEGV, "SIGSEGV"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::PIPE, "SIGPIPE"),
    (Signal::ALARM, "SIGALRM"),
    (Signal::TERM, "SIGTERM"),
    (Signal::XCPU, "SIGXCPU"),
    (Signal::XFSZ, "SIGXFSZ"),
];

/// A signal in a text: `SIGKILL (9)`, and `signal 34` for one without a common name.
pub(crate) fn shown(number: i32) -> String {
    match NAMED.iter().find(|(signal, _)| signal.as_raw() == number) {
        Some((_, name)) => format!("{name} ({number})"),
        None => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_shown_by_its_name_and_number() {
        assert_eq!(shown(9), "SIGKILL (9)");
        assert_eq!(shown(Signal::SEGV.as_raw()), "SIGSEGV (11)");
        assert_eq!(shown(34), "signal 34");
        assert_eq!(shown(0), "signal 0");
    }
}
