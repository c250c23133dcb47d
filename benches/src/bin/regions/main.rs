//! All questions, one module for each that a user asks.
//!
//! One binary, because link-time optimisation takes longer than the measurements. `ci/bench.sh` runs it once for each
//! target, so that no target finds what another one left behind in the process. Without a target it asks all questions;
//! with `--quick`, in a few rounds, that is a smoke test.

mod adopted;
mod cancel;
mod check;
mod children;
mod contention;
mod executor;
mod exits;
mod memory;
mod owner;
mod poll;
mod request;
mod scope;
mod teardown;
mod wait;

use benches::Bench;

type Ask = fn(&mut Bench);

const TARGETS: [(&str, Ask); 14] = [
    ("scope", scope::ask),
    ("request", request::ask),
    ("check", check::ask),
    ("poll", poll::ask),
    ("wait", wait::ask),
    ("cancel", cancel::ask),
    ("children", children::ask),
    ("executor", executor::ask),
    ("exits", exits::ask),
    ("adopted", adopted::ask),
    ("owner", owner::ask),
    ("teardown", teardown::ask),
    ("contention", contention::ask),
    ("memory", memory::ask),
];

fn main() {
    let mut words = std::env::args().skip(1).filter(|word| !word.starts_with('-'));
    let asked = words.next();
    if asked.as_deref() == Some("list") {
        return TARGETS.iter().for_each(|(name, _)| println!("{name}"));
    }
    let of = |name: &str| asked.as_deref().is_none_or(|asked| asked == name);
    let targets: Vec<_> = TARGETS.iter().filter(|(name, _)| of(name)).collect();
    assert!(!targets.is_empty(), "no such target; `list` prints them");
    for (name, ask) in targets {
        let mut bench = Bench::new(name);
        ask(&mut bench);
        bench.end();
    }
}
