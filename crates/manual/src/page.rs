//! One man page (man-pages(7)) a command.
//!
//! What `--help` shows behind the options becomes sections: the paragraph `Examples:`, the paragraph
//! `Exit status:`, and notes.

use std::fmt::Write as _;

use clap::Command;
use clap_mangen::Man;

/// Every page of a program: its own and those of its commands, by name.
pub(crate) fn all(program: &Command, section: &str) -> Vec<(String, String)> {
    let name = program.get_name().to_owned();
    let mut pages = vec![(name.clone(), program.clone().subcommands(NONE))];
    let commands = program.get_subcommands();
    pages.extend(commands.map(|command| {
        let page = format!("{name}-{}", command.get_name());
        (page.clone(), command.clone())
    }));
    let names: Vec<String> = pages.iter().map(|(name, _)| name.clone()).collect();
    pages
        .into_iter()
        .map(|(page, command)| {
            let others = names.iter().filter(|other| **other != page);
            let others: Vec<String> = others.map(|other| format!("{other}({section})")).collect();
            let text = render(command, &page, section, &others);
            (page, text)
        })
        .collect()
}

const NONE: [Command; 0] = [];

/// The paragraphs behind the options.
pub(crate) struct Behind {
    pub(crate) examples: Option<String>,
    pub(crate) exit_status: Option<String>,
    notes: Vec<String>,
}

impl Behind {
    pub(crate) fn of(command: &Command) -> Self {
        let text = command.get_after_long_help().or(command.get_after_help());
        let text = text.map(ToString::to_string).unwrap_or_default();
        let mut behind = Self {
            examples: None,
            exit_status: None,
            notes: Vec::new(),
        };
        for paragraph in text.split("\n\n") {
            if let Some(examples) = paragraph.strip_prefix("Examples:\n") {
                behind.examples = Some(examples.to_owned());
            } else if let Some(status) = paragraph.strip_prefix("Exit status:") {
                behind.exit_status = Some(status.trim_start().to_owned());
            } else if !paragraph.is_empty() {
                behind.notes.push(paragraph.to_owned());
            }
        }
        behind
    }
}

fn render(command: Command, page: &str, section: &str, others: &[String]) -> String {
    let behind = Behind::of(&command);
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:");
    let usage: Vec<&str> = usage.lines().map(str::trim).collect();
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.name(page.to_owned()).version(version));
    // Without a date: the version says more, and the page is the same whenever it is made.
    let mut text = format!(".TH {page} {section} \"\" \"proxify {version}\" proxify\n");
    let mut bytes = Vec::new();
    // Writing to memory cannot fail.
    let _ = man.render_name_section(&mut bytes);
    text.push_str(&String::from_utf8_lossy(&bytes));
    as_it_stands(&mut text, "SYNOPSIS", &usage.join("\n"));
    bytes.clear();
    let _ = man.render_description_section(&mut bytes);
    let _ = man.render_options_section(&mut bytes);
    text.push_str(&String::from_utf8_lossy(&bytes));
    if let Some(status) = &behind.exit_status {
        prose(&mut text, "EXIT STATUS", std::slice::from_ref(status));
    }
    if !behind.notes.is_empty() {
        prose(&mut text, "NOTES", &behind.notes);
    }
    if let Some(examples) = &behind.examples {
        as_it_stands(&mut text, "EXAMPLES", examples);
    }
    if !others.is_empty() {
        prose(&mut text, "SEE ALSO", &[others.join(", ")]);
    }
    text
}

/// A section whose lines are kept.
fn as_it_stands(text: &mut String, title: &str, body: &str) {
    let _ = writeln!(text, ".SH {title}\n.nf");
    for line in body.trim_matches('\n').lines() {
        let line = line.strip_prefix("  ").unwrap_or(line);
        let _ = writeln!(text, "{}", escaped(line));
    }
    let _ = writeln!(text, ".fi");
}

fn prose(text: &mut String, title: &str, paragraphs: &[String]) {
    let _ = writeln!(text, ".SH {title}");
    for (at, paragraph) in paragraphs.iter().enumerate() {
        if at > 0 {
            let _ = writeln!(text, ".PP");
        }
        for line in paragraph.lines() {
            let _ = writeln!(text, "{}", escaped(line.trim_start()));
        }
    }
}

/// roff(7): a backslash escapes, a dot or quote at the start of a line is a request, a bare hyphen may
/// become another character.
fn escaped(line: &str) -> String {
    let line = line.replace('\\', "\\e").replace('-', "\\-");
    match line.starts_with(['.', '\'']) {
        true => format!("\\&{line}"),
        false => line,
    }
}
