//! The report as a tree, for a terminal.

use console::{Style, style};
use moored_mcp::{CloseReport, ServerReport};

use super::words;
use crate::cli::duration::show_ms;

/// Renders the report. Colours are used where the terminal wants them.
pub(crate) fn render(report: &CloseReport) -> String {
    let width = report.servers.iter().map(|s| words::plain(&s.name).chars().count()).max();
    let mut lines = vec![format!(
        "{} {}",
        style(words::count(report.servers.len(), "server")).bold(),
        style(format!(
            "· connected in {} · left in {}",
            show_ms(report.connect_ms),
            show_ms(report.leave_ms)
        ))
        .dim()
    )];
    let last = report.servers.len().saturating_sub(1);
    for (at, server) in report.servers.iter().enumerate() {
        branch(&mut lines, server, at == last, width.unwrap_or(0));
    }
    lines.push(String::new());
    let well = if report.all_well() { Style::new().green() } else { Style::new().red() };
    for (at, line) in super::summary(report).into_iter().enumerate() {
        lines.push(if at == 0 { well.apply_to(line).bold().to_string() } else { line });
    }
    lines.join("\n")
}

fn branch(lines: &mut Vec<String>, server: &ServerReport, last: bool, width: usize) {
    let (fork, stem) = if last { ("└─", "  ") } else { ("├─", "│ ") };
    let name = format!("{:width$}", words::plain(&server.name));
    let how = format!(
        "{:5} {:10}",
        words::transport(server.transport),
        server.era.as_deref().map_or("-".to_owned(), words::plain)
    );
    let after = server.connect_ms.map(|ms| format!(" after {}", show_ms(ms))).unwrap_or_default();
    let outcome = format!("{}{after}", words::outcome(server.outcome));
    let (mark, outcome) = if !words::is_up(server) {
        (style("✘").red(), style(outcome).red())
    } else if server.leave.clean && server.warnings.is_empty() {
        (style("✔").green(), style(outcome).green())
    } else {
        (style("!").yellow(), style(outcome).green())
    };
    let offers = if words::was_up(server) {
        format!(", {}", words::offers(server.tools, server.prompts, server.resources))
    } else {
        String::new()
    };
    lines.push(format!(
        "{fork} {mark} {} {} {outcome}{offers}",
        style(name).bold(),
        style(how).dim()
    ));

    let mut twigs = Vec::new();
    if let Some(error) = &server.error {
        let depth = error.chain.len().saturating_sub(1);
        for (at, text) in error.chain.iter().enumerate() {
            // The innermost is the true cause: that one has to be seen.
            let text = style(words::plain(text));
            let text = if at == depth { text.red().bold() } else { text.dim() };
            twigs.push(format!("{}{text}", "  ".repeat(at)));
        }
        twigs.extend(
            words::tail(error)
                .into_iter()
                .map(|line| format!("{} {line}", style("stderr │").dim())),
        );
    }
    twigs.extend(
        words::warnings(&server.warnings)
            .into_iter()
            .map(|text| format!("{} {text}", style("!").yellow())),
    );
    if words::was_up(server) || !words::nothing_to_leave(&server.leave) {
        let left = words::left(server.transport, &server.leave);
        let left = format!("left in {}: {left}", show_ms(server.leave.ms));
        twigs.push(if server.leave.clean { left } else { style(left).yellow().to_string() });
    }
    twigs.extend(
        words::remarks(&server.leave).into_iter().map(|text| style(text).yellow().to_string()),
    );
    lines.extend(twigs.into_iter().map(|twig| format!("{stem}    {twig}")));
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_server_is_a_branch_with_its_cause_and_its_leave() {
        console::set_colors_enabled(false);
        let text = render(&sample::report());
        let expected = "\
7 servers · connected in 14 ms · left in 5.0 s
├─ ✔ web   http  2025-11-25 up after 12 ms, 3 tools, 1 prompt, 1 resource
│     left in 2 ms: DELETE ended the session
├─ ✔ files stdio 2026-07-28 up after 12 ms, 3 tools, 1 prompt, 1 resource
│     left in 9 ms: exit status 0
├─ ! odd   http  2025-11-25 up after 12 ms, 3 tools, 1 prompt, 1 resource
│     ! tools/list: tools[1] \"x\" cannot be read: \u{fffd}[2J
│     left in 2 ms: DELETE not supported
├─ ✘ gone  http  -          unreachable after 1 ms
│     cannot reach http://127.0.0.1:9/mcp
│       tcp connect error
│         Connection refused (os error 111)
├─ ✘ crash stdio -          exited after 1 ms
│     the server is gone
│     stderr │ first line
│     stderr │ no \u{fffd}[31mlicence
│     left in 0 ms: exit status 7
├─ ! slow  http  2025-11-25 up after 12 ms, 3 tools, 1 prompt, 1 resource
│     left in 5.0 s: DELETE not answered
└─ ! mule  stdio 2026-07-28 up after 12 ms, 3 tools, 1 prompt, 1 resource
      left in 4.0 s: SIGTERM, SIGKILL, ended by SIGKILL

5 of 7 came up, 5 of 7 left cleanly
  gone: unreachable: Connection refused (os error 111)
  crash: exited: the server is gone (exit status 7)
  slow: its DELETE was not answered in time
  mule: it had to be killed";
        assert_eq!(text, expected, "\n{text}\n");
    }
}
