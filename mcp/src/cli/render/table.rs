//! The report as a table, for a pipe or a file: one row a server, the causes below it.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use moored_mcp::{CloseReport, ServerReport};

use super::words;
use crate::cli::duration::show_ms;

/// Renders the report.
pub(crate) fn render(report: &CloseReport) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        // A file has no width, and a row that is cut in two is hard to search.
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header([
            "server",
            "transport",
            "era",
            "outcome",
            "after",
            "offers",
            "left in",
            "how it left",
            "clean",
        ])
        .add_rows(report.servers.iter().map(row));
    for column in [4, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.style_mut().row_separator = comfy_table::LineStyle::none();

    let mut text = format!("{}\n", table.trim_fmt());
    for server in &report.servers {
        for line in details(server) {
            text.push_str(&line);
            text.push('\n');
        }
    }
    text.push_str(&format!(
        "connected in {}, left in {}\n",
        show_ms(report.connect_ms),
        show_ms(report.leave_ms)
    ));
    text.push_str(&super::summary(report).join("\n"));
    text
}

fn row(server: &ServerReport) -> [String; 9] {
    let up = words::was_up(server);
    let nothing = !up && words::nothing_to_leave(&server.leave);
    let mut outcome = words::outcome(server.outcome).to_owned();
    if !server.warnings.is_empty() {
        outcome.push_str(&format!(", {}", words::count(server.warnings.len(), "warning")));
    }
    let dash = || "-".to_owned();
    [
        words::plain(&server.name),
        words::transport(server.transport).to_owned(),
        server.era.as_deref().map_or_else(dash, words::plain),
        outcome,
        server.connect_ms.map_or_else(dash, show_ms),
        if up { words::offers(server.tools, server.prompts, server.resources) } else { dash() },
        if nothing { dash() } else { show_ms(server.leave.ms) },
        if nothing { dash() } else { words::left(server.transport, &server.leave) },
        if server.leave.clean { "yes" } else { "NO" }.to_owned(),
    ]
}

/// The whole chain of a failure, the last lines of the child, and the warnings.
fn details(server: &ServerReport) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &server.error {
        let chain = error.chain.iter().enumerate();
        lines.extend(
            chain.map(|(depth, text)| format!("{}{}", "  ".repeat(depth), words::plain(text))),
        );
        lines.extend(words::tail(error).into_iter().map(|line| format!("stderr | {line}")));
    }
    lines.extend(words::warnings(&server.warnings).into_iter().map(|it| format!("warning: {it}")));
    if lines.is_empty() {
        return lines;
    }
    let name = format!("{}:", words::plain(&server.name));
    std::iter::once(name).chain(lines.into_iter().map(|line| format!("  {line}"))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_server_has_a_row_and_every_failure_its_chain() {
        let text = render(&sample::report());
        let row = |name: &str| {
            text.lines()
                .find(|line| line.trim_start().starts_with(name))
                .unwrap_or_else(|| panic!("no row {name}:\n{text}"))
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            row("web "),
            "web http 2025-11-25 up 12 ms 3 tools, 1 prompt, 1 resource 2 ms DELETE ended the session yes"
        );
        assert_eq!(row("gone "), "gone http - unreachable 1 ms - - - yes");
        assert_eq!(
            row("mule "),
            "mule stdio 2026-07-28 up 12 ms 3 tools, 1 prompt, 1 resource 4.0 s SIGTERM, SIGKILL, ended by SIGKILL NO"
        );
        assert!(text.contains(
            "gone:\n  cannot reach http://127.0.0.1:9/mcp\n    tcp connect error\n      Connection refused (os error 111)\n"
        ), "{text}");
        assert!(row("odd ").contains(" up, 1 warning 12 ms "), "{text}");
        assert!(text.contains("odd:\n  warning: tools/list: tools[1] \"x\" cannot"), "{text}");
        assert!(text.contains("  stderr | no \u{fffd}[31mlicence\n"), "{text}");
        assert!(
            text.ends_with(
                "5 of 7 came up, 5 of 7 left cleanly\n  \
             gone: unreachable: Connection refused (os error 111)\n  \
             crash: exited: the server is gone (exit status 7)\n  \
             slow: its DELETE was not answered in time\n  \
             mule: it had to be killed"
            ),
            "{text}"
        );
    }

    #[test]
    fn nothing_in_it_can_move_a_cursor() {
        let text = render(&sample::report());
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
}
