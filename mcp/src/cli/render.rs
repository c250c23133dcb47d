//! The report, for people.

pub(crate) mod fold;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod words;

use moored_mcp::CloseReport;

/// The summary at the end: the number of servers that came up, the number that left cleanly, and
/// the servers at fault with their faults. The first line is the most important one.
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
