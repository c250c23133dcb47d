//! The report, for people.

pub(crate) mod fold;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod words;

use moored_mcp::CloseReport;

/// What to remember when the rest has scrolled away: how many came up, how many left cleanly, and
/// the servers at fault with what each did. The first line is the one that counts.
fn summary(report: &CloseReport, width: usize) -> Vec<String> {
    let all = report.servers.len();
    let up = report.servers.iter().filter(|s| words::is_up(s)).count();
    let clean = report.servers.iter().filter(|s| s.leave.clean).count();
    let mut lines = vec![format!("{up} of {all} came up, {clean} of {all} left cleanly")];
    for server in &report.servers {
        let faults = words::faults(server);
        if !faults.is_empty() {
            let text = format!("{}: {}", words::plain(&server.name), faults.join("; "));
            lines.extend(fold::fold(&text, "  ", "    ", width));
        }
    }
    lines
}

#[cfg(test)]
pub(crate) mod sample;
