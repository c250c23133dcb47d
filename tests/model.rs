//! Random programs of regions, checked against a small reference model; see `model/model.rs`.

#[path = "model/model.rs"]
mod model;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

/// Half of the programs are the same in each run. The other half come from a fresh seed, which is
/// printed. `MODEL_SEED=n` sets that seed; `PROPTEST_CASES=n` sets the number of programs.
#[test]
fn r04_r08_r10_r12_r14_r15_r18_the_crate_does_what_the_book_says() {
    let number = |name| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    let fresh = number("MODEL_SEED").unwrap_or_else(rand_seed);
    let cases = number("PROPTEST_CASES").unwrap_or(2_000) as u32 / 2;
    for seed in [1, fresh] {
        println!("MODEL_SEED={seed}");
        let config = ProptestConfig {
            cases,
            max_shrink_iters: 20_000,
            // No file of failures: the seed of a failure is printed, and is added to `model/corpus` with
            // its fix.
            failure_persistence: None,
            ..ProptestConfig::default()
        };
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
        let program = (any::<u8>(), proptest::collection::vec(any::<[u8; 3]>(), 0..120));
        let ran = TestRunner::new_with_rng(config, rng).run(&program, |(head, ops)| {
            let mut seed = vec![head];
            seed.extend(ops.into_iter().flatten());
            model::check(&seed);
            Ok(())
        });
        ran.unwrap_or_else(|failure| panic!("{failure}"));
    }
    // The form that ci/proof.py reads: the rules that the reference checks, or that the program itself checks.
    let rules = "r01_r02_r03_r04_r06_r07_r08_r09_r10_r11_r12_r13_r14_r15_r16_r17_r18_r19";
    println!("explored {rules}_the_crate_does_what_the_book_says: {} programs", 2 * cases);
}

fn rand_seed() -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one("a fresh seed")
}

/// The corpus: seeds that the fuzzer kept, and seeds that once showed a bug.
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
