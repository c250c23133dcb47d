//! The regions that are open now, as a forest.

use super::region::{Exit, Region};
use crate::lasting::Lasting;
use crate::names::is_escaped;
use crate::region::register::{self, Found};
use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// The depth to which regions are nested in the tree: deeper regions are in a list in the region at this depth, each with its
/// depth as a number. A path in a line is shown as a whole up to this length.
const NESTED: usize = 32;

/// The open regions of this process, as a forest: each region with the regions that were
/// entered inside it.
///
/// `Display` is a tree with a line for each region and for each exit that runs. A snapshot takes time and memory in
/// proportion to the number of regions. Regions may be nested to any depth, but the tree is no deeper than 32. Deeper
/// regions are one list, in which each region is followed by the regions inside it, with [its depth](Region::depth).
#[derive(Clone, Debug)]
pub struct Snapshot {
    roots: Vec<Region>,
    exits: Vec<Exit>,
}

/// Scans every open region of this process, one after the other. A region that is entered or left
/// meanwhile may be in the snapshot or not.
pub fn snapshot() -> Snapshot {
    let scan = register::found();
    let (now, clocks) = (Instant::now(), scan.clocks.now());
    let mut running: HashMap<Option<u64>, Vec<Exit>> = HashMap::new();
    for exit in &scan.exits {
        running.entry(exit.region).or_default().push(Exit::of(exit, now, &clocks));
    }
    for exits in running.values_mut() {
        exits.sort_by_key(|exit| std::cmp::Reverse(exit.running_for));
    }
    let mut open = Vec::new();
    let mut roots = Vec::new();
    let mut regions = outermost_first(scan.regions).into_iter().peekable();
    while let Some((found, depth)) = regions.next() {
        close_to(level(depth), &mut open, &mut roots);
        let running = running.remove(&Some(found.number)).unwrap_or_default();
        let encloses = regions.peek().is_some_and(|(_, next)| *next > depth);
        open.push(Region::of(&found, depth, encloses, running, now, &clocks));
    }
    close_to(0, &mut open, &mut roots);
    // Also the exits of regions that were left between the scan of the regions and that of the exits.
    let mut exits: Vec<_> = running.into_values().flatten().collect();
    exits.sort_by_key(|exit| std::cmp::Reverse(exit.running_for));
    Snapshot { roots, exits }
}

/// Each region with its depth, followed by the regions inside it, oldest first.
fn outermost_first(found: Vec<Found>) -> Vec<(Found, usize)> {
    let indices: HashMap<u64, usize> =
        found.iter().enumerate().map(|(at, region)| (region.number, at)).collect();
    let index = |number: Option<u64>| number.and_then(|number| indices.get(&number));
    let mut roots = Vec::new();
    let mut inside = vec![Vec::new(); found.len()];
    // Youngest first, because the next region is taken from the end.
    for (at, region) in found.iter().enumerate().rev() {
        // A child is shown in its group, even if the group was left.
        match index(region.group).or_else(|| index(region.parent)) {
            Some(parent) => inside[*parent].push(at),
            None => roots.push(at),
        }
    }
    let mut found: Vec<_> = found.into_iter().map(Some).collect();
    let mut next: Vec<(usize, usize)> = roots.into_iter().map(|root| (root, 0)).collect();
    let mut sorted = Vec::with_capacity(found.len());
    while let Some((at, depth)) = next.pop() {
        next.extend(inside[at].iter().map(|child| (*child, depth + 1)));
        sorted.extend(found[at].take().map(|region| (region, depth)));
    }
    sorted
}

/// The level of the tree at which a region of this depth is shown.
fn level(depth: usize) -> usize {
    depth.min(NESTED)
}

/// Moves the open regions at this level and below into their parents.
fn close_to(level: usize, open: &mut Vec<Region>, roots: &mut Vec<Region>) {
    while open.len() > level {
        if let Some(region) = open.pop() {
            open.last_mut().map_or(&mut *roots, |around| &mut around.inside).push(region);
        }
    }
}

impl Snapshot {
    /// The regions that nothing encloses, oldest first.
    pub fn regions(&self) -> &[Region] {
        &self.roots
    }

    /// Exits that run on a spawner given with [`Task::on_abandon`](crate::Task::on_abandon), because no region was
    /// around that could have adopted them. Oldest first. All other exits are in the region that
    /// [runs](Region::running) them.
    pub fn exits(&self) -> &[Exit] {
        &self.exits
    }

    /// Every region, each followed by the regions inside it.
    fn all(&self) -> impl Iterator<Item = &Region> {
        let mut rest = vec![self.roots.iter()];
        std::iter::from_fn(move || {
            loop {
                match rest.last_mut()?.next() {
                    Some(region) => {
                        rest.push(region.inside.iter());
                        return Some(region);
                    }
                    None => drop(rest.pop()),
                }
            }
        })
    }

    /// The regions and exits that have been leaving for longer than `time`, a line each: the path from the root, and
    /// the current wait at its end.
    ///
    /// Of a chain of regions that wait for each other, only the innermost has a line; each exit has one, also if a region that
    /// was entered in it has another. A cancelled region whose body a shield holds is not leaving, because its body goes on: the
    /// tree shows it as cancelled. Of a path of more than 32 regions the middle is left out.
    ///
    /// ```
    /// use moored::testing::hand;
    /// use moored::{ExitStack, inspect, task};
    /// use std::time::Duration;
    ///
    /// let stack = ExitStack::new().named("session");
    /// let mut leaving = hand(task(stack.run(async {
    ///     stack.defer(std::future::pending::<()>());
    ///     Ok::<_, ()>(())
    /// })).named("client"));
    /// leaving.pending();
    /// let hangs = inspect::snapshot().leaving(Duration::ZERO);
    /// assert!(hangs.iter().any(|line| line.starts_with("task `client` > exit stack `session` > exit 1 of 1")));
    /// ```
    pub fn leaving(&self, time: Duration) -> Vec<String> {
        let mut told = Vec::new();
        // The regions on the path, each with the number of lines before it was reached.
        let mut path: Vec<(&Region, usize)> = Vec::new();
        let exits = self.exits.iter().filter(|exit| exit.running_for >= time);
        let close = |path: &mut Vec<(&Region, usize)>, told: &mut Vec<String>| {
            let Some(&(region, before)) = path.last() else { return };
            // If a region or exit inside has a line, this region waits for that, and needs none.
            if told.len() == before && region.leaving && region.waiting_for >= time {
                let waits =
                    format!("waits {:.1} for {}", Lasting(region.waiting_for), region.waits_for);
                told.push(line(path, &waits));
            }
            path.pop();
        };
        for region in self.all() {
            while path.len() > region.depth {
                close(&mut path, &mut told);
            }
            let before = told.len();
            path.push((region, before));
            for exit in region.running.iter().filter(|exit| exit.running_for >= time) {
                told.push(line(&path, exit));
            }
        }
        while !path.is_empty() {
            close(&mut path, &mut told);
        }
        told.extend(exits.map(ToString::to_string));
        told
    }

    /// The forest as JSON: an array of regions. Times are milliseconds. [`json_schema`](Snapshot::json_schema)
    /// describes it.
    pub fn to_json(&self) -> String {
        let mut json = String::from("[");
        let mut open = 0;
        for region in self.all() {
            let level = level(region.depth);
            if open > level {
                json.extend(std::iter::repeat_n("]}", open - level));
                json.push(',');
            }
            open = level + 1;
            let own = region.own_values().to_string();
            // The closing brace comes after the regions inside.
            json.push_str(own.strip_suffix('}').unwrap_or(&own));
            json.push_str(",\"inside\":[");
        }
        json.extend(std::iter::repeat_n("]}", open));
        json.push(']');
        escaped(json)
    }

    /// The JSON schema of [`to_json`](Snapshot::to_json).
    pub fn json_schema() -> &'static str {
        include_str!("snapshot.schema.json")
    }
}

/// JSON in which names have escapes for all characters that [`Shown`](crate::names::Shown) escapes, because JSON itself
/// requires fewer.
pub(super) fn escaped(json: String) -> String {
    if !json.contains(is_escaped) {
        return json;
    }
    let escape = |char: char| match is_escaped(char) {
        true => format!("\\u{:04x}", u32::from(char)),
        false => char.to_string(),
    };
    json.chars().map(escape).collect()
}

/// The names of the regions on a path, then its end.
fn line(path: &[(&Region, usize)], end: &dyn fmt::Display) -> String {
    let left_out = path.len().saturating_sub(NESTED);
    let (outer, rest) = path.split_at(if left_out > 0 { NESTED / 2 } else { path.len() });
    let mut line = names(outer);
    if left_out > 0 {
        line += &format!("({left_out} more) > ");
    }
    line + &names(&rest[left_out..]) + &end.to_string()
}

fn names(regions: &[(&Region, usize)]) -> String {
    regions.iter().map(|(region, _)| region.described() + " > ").collect()
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for region in self.all() {
            let width = level(region.depth) * 2;
            write!(f, "{:width$}", "")?;
            if region.depth >= NESTED {
                write!(f, "(depth {}) ", region.depth)?;
            }
            writeln!(f, "{region}")?;
            let width = width + 2;
            let running = region.running.iter();
            running.take(LINES).try_for_each(|exit| writeln!(f, "{:width$}{exit}", ""))?;
            left_out(f, width, region.running.len())?;
        }
        let exits = self.exits.iter();
        exits.take(LINES).try_for_each(|exit| writeln!(f, "{exit}, on an executor"))?;
        left_out(f, 0, self.exits.len())
    }
}

/// The number of exits that run at once in one place, and have a line each.
const LINES: usize = 10;

fn left_out(f: &mut fmt::Formatter<'_>, width: usize, running: usize) -> fmt::Result {
    match running.saturating_sub(LINES) {
        0 => Ok(()),
        more => writeln!(f, "{:width$}and {more} more exits", ""),
    }
}
