//! The report as a tree, for a terminal.

use console::{Style, style};
use moored_mcp::{CloseReport, ServerReport};

use super::fold::{columns, fold};
use super::words;
use crate::cli::duration::show_ms;

/// Renders the report, no line wider than `width`. Colours are used if the terminal supports them.
pub(crate) fn render(report: &CloseReport, width: usize) -> String {
    let names = report.servers.iter().map(|s| columns(&words::plain(&s.name))).max();
    let head = format!(
        "{} · connected in {} · left in {}",
        words::count(report.servers.len(), "server"),
        show_ms(report.connect_ms),
        show_ms(report.leave_ms)
    );
    let head = fold(&head, "", "  ", width).into_iter();
    let mut lines: Vec<String> = head.map(|line| style(line).bold().to_string()).collect();
    let last = report.servers.len().saturating_sub(1);
    for (at, server) in report.servers.iter().enumerate() {
        let (fork, stem) = if at == last { ("└─", "  ") } else { ("├─", "│ ") };
        let (head, mut twigs) = branch(server, names.unwrap_or(0), width.saturating_sub(3));
        lines.push(format!("{fork} {head}"));
        twigs.extend(details(server));
        let twigs = twigs.into_iter().flat_map(|twig| twig.lines(width.saturating_sub(6)));
        lines.extend(twigs.map(|twig| format!("{stem}    {twig}")));
    }
    lines.push(String::new());
    let well = if report.all_well() { Style::new().green() } else { Style::new().red() };
    for (at, line) in super::summary(report, width).into_iter().enumerate() {
        lines.push(if at == 0 { well.apply_to(line).bold().to_string() } else { line });
    }
    lines.join("\n")
}

/// A text below a branch.
struct Twig {
    depth: usize,
    /// The text before each of its lines.
    lead: &'static str,
    text: String,
    style: Style,
}

impl Twig {
    fn new(text: String, style: Style) -> Self {
        Self { depth: 0, lead: "", text, style }
    }

    fn lines(self, width: usize) -> impl Iterator<Item = String> {
        let indent = "  ".repeat(self.depth);
        let taken = indent.len() + columns(self.lead);
        let lead = Style::new().dim().apply_to(self.lead).to_string();
        fold(&self.text, "", "", width.saturating_sub(taken))
            .into_iter()
            .map(move |line| format!("{indent}{lead}{}", self.style.apply_to(line)))
    }
}

/// A server's own line, and the facts that do not fit on it.
fn branch(server: &ServerReport, names: usize, width: usize) -> (String, Vec<Twig>) {
    let name = words::plain(&server.name);
    let how = format!(
        "{:5} {:10}",
        words::transport(server.transport),
        server.era.as_deref().map_or("-".to_owned(), words::plain)
    );
    let after = server.connect_ms.map(|ms| format!(" after {}", show_ms(ms))).unwrap_or_default();
    let outcome = format!("{}{after}", words::outcome(server.outcome));
    let (mark, mut colour) = if !words::is_up(server) {
        (style("✘").red(), Style::new().red())
    } else if server.leave.clean && server.warnings.is_empty() {
        (style("✔").green(), Style::new().green())
    } else {
        (style("!").yellow(), Style::new().green())
    };
    let mut below = Vec::new();
    let mut offers = String::new();
    if words::was_up(server) {
        offers = format!(", {}", words::offers(server.tools, server.prompts, server.resources));
    }
    // The mark, and a space after each of the first three columns.
    let taken = 4 + names.max(columns(&name)) + columns(&how) + columns(&outcome);
    if taken > width {
        let mut name = fold(&name, "", "", width.saturating_sub(3)).into_iter();
        let head = format!("{mark} {}", style(name.next().unwrap_or_default()).bold());
        below.extend(name.map(|rest| Twig::new(rest, Style::new().bold())));
        let rest =
            format!("{} {outcome}{offers}", how.split_whitespace().collect::<Vec<_>>().join(" "));
        below.push(Twig::new(rest, colour));
        return (head, below);
    }
    if taken + columns(&offers) > width {
        below.push(Twig::new(offers.split_off(2), Style::new()));
        offers.clear();
    }
    colour = colour.clone();
    let padding = " ".repeat(names.saturating_sub(columns(&name)));
    let head = format!(
        "{mark} {}{padding} {} {}{offers}",
        style(name).bold(),
        style(how).dim(),
        colour.apply_to(outcome)
    );
    (head, below)
}

/// The reason of its failure, its warnings, and how it was left.
fn details(server: &ServerReport) -> Vec<Twig> {
    let plain = Style::new;
    let mut twigs = Vec::new();
    twigs.extend(words::started(server).map(|text| Twig::new(text, plain())));
    if let Some(error) = &server.error {
        let innermost = error.chain.len().saturating_sub(1);
        for (depth, text) in error.chain.iter().enumerate() {
            // The innermost cause is the true one, so it is emphasised.
            let style = if depth == innermost { plain().red().bold() } else { plain().dim() };
            twigs.push(Twig {
                depth: depth.min(words::DEEPEST),
                ..Twig::new(words::plain(text), style)
            });
        }
        let said = words::tail(error).into_iter();
        twigs.extend(said.map(|line| Twig { lead: "stderr │ ", ..Twig::new(line, plain()) }));
    }
    let odd = words::warnings(&server.warnings).into_iter();
    twigs.extend(odd.map(|text| Twig { lead: "! ", ..Twig::new(text, plain().yellow()) }));
    if words::was_up(server) || !words::nothing_to_leave(&server.leave) {
        let left = words::left(server.transport, &server.leave);
        let left = format!("left in {}: {left}", show_ms(server.leave.ms));
        twigs.push(Twig::new(left, if server.leave.clean { plain() } else { plain().yellow() }));
    }
    let remarks = words::remarks(&server.leave).into_iter();
    twigs.extend(remarks.map(|text| Twig::new(text, plain().yellow())));
    twigs
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_server_is_a_branch_with_its_cause_and_its_leave() {
        console::set_colors_enabled(false);
        let text = render(&sample::report(), 80);
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
│     stderr │ Error: it began here
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

    #[test]
    fn no_line_is_wider_than_it_may_be() {
        console::set_colors_enabled(false);
        for width in [40, 60, 80] {
            let text = render(&sample::wide(), width);
            let widest = text.lines().map(columns).max();
            assert!(widest <= Some(width), "{width}: {widest:?}\n{text}");
        }
    }
}
