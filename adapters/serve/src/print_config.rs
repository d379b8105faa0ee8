//! All options and settings as a configuration file: what `--print-config` prints.

use crate::args::wrap;
use crate::config_file::{NOT_IN_FILES, is_ruled_out};
use clap::builder::StyledStr;
use clap::{Arg, ArgAction, ArgMatches, Command};
use portcullis::Config;
use std::fmt::Write;
use toml::Value;

/// What a line of a comment begins with.
const COMMENT: &str = "# ";

/// A file for `--config` that stands for these arguments and this configuration.
pub(crate) fn text(command: &Command, given: &ArgMatches, config: &Config) -> String {
    let mut text = String::from("# Options. A line with # in front has no value.\n");
    for option in command.get_arguments() {
        if !NOT_IN_FILES.contains(&option.get_id().as_str()) {
            write_option(&mut text, option, is_ruled_out(option, command, given), given);
        }
    }
    text.push_str(
        "\n# Settings. A time needs a unit (250ms, 5s, 1m); a size may have one (4096, 64KiB).\n",
    );
    let usual = Config::default();
    for setting in Config::settings() {
        text.push('\n');
        let (about, default) = (setting.about, setting.value(&usual));
        let paragraph = format!("{about} Default: {default}, from {}.", setting.source);
        wrap(&mut text, COMMENT, &paragraph);
        // Writing to a string never fails.
        let _ = writeln!(text, "{} = {}", setting.name, value(&setting.value(config)));
    }
    text
}

fn write_option(text: &mut String, option: &Arg, is_ruled_out: bool, given: &ArgMatches) {
    let name = option.get_id().as_str();
    let help = option.get_help().map(StyledStr::to_string).unwrap_or_default();
    text.push('\n');
    wrap(text, COMMENT, &help);
    let is_flag = !option.get_action().takes_values();
    if is_flag {
        let is_on = given.try_get_one::<bool>(name).ok().flatten().copied().unwrap_or_default();
        let _ = writeln!(text, "{name} = {is_on}");
        return;
    }
    let values: Vec<String> = match given.try_get_raw(name) {
        Ok(Some(values)) if !is_ruled_out => {
            values.map(|it| value(&it.to_string_lossy())).collect()
        }
        _ => Vec::new(),
    };
    let is_list = matches!(option.get_action(), ArgAction::Append);
    let _ = match &values[..] {
        [] => writeln!(text, "# {name} ="),
        values if is_list => writeln!(text, "{name} = [{}]", values.join(", ")),
        values => writeln!(text, "{name} = {}", values.join(", ")),
    };
}

/// A value in TOML: numbers and booleans as such, anything else as a text.
fn value(text: &str) -> String {
    match (text.parse::<i64>(), text) {
        (Ok(_), _) | (_, "true" | "false") => text.to_owned(),
        _ => Value::String(text.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use crate::args::{Args, Read};
    use portcullis::Config;
    use std::ffi::OsString;
    use std::fs;

    fn parse(args: &[&str]) -> Result<Read, clap::Error> {
        let given = ["portcullis"].iter().chain(args).map(OsString::from);
        Args::from_command_line(given.collect())
    }

    #[test]
    fn what_is_printed_is_read_back() {
        for args in [
            &[][..],
            &[
                "--strict",
                "--set",
                "keep_alive_timeout=9s",
                "--listen",
                "127.0.0.1:0",
                "--root",
                "/srv \"1\"",
            ],
            &[
                "--profile",
                "proxied",
                "--listen",
                "unix:/run/a",
                "--listen",
                ":0",
                "--threads",
                "2",
            ],
        ] {
            let expected = parse(args).expect("valid");
            let printed = expected.printed();
            let file = tempfile::NamedTempFile::new().expect("a file");
            fs::write(file.path(), &printed).expect("it is written");
            let path = file.path().to_str().expect("UTF-8");
            let read = parse(&["--config", path]).unwrap_or_else(|error| {
                panic!("{error}: {printed}");
            });
            assert!(read.config == expected.config, "{printed}");
            let (read, expected) = (read.args, expected.args);
            assert_eq!((&read.root, read.threads), (&expected.root, expected.threads));
            let texts =
                |args: &Args| args.listen.iter().map(ToString::to_string).collect::<Vec<_>>();
            assert_eq!(texts(&read), texts(&expected));
        }
    }

    #[test]
    fn every_setting_has_its_value_default_meaning_and_source() {
        let printed = parse(&["--strict"]).expect("valid").printed();
        for setting in Config::settings() {
            let lines = printed.lines();
            let name = format!("{} = ", setting.name);
            assert_eq!(lines.filter(|line| line.starts_with(&name)).count(), 1, "{name}");
        }
        let flat = printed.replace("\n# ", " ");
        assert!(flat.contains("Default: 16KiB, from"), "{printed}");
        assert!(printed.contains("\nrequest_head_limit = \"8KiB\"\n"), "{printed}");
        assert!(printed.lines().all(|line| line.chars().count() <= 120), "{printed}");
    }
}
