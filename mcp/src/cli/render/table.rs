//! The report as a table, for a pipe or a file: one row for each server; further facts stand
//! below it.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, Width, presets};
use moored_mcp::{CloseReport, ServerReport};

use super::fold::{columns, fold};
use super::words;
use crate::cli::duration::show_ms;

/// Renders the report, no line wider than `width`. The facts that do not fit into a row stand below the table.
pub(crate) fn render(report: &CloseReport, width: usize) -> String {
    let fits =
        |layout: &&&[Column]| table(report, layout).lines().all(|line| columns(&line) <= width);
    let layout = *LAYOUTS.iter().find(fits).unwrap_or(&NARROWEST);
    let mut table = table(report, layout);
    // If even the narrowest layout does not fit, names are cut in two.
    let constraint = |column: &Column| match column {
        Column::Server => ColumnConstraint::UpperBoundary(Width::Percentage(100)),
        _ => ColumnConstraint::ContentWidth,
    };
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width.try_into().unwrap_or(u16::MAX))
        .set_constraints(layout.iter().map(constraint));
    let mut lines: Vec<String> = table.trim_fmt().lines().map(str::to_owned).collect();
    for server in &report.servers {
        lines.extend(details(server, layout, width));
    }
    lines.push(format!(
        "connected in {}, left in {}",
        show_ms(report.connect_ms),
        show_ms(report.leave_ms)
    ));
    lines.extend(super::summary(report, width));
    lines.join("\n")
}

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    Server,
    Transport,
    Era,
    Outcome,
    After,
    Offers,
    LeftIn,
    How,
    Clean,
}

/// From the widest to the narrowest.
const LAYOUTS: [&[Column]; 3] = {
    use Column::{After, Clean, Era, How, LeftIn, Offers, Outcome, Server, Transport};
    [
        &[Server, Transport, Era, Outcome, After, Offers, LeftIn, How, Clean],
        &[Server, Transport, Era, Outcome, After, LeftIn, Clean],
        NARROWEST,
    ]
};
const NARROWEST: &[Column] = &[Column::Server, Column::Outcome, Column::Clean];
/// The columns that a narrow table leaves out, in the order in which they are printed below.
const LEFT_OUT: [Column; 6] = {
    use Column::{After, Era, How, LeftIn, Offers, Transport};
    [Transport, Era, After, Offers, LeftIn, How]
};

impl Column {
    fn title(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Transport => "via",
            Self::Era => "era",
            Self::Outcome => "outcome",
            Self::After => "after",
            Self::Offers => "offers",
            Self::LeftIn => "left in",
            Self::How => "how it left",
            Self::Clean => "clean",
        }
    }

    /// The cell of a server in this column.
    fn cell(self, server: &ServerReport) -> Option<String> {
        let was_up = words::was_up(server);
        let was_left = was_up || !words::nothing_to_leave(&server.leave);
        match self {
            Self::Server => Some(words::plain(&server.name)),
            Self::Transport => Some(words::transport(server.transport).to_owned()),
            Self::Era => server.era.as_deref().map(words::plain),
            Self::Outcome => {
                let mark = if server.warnings.is_empty() { "" } else { " (!)" };
                Some(format!("{}{mark}", words::outcome(server.outcome)))
            }
            Self::After => server.connect_ms.map(show_ms),
            Self::Offers => {
                was_up.then(|| words::offers(server.tools, server.prompts, server.resources))
            }
            Self::LeftIn => was_left.then(|| show_ms(server.leave.ms)),
            Self::How => was_left.then(|| words::left(server.transport, &server.leave)),
            Self::Clean => Some(if server.leave.clean { "yes" } else { "NO" }.to_owned()),
        }
    }

    /// The same, outside the table.
    fn fact(self, server: &ServerReport) -> Option<String> {
        let cell = self.cell(server)?;
        Some(match self {
            Self::After => format!("after {cell}"),
            Self::LeftIn => format!("left in {cell}"),
            _ => cell,
        })
    }
}

/// A table as wide as its contents.
fn table(report: &CloseReport, layout: &[Column]) -> Table {
    let row = |server| layout.iter().map(move |it| it.cell(server).unwrap_or_else(|| "-".into()));
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        // A row that is cut in two is hard to search.
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(layout.iter().map(|column| column.title()))
        .add_rows(report.servers.iter().map(row));
    for (column, rendered) in layout.iter().zip(table.column_iter_mut()) {
        rendered.set_padding((u16::from(*column == Column::Server), 1));
        if let Column::After | Column::LeftIn = column {
            rendered.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.style_mut().row_separator = comfy_table::LineStyle::none();
    table
}

/// The facts that the row of a server does not show: the columns that the layout leaves out, the whole chain of its
/// failure, the last lines of the child, the warnings.
fn details(server: &ServerReport, layout: &[Column], width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut say = |lead: &str, text: &str| {
        let next = " ".repeat(columns(lead) + 2);
        lines.extend(fold(text, lead, &next, width));
    };
    let left_out = LEFT_OUT.iter().filter(|column| !layout.contains(column));
    let facts = left_out.filter_map(|column| column.fact(server));
    let facts: Vec<String> = facts.chain(words::started(server)).collect();
    if server.error.is_some() || !server.warnings.is_empty() || !facts.is_empty() {
        let text = format!("{}: {}", words::plain(&server.name), facts.join("; "));
        say("", text.trim_end());
    }
    if let Some(error) = &server.error {
        for (depth, text) in error.chain.iter().enumerate() {
            say(&"  ".repeat(depth.min(words::DEEPEST) + 1), &words::plain(text));
        }
        words::tail(error).iter().for_each(|line| say("  stderr | ", line));
    }
    words::warnings(&server.warnings).iter().for_each(|text| say("  (!) ", text));
    lines
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn every_server_has_a_row_and_every_failure_its_chain() {
        let text = render(&sample::report(), 160);
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
        assert!(row("odd ").contains(" up (!) 12 ms "), "{text}");
        assert!(text.contains("odd:\n  (!) tools/list: tools[1] \"x\" cannot"), "{text}");
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
        let text = render(&sample::report(), 160);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    }
    #[test]
    fn no_line_is_wider_than_it_may_be_and_nothing_is_lost() {
        for width in [40, 60, 80, 132] {
            let text = render(&sample::wide(), width);
            let widest = text.lines().map(columns).max();
            assert!(widest <= Some(width), "{width}: {widest:?}\n{text}");
            for fact in ["3 tools", "SIGKILL", "DELETE not", "cause 29"] {
                assert!(text.contains(fact), "{width}: {fact}\n{text}");
            }
        }
    }

    #[test]
    fn in_eighty_columns_no_row_is_cut_in_two() {
        let text = render(&sample::report(), 80);
        let row = text.lines().find(|line| line.trim_start().starts_with("mule ")).expect("a row");
        let row = row.split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(row, "mule stdio 2026-07-28 up 12 ms 4.0 s NO");
        assert!(
            text.contains(
                "\nmule: 3 tools, 1 prompt, 1 resource; SIGTERM, SIGKILL, ended by SIGKILL\n"
            ),
            "{text}"
        );
    }
}
