use std::fmt::Write as _;

use super::{Machine, figure, limit, unit};
use crate::table::Row;

/// One table of figures with the servers as columns, one of goals, and where all that was measured.
pub(super) fn render(machine: &Machine, rows: &[Row]) -> String {
    let mut text = String::from("# Measured side by side\n\n");
    for (what, value) in &machine.lines {
        let _ = writeln!(text, "- {what}: {value}");
    }
    text += "\n| what | unit | figures |\n| --- | --- | --- |\n";
    for row in rows {
        let values: Vec<String> = row
            .values
            .iter()
            .map(|(server, value)| match *server {
                "proxify" => format!("**{server} {}**", figure(*value)),
                _ => format!("{server} {}", figure(*value)),
            })
            .collect();
        let _ = writeln!(
            text,
            "| {} | {} | {} |",
            row.what,
            row.unit,
            values.join(", ")
        );
    }
    text += "\n| goal | compared | got | should be | |\n| --- | --- | --- | --- | --- |\n";
    for row in rows {
        for goal in &row.goals {
            let _ = writeln!(
                text,
                "| {} | {} | {}{} | {} | {} |",
                row.what,
                goal.what,
                figure(goal.got),
                unit(goal.unit),
                limit(goal.limit),
                if goal.is_met() { "met" } else { "**missed**" },
            );
        }
    }
    text
}
