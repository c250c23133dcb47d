//! Programs of regions, made at random, against a small reference; see `model/model.rs`.

#[path = "model/model.rs"]
mod model;

use proptest::prelude::*;

proptest! {
    // No file of failures: a seed that fails is printed, and goes into `model/corpus` with its fix.
    #![proptest_config(ProptestConfig {
        cases: 2_000,
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn r08_r14_r15_every_exit_runs_once_in_order_and_every_failure_is_told_once(
        head in any::<u8>(),
        ops in proptest::collection::vec(any::<[u8; 3]>(), 0..120)
    ) {
        let mut seed = vec![head];
        seed.extend(ops.into_iter().flatten());
        model::check(&seed);
    }
}

/// What the fuzzer found worth keeping, and what was once a bug.
#[test]
fn every_seed_of_the_corpus_replays() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/model/corpus");
    let mut seeds = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        model::check(&std::fs::read(path).unwrap());
        seeds += 1;
    }
    assert!(seeds > 0, "the corpus is gone");
}
