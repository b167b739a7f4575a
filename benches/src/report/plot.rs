use std::fmt::Write as _;

use super::figure;
use crate::servers::Program;
use crate::table::Row;

/// Pixels: the whole width, the column of names, a bar's height with the gap below it, a panel's title,
/// and room for the figure behind a bar.
const WIDTH: f64 = 720.0;
const NAMES: f64 = 150.0;
const BAR: f64 = 22.0;
const TITLE: f64 = 40.0;
const FIGURE: f64 = 80.0;

/// Panels: what most ask about comes first in the table, and more is for who reads that.
const PANELS: usize = 4;

/// Horizontal bars, one panel for each of the first rows that compare the other caches.
pub(super) fn render(rows: &[Row]) -> String {
    let mut body = String::new();
    let mut y = 0.0;
    let compared = rows.iter().filter(|row| row.best_peer(false).is_some());
    for row in compared.take(PANELS) {
        let most = row.values.iter().map(|(_, value)| *value);
        let most = most.fold(f64::MIN_POSITIVE, f64::max);
        let _ = writeln!(
            body,
            r#"<text x="10" y="{:.0}" class="title">{}, {}</text>"#,
            y + TITLE - 14.0,
            row.what,
            row.unit
        );
        y += TITLE;
        for (server, value) in &row.values {
            let class = if *server == Program::Proxify.name() {
                "own"
            } else if *server == Program::Floor.name() {
                "floor"
            } else {
                "peer"
            };
            let length = (WIDTH - NAMES - FIGURE) * value / most;
            let text_y = y + BAR - 8.0;
            let _ = writeln!(
                body,
                r#"<text x="{:.0}" y="{text_y:.0}" text-anchor="end">{server}</text><rect x="{NAMES}" y="{y:.0}" width="{length:.1}" height="{:.0}" class="{class}"/><text x="{:.1}" y="{text_y:.0}">{}</text>"#,
                NAMES - 8.0,
                BAR - 5.0,
                NAMES + length + 6.0,
                figure(*value),
            );
            y += BAR;
        }
    }
    let height = y + 10.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}">
<style>text{{font:13px sans-serif;fill:#222}}.title{{font-weight:bold}}.own{{fill:#d95f02}}.floor{{fill:#bbb}}.peer{{fill:#7a8fb5}}</style>
<rect width="100%" height="100%" fill="#fff"/>
{body}</svg>
"##
    )
}
