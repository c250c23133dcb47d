//! Medians and quartiles, as a table; and every round, as JSON lines.

use std::ops::Add;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::contenders::Contender;

/// The target's name in the rows.
const TARGET: &str = "mcp";

/// The duration of a part of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Phase {
    pub(crate) took: Duration,
    /// Processor time of this process.
    pub(crate) processor: Duration,
    pub(crate) allocations: usize,
    /// HTTP connections that were opened.
    pub(crate) connections: usize,
}

impl Add for Phase {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            took: self.took + other.took,
            processor: self.processor + other.processor,
            allocations: self.allocations + other.allocations,
            connections: self.connections + other.connections,
        }
    }
}

/// All rounds of a contender's answer to a question.
#[derive(Debug)]
struct Rounds {
    question: String,
    sessions: usize,
    contender: Contender,
    phases: Vec<Phase>,
}

impl Rounds {
    /// Milliseconds, of all sessions together.
    fn millis(&self) -> Spread {
        self.spread(|phase| phase.took.as_secs_f64() * 1e3)
    }

    fn spread(&self, figure: impl Fn(&Phase) -> f64) -> Spread {
        Spread::of(self.phases.iter().map(figure).collect())
    }

    /// Nanoseconds of one session, round by round.
    fn nanos(&self) -> Vec<f64> {
        self.phases.iter().map(|it| it.took.as_nanos() as f64 / self.sessions as f64).collect()
    }

    /// The number for one session, the servers of this process included.
    fn allocations(&self) -> f64 {
        self.spread(|phase| phase.allocations as f64).median / self.sessions as f64
    }
}

/// The measurements, in the order of their first rounds.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Rounds>);

/// Median, first and third quartile.
#[derive(Debug, Clone, Copy)]
struct Spread {
    median: f64,
    q1: f64,
    q3: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Self {
        values.sort_unstable_by(f64::total_cmp);
        let at = |part: usize| values[(values.len() - 1) * part / 4];
        Self { median: at(2), q1: at(1), q3: at(3) }
    }
}

impl Figures {
    /// Adds a round.
    pub(crate) fn add(
        &mut self,
        servers: &str,
        sessions: usize,
        contender: Contender,
        connect: Phase,
        leave: Phase,
    ) {
        for (asked, phase) in
            [("connect", connect), ("leave", leave), ("connect and leave", connect + leave)]
        {
            let question = format!("{asked}, {servers}");
            let is_it = |it: &&mut Rounds| {
                it.question == question && it.sessions == sessions && it.contender == contender
            };
            match self.0.iter_mut().find(is_it) {
                Some(rounds) => rounds.phases.push(phase),
                None => self.0.push(Rounds { question, sessions, contender, phases: vec![phase] }),
            }
        }
    }

    /// The rounds of ours to the same question.
    fn ours(&self, other: &Rounds) -> Option<&Rounds> {
        self.0.iter().find(|it| {
            it.question == other.question
                && it.sessions == other.sessions
                && it.contender == Contender::Ours
        })
    }

    /// The additional time that leaving a single session takes beside rmcp's cancel, in
    /// nanoseconds, round by round.
    fn added(&self) -> impl Iterator<Item = (String, Vec<f64>)> {
        let single = |it: &&Rounds| {
            it.sessions == 1 && it.contender == Contender::Rmcp && it.question.starts_with("leave")
        };
        self.0.iter().filter(single).filter_map(|peer| {
            let pairs = self.ours(peer)?.nanos().into_iter().zip(peer.nanos());
            let question = format!("what is added to {}", peer.question);
            Some((question, pairs.map(|(ours, theirs)| ours - theirs).collect()))
        })
    }

    /// The rows of the page: ours beside rmcp, and beside rmcp and the same leave by hand.
    pub(crate) fn rows(&self, text: &mut String) {
        let peers = [Contender::Rmcp, Contender::ByHand];
        for peer in self.0.iter().filter(|it| peers.contains(&it.contender)) {
            let Some(ours) = self.ours(peer) else { continue };
            let ratio = |figure: fn(&Phase) -> Duration| {
                let pairs = ours.phases.iter().zip(&peer.phases);
                let ratios = pairs.map(|(ours, theirs)| {
                    figure(ours).as_secs_f64() / figure(theirs).as_secs_f64().max(1e-9)
                });
                Spread::of(ratios.collect())
            };
            let (took, processor) = (ratio(|it| it.took), ratio(|it| it.processor));
            let ms = |it: Spread| format!("{:.2} ({:.2} to {:.2})", it.median, it.q1, it.q3);
            let by_hand = if peer.contender == Contender::ByHand { ", by hand" } else { "" };
            *text += &format!(
                "| {}{by_hand} | {} | {} | {} | {} | {:.2} |\n",
                peer.question,
                peer.sessions,
                ms(ours.millis()),
                ms(peer.millis()),
                ms(took),
                processor.median,
            );
        }
    }

    /// A line for each kind of server: the time that is added to a single leave.
    pub(crate) fn added_lines(&self) -> impl Iterator<Item = String> {
        self.added().map(|(question, nanos)| {
            let Spread { median, q1, q3 } = Spread::of(nanos.iter().map(|ns| ns / 1e6).collect());
            format!("{question}: {median:.3} ms (quartiles {q1:.3} to {q3:.3})")
        })
    }

    /// The table.
    pub(crate) fn print(&self) {
        let mut order: Vec<&Rounds> = self.0.iter().collect();
        // Compared contenders stand side by side; the sort is stable.
        order.sort_by_key(|it| {
            let first =
                |other: &&Rounds| other.question == it.question && other.sessions == it.sessions;
            self.0.iter().position(|other| first(&other))
        });
        println!(
            "{:<44} {:>3}  {:<20} {:>9} {:>17} {:>7}  {:>8} {:>5}  {:>9}",
            "question",
            "n",
            "contender",
            "median ms",
            "quartiles ms",
            "cpu ms",
            "allocs/n",
            "conns",
            "ours/this"
        );
        for it in order {
            let time = it.millis();
            let ratio = match self.ours(it) {
                Some(ours) if it.contender != Contender::Ours => {
                    format!("{:.2}", ours.millis().median / time.median)
                }
                _ => String::new(),
            };
            println!(
                "{:<44} {:>3}  {:<20} {:>9.3} {:>8.3} {:>8.3} {:>7.3}  {:>8.0} {:>5}  {ratio:>9}",
                it.question,
                it.sessions,
                it.contender.name(),
                time.median,
                time.q1,
                time.q3,
                it.spread(|phase| phase.processor.as_secs_f64() * 1e3).median,
                it.allocations(),
                it.spread(|phase| phase.connections as f64).median,
            );
        }
        let mut rows = String::new();
        self.rows(&mut rows);
        println!("\n| question | n | moored-mcp, ms | rmcp, ms | ratio | processor |\n{rows}");
        self.added_lines().for_each(|line| println!("{line}"));
        for contender in Contender::ALL {
            println!("{}: {}", contender.name(), contender.note());
        }
    }

    /// Writes one JSON object a line, as the benchmark page reads them.
    pub(crate) fn save(&self, file: &Path) -> std::io::Result<()> {
        if let Some(directory) = file.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let mut text = String::new();
        for it in &self.0 {
            let mut row = row(&it.question, it.sessions, it.contender, &it.nanos());
            row["allocations"] = json!(it.allocations());
            text += &format!("{row}\n");
        }
        for (question, nanos) in self.added() {
            text += &format!("{}\n", row(&question, 1, Contender::Ours, &nanos));
        }
        std::fs::write(file, text)
    }
}

fn row(question: &str, sessions: usize, contender: Contender, nanos: &[f64]) -> Value {
    json!({
        "target": TARGET,
        "question": question,
        "n": sessions,
        "contender": contender.name(),
        "ours": contender == Contender::Ours,
        "ns": nanos,
    })
}
