//! What every command tells.

use clap::Command;

use crate::page::{self, Behind};
use crate::programs;

fn each(mut check: impl FnMut(&str, &Command)) {
    for (program, _) in programs() {
        check(program.get_name(), &program);
        for command in program.get_subcommands() {
            check(
                &format!("{} {}", program.get_name(), command.get_name()),
                command,
            );
        }
    }
}

#[test]
fn every_command_has_two_examples_and_says_how_it_ends() {
    each(|name, command| {
        let behind = Behind::of(command);
        let examples = behind.examples.unwrap_or_default();
        let program = name.split(' ').next().unwrap_or_default();
        let examples = examples
            .lines()
            .filter(|line| line.trim_start().contains(program) && line.starts_with("  "))
            .filter(|line| !line.starts_with("    "))
            .count();
        assert!(examples >= 2, "{name}: {examples} examples");
        let status = behind.exit_status.unwrap_or_default();
        assert!(status.contains("64 on bad usage"), "{name}: {status}");
    });
}

#[test]
fn every_option_has_a_line_of_its_own_on_its_page() {
    for (program, section) in programs() {
        let pages = page::all(&program, section);
        assert_eq!(pages.len(), 1 + program.get_subcommands().count());
        for (name, text) in pages {
            assert!(text.contains(".SH EXAMPLES"), "{name}");
            assert!(
                text.contains(".SH \"EXIT STATUS\"") || text.contains(".SH EXIT STATUS"),
                "{name}"
            );
            let own = name.strip_prefix(&format!("{}-", program.get_name()));
            let command = own.map_or(Some(&program), |own| program.find_subcommand(own));
            let command = command.expect("each page is a command's");
            for long in command.get_arguments().filter_map(clap::Arg::get_long) {
                let option = format!("\\-\\-{}", long.replace('-', "\\-"));
                assert!(text.contains(&option), "{name}: {option}\n{text}");
            }
        }
    }
}
