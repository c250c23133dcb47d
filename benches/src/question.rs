//! A question, its contenders, and their turns.

use crate::allocations::COUNTS;
use crate::json::Row;
use crate::watch::Watch;
use std::fmt;
use std::hint::black_box;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// One bench target: the questions that the command line selects, and the rows of its results.
#[derive(Debug)]
pub struct Bench {
    target: &'static str,
    filter: Option<String>,
    quick: bool,
    rows: Vec<String>,
    /// A question and a contender, with the `n` at which one iteration took too long. Such a contender is not
    /// measured with a larger `n`.
    slow: Vec<(String, String, u64)>,
}

impl Bench {
    /// Reads the command line: a target, then a word to ask only the questions that contain it; `--quick` for a smoke
    /// test.
    pub fn new(target: &'static str) -> Self {
        let mut bench =
            Bench { target, filter: None, quick: false, rows: Vec::new(), slow: Vec::new() };
        let (flags, words): (Vec<_>, Vec<_>) =
            std::env::args().skip(1).partition(|word| word.starts_with('-'));
        bench.quick = flags.iter().any(|flag| flag == "--quick");
        bench.filter = words.into_iter().nth(1);
        println!("# {target}{}", if COUNTS { ", allocations" } else { "" });
        bench
    }

    /// Whether this is a smoke test.
    pub fn is_quick(&self) -> bool {
        self.quick
    }

    /// The values of `n` to ask for: all of them, or two where it is a smoke test.
    pub fn sizes<'a>(&self, sizes: &'a [u64]) -> &'a [u64] {
        if self.quick { &sizes[..sizes.len().min(2)] } else { sizes }
    }

    /// A question at size `n`. A figure is that of one item; see [`Question::items`].
    pub fn question<'a>(&'a mut self, name: &str, n: u64) -> Question<'a> {
        let asked = self.filter.as_ref().is_none_or(|word| name.contains(word.as_str()));
        let name = name.to_owned();
        Question {
            bench: self,
            name,
            n,
            items: 1,
            rounds: None,
            least: false,
            asked,
            all: Vec::new(),
        }
    }

    /// Writes the rows, unless only some of the questions were asked or this was a smoke test.
    pub fn end(self) {
        if self.filter.is_some() || self.quick || self.rows.is_empty() {
            return;
        }
        let directory = results();
        let kind = if COUNTS { ".count" } else { "" };
        let path = directory.join(format!("{}{kind}.jsonl", self.target));
        let written = std::fs::create_dir_all(&directory)
            .and_then(|()| std::fs::write(&path, self.rows.join("\n") + "\n"));
        match written {
            Ok(()) => println!("rows: {}", path.display()),
            Err(error) => panic!("{}: {error}", path.display()),
        }
    }

    /// A row of a figure that is no time, such as bytes.
    pub fn figure(&mut self, question: &str, n: u64, contender: &str, unit: &str, value: f64) {
        println!("  {question}, n = {n}: {contender} {value:.1} {unit}");
        let row = self.row(question, n, contender).text("unit", unit).number("value", value);
        self.rows.push(row.end());
    }

    /// With which smaller `n` this one took too long.
    fn too_slow(&self, question: &str, contender: &str) -> Option<u64> {
        let mut slow = self.slow.iter();
        slow.find(|(of, who, _)| of == question && who == contender).map(|(_, _, n)| *n)
    }

    fn row(&self, question: &str, n: u64, contender: &str) -> Row {
        Row::new()
            .text("target", self.target)
            .text("question", question)
            .number("n", n as f64)
            .text("contender", contender)
            .flag("ours", contender.starts_with("moored"))
    }
}

/// `BENCH_RESULTS`, or `bench` in cargo's target directory.
fn results() -> PathBuf {
    let named = std::env::var_os("BENCH_RESULTS").map(PathBuf::from);
    named.unwrap_or_else(|| {
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let own = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"));
        target.unwrap_or_else(own).join("bench")
    })
}

/// Does its work so many times, and measures it.
type Run<'a> = Box<dyn FnMut(u64, &mut Watch) + 'a>;

struct Contender<'a> {
    name: String,
    run: Run<'a>,
    iterations: u64,
    /// Nanoseconds of one item, round by round.
    rounds: Vec<f64>,
    count: f64,
    bytes: f64,
    overlap: Option<f64>,
}

/// One question, put to all its contenders side by side.
pub struct Question<'a> {
    bench: &'a mut Bench,
    name: String,
    n: u64,
    items: u64,
    rounds: Option<usize>,
    least: bool,
    asked: bool,
    all: Vec<Contender<'a>>,
}

/// Time measured in a round of one contender. Short beside a scheduler's slice of some milliseconds: on a machine that does
/// other things too, most rounds are then undisturbed, and the median is one of them.
const ROUND: Duration = Duration::from_micros(600);
/// The longest time of a round, set-up included. A round that takes longer is not given more iterations.
const LONGEST: Duration = Duration::from_millis(30);
/// The longest time of one iteration, set-up included. A contender that takes longer is not measured with a
/// larger `n`.
const PATIENCE: Duration = Duration::from_millis(1_500);

impl<'a> Question<'a> {
    /// One iteration does `items` items, and the figure is that of one item.
    pub fn items(mut self, items: u64) -> Self {
        self.items = items;
        self
    }

    /// So many rounds of one iteration each, of which the shortest is the answer: for a stall, where every disturbance
    /// makes it longer.
    pub fn least_of(mut self, rounds: usize) -> Self {
        self.rounds = Some(rounds);
        self.least = true;
        self
    }

    /// A contender that repeats `work`. Ours have names that begin with `moored`.
    pub fn each<T>(self, name: &str, mut work: impl FnMut() -> T + 'a) -> Self {
        self.custom(name, move |iterations, watch| {
            watch.time(|| {
                for _ in 0..iterations {
                    black_box(work());
                }
            });
        })
    }

    /// A contender of which only `work` is measured: `set_up` runs before, and the drop of the value that `work`
    /// returns comes after. Many values are set up at once, so that reading the clock costs little.
    pub fn batched<S, T>(
        self,
        name: &str,
        mut set_up: impl FnMut() -> S + 'a,
        mut work: impl FnMut(S) -> T + 'a,
    ) -> Self {
        let at_once = (2_000 / self.items.max(1)).max(1);
        self.custom(name, move |iterations, watch| {
            let mut left = iterations;
            while left > 0 {
                let batch = left.min(at_once);
                left -= batch;
                let ready: Vec<S> = (0..batch).map(|_| set_up()).collect();
                let mut done = Vec::with_capacity(ready.len());
                watch.time(|| {
                    for state in ready {
                        done.push(black_box(work(state)));
                    }
                });
                drop(done);
            }
        })
    }

    /// A contender that counts and times by itself: it is told how often to do its work.
    pub fn custom(mut self, name: &str, run: impl FnMut(u64, &mut Watch) + 'a) -> Self {
        if let Some(n) = self.bench.too_slow(&self.name, name) {
            println!("{}, n = {}: {name} left out, too slow with n = {n}", self.name, self.n);
            let row = self.bench.row(&self.name, self.n, name).number("too_slow_with", n as f64);
            self.bench.rows.push(row.end());
            return self;
        }
        self.all.push(Contender {
            name: name.to_owned(),
            run: Box::new(run),
            iterations: 1,
            rounds: Vec::new(),
            count: 0.0,
            bytes: 0.0,
            overlap: None,
        });
        self
    }

    /// Lets the contenders take turns, and keeps and prints their rows.
    pub fn ask(mut self) {
        if !self.asked {
            return;
        }
        let (items, quick) = (self.items as f64, self.bench.quick);
        let mut longest = Duration::from_nanos(1);
        for contender in &mut self.all {
            let round = if quick { ROUND / 10 } else { ROUND };
            let only_one = self.least;
            let took = contender.calibrate(round, only_one);
            longest = longest.max(took);
            if contender.iterations == 1 && took > PATIENCE {
                self.bench.slow.push((self.name.clone(), contender.name.clone(), self.n));
            }
        }
        if COUNTS {
            for contender in &mut self.all {
                // After the calibration, which warmed everything up.
                let iterations = contender.iterations.clamp(1, 50);
                let mut watch = Watch::default();
                (contender.run)(iterations, &mut watch);
                let per_item = 1.0 / (iterations as f64 * items);
                contender.count = watch.allocated.count as f64 * per_item;
                contender.bytes = watch.allocated.bytes as f64 * per_item;
            }
        } else {
            let fits = (1.5 / longest.as_secs_f64()) as usize;
            let least = if longest > PATIENCE { 3 } else { 9 };
            let rounds = self.rounds.unwrap_or(fits.clamp(least, 151));
            for _ in 0..if quick { 3 } else { rounds } {
                for contender in &mut self.all {
                    contender.round(items);
                }
            }
        }
        self.report();
    }

    fn report(&mut self) {
        println!("{}, n = {}", self.name, self.n);
        let answer = |rounds: &[f64]| if self.least { at(rounds, 0.0) } else { at(rounds, 0.5) };
        let ours = self.all.iter().find(|contender| contender.name.starts_with("moored"));
        let ours = ours.map_or(f64::NAN, |ours| answer(&ours.rounds));
        for contender in &self.all {
            let row = self.bench.row(&self.name, self.n, &contender.name);
            if COUNTS {
                let (count, bytes) = (contender.count, contender.bytes);
                println!("  {count:>10.2} allocations {bytes:>10.0} B  {}", contender.name);
                let row = row.number("allocations", count).number("bytes", bytes);
                self.bench.rows.push(row.end());
                continue;
            }
            let nanoseconds = answer(&contender.rounds);
            let spread = (at(&contender.rounds, 0.25), at(&contender.rounds, 0.75));
            let ratio = ours / nanoseconds;
            println!(
                "  {nanoseconds:>10.2} ns ({:.2} to {:.2})  {}  ours/this {ratio:.2}{}",
                spread.0,
                spread.1,
                contender.name,
                contender
                    .overlap
                    .map_or(String::new(), |overlap| format!("  overlap {overlap:.2}")),
            );
            let mut row = row
                .text("statistic", if self.least { "least" } else { "median" })
                .number("iterations", contender.iterations as f64)
                .numbers("ns", &contender.rounds);
            if let Some(overlap) = contender.overlap {
                row = row.number("overlap", overlap);
            }
            self.bench.rows.push(row.end());
        }
        std::io::stdout().flush().unwrap_or_default();
    }
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("name", &self.name).field("n", &self.n).finish()
    }
}

impl Contender<'_> {
    /// Doubles the iterations until a round is long enough; returns how long it takes with its set-up.
    fn calibrate(&mut self, round: Duration, only_one: bool) -> Duration {
        loop {
            let mut watch = Watch::default();
            let started = Instant::now();
            (self.run)(self.iterations, &mut watch);
            let all = started.elapsed();
            if watch.spent >= round || all >= LONGEST || only_one {
                return all;
            }
            self.iterations *= 2;
        }
    }

    fn round(&mut self, items: f64) {
        // Rounds of two threads that did not run at the same time tell nothing: again, but not for ever.
        for _ in 0..5 {
            let mut watch = Watch::default();
            (self.run)(self.iterations, &mut watch);
            let enough = watch.overlap.is_none_or(|overlap| overlap >= 0.8);
            if enough {
                self.rounds.push(watch.spent.as_nanos() as f64 / (self.iterations as f64 * items));
                if let Some(overlap) = watch.overlap {
                    self.overlap = Some(self.overlap.map_or(overlap, |worst| worst.min(overlap)));
                }
                return;
            }
        }
        self.rounds.push(f64::NAN);
    }
}

/// The value at a share of the sorted rounds. Rounds that were disturbed beyond use are left
/// out.
fn at(rounds: &[f64], share: f64) -> f64 {
    let mut sorted: Vec<f64> = rounds.iter().copied().filter(|round| round.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        len => sorted[((len - 1) as f64 * share).round() as usize],
    }
}
