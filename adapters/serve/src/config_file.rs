//! A configuration file: options of the command line and settings, in TOML, under the same names.
//!
//! In: the file, and what the command line gives. Out: more arguments for the command line. So values of both
//! are checked in one place, and the command line wins.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Command};
use portcullis::{Config, ConfigError};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};

/// Options that mean something on the command line only.
pub(crate) const NOT_IN_FILES: [&str; 5] = ["config", "print_config", "set", "help", "version"];
/// How alike two names have to be, from 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.8;

/// Why a configuration file can't be used.
#[derive(Debug)]
pub(crate) struct FileError {
    path: PathBuf,
    /// The line, counted from 1, if the error is in one.
    line: Option<usize>,
    problem: Box<Problem>,
}

#[derive(Debug)]
enum Problem {
    Unreadable(io::Error),
    NoToml(String),
    UnknownName {
        name: String,
        meant: Option<String>,
    },
    /// It makes sense on the command line only.
    NotHere {
        name: String,
    },
    /// The value is of a kind that stands for nothing here.
    WrongKind {
        name: String,
        expected: &'static str,
    },
    BadSetting(ConfigError),
}

/// The arguments that the file adds to the command line. Those that `given` has, or contradicts, are left out.
pub(crate) fn arguments(
    path: &Path,
    command: &Command,
    given: &ArgMatches,
) -> Result<Vec<OsString>, FileError> {
    let fail =
        |line, problem| FileError { path: path.to_owned(), line, problem: Box::new(problem) };
    let text = fs::read_to_string(path).map_err(|error| fail(None, Problem::Unreadable(error)))?;
    let line_of = |span: Range<usize>| Some(line_at(&text, span.start));
    let table = DeTable::parse(&text).map_err(|error| {
        let line = error.span().and_then(line_of);
        fail(line, Problem::NoToml(error.message().to_owned()))
    })?;
    let mut arguments = Vec::new();
    for (key, value) in table.into_inner() {
        let line = line_of(key.span());
        let added = argument(key.get_ref(), value.get_ref(), command, given);
        arguments.extend(added.map_err(|problem| fail(line, problem))?);
    }
    Ok(arguments)
}

/// The arguments that one line of the file stands for.
fn argument(
    name: &str,
    value: &DeValue<'_>,
    command: &Command,
    given: &ArgMatches,
) -> Result<Vec<OsString>, Problem> {
    if NOT_IN_FILES.contains(&name) {
        return Err(Problem::NotHere { name: name.to_owned() });
    }
    if let Some(setting) = Config::settings().iter().find(|setting| setting.name == name) {
        let value = text(name, value)?;
        // Checked here, so that the error tells the line.
        Config::builder().set(setting.name, &value).map_err(Problem::BadSetting)?;
        return Ok(vec![format!("--set={name}={value}").into()]);
    }
    let Some(option) = command.get_arguments().find(|it| it.get_id() == name) else {
        let options = command.get_arguments().map(|option| option.get_id().as_str());
        let options = options.filter(|name| !NOT_IN_FILES.contains(name));
        let settings = Config::settings().iter().map(|setting| setting.name);
        let meant = meant(name, options.chain(settings)).map(str::to_owned);
        return Err(Problem::UnknownName { name: name.to_owned(), meant });
    };
    let is_overruled = is_given(option, given) || is_ruled_out(option, command, given);
    let long = option.get_long().unwrap_or(name);
    if !option.get_action().takes_values() {
        let DeValue::Boolean(is_on) = value else {
            return Err(Problem::WrongKind { name: name.to_owned(), expected: "true or false" });
        };
        let is_added = *is_on && !is_overruled;
        return Ok(is_added.then(|| format!("--{long}").into()).into_iter().collect());
    }
    let values = match value {
        DeValue::Array(values) => {
            values.iter().map(|value| text(name, value.get_ref())).collect::<Result<_, _>>()?
        }
        value => vec![text(name, value)?],
    };
    let added = values.into_iter().filter(|_| !is_overruled);
    Ok(added.map(|value| format!("--{long}={value}").into()).collect())
}

/// Whether the command line has this option.
fn is_given(option: &Arg, given: &ArgMatches) -> bool {
    let name = option.get_id().as_str();
    given.try_contains_id(name).is_ok()
        && given.value_source(name) == Some(ValueSource::CommandLine)
}

/// Whether the command line has an option that this one conflicts with.
pub(crate) fn is_ruled_out(option: &Arg, command: &Command, given: &ArgMatches) -> bool {
    let conflict = |one: &Arg, other: &Arg| {
        command.get_arg_conflicts_with(one).iter().any(|it| it.get_id() == other.get_id())
    };
    let mut others = command.get_arguments().filter(|it| is_given(it, given));
    others.any(|it| conflict(it, option) || conflict(option, it))
}

/// A value as the command line takes it.
fn text(name: &str, value: &DeValue<'_>) -> Result<String, Problem> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => Ok(number.to_string()),
        DeValue::Boolean(is_on) => Ok(is_on.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => {
            let expected = "a text, a whole number, true or false";
            Err(Problem::WrongKind { name: name.to_owned(), expected })
        }
    }
}

/// The name of `known` that `name` was probably meant to be.
pub(crate) fn meant<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = known.into_iter().map(|other| (strsim::jaro_winkler(name, other), other));
    let best = alike.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(alike, _)| *alike >= ALIKE).map(|(_, other)| other)
}

fn line_at(text: &str, place: usize) -> usize {
    text.bytes().take(place).filter(|byte| *byte == b'\n').count() + 1
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Problem::Unreadable(error) => write!(f, "cannot read the configuration: {error}"),
            Problem::NoToml(error) => f.write_str(error),
            Problem::UnknownName { name, meant } => {
                write!(f, "there is no option or setting `{name}`")?;
                match meant {
                    Some(other) => write!(f, "; did you mean `{other}`?"),
                    None => f.write_str("; --print-config prints all of them"),
                }
            }
            Problem::NotHere { name } => write!(f, "`{name}` can't be given in a file"),
            Problem::WrongKind { name, expected } => write!(f, "`{name}` takes {expected}"),
            Problem::BadSetting(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.problem {
            Problem::Unreadable(error) => Some(error),
            Problem::BadSetting(error) => Some(error),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Args;
    use std::io::Write;
    use tempfile::NamedTempFile;

    fn file(text: &str) -> NamedTempFile {
        let mut file = NamedTempFile::new().expect("a file");
        file.write_all(text.as_bytes()).expect("it is written");
        file
    }

    fn read(text: &str, more: &[&str]) -> Result<(Args, Config), String> {
        let file = file(text);
        let path = file.path().to_str().expect("UTF-8");
        let given = ["portcullis", "--config", path].into_iter().chain(more.iter().copied());
        let result = Args::from_command_line(given.map(OsString::from).collect());
        let result = result.map(|read| (read.args, read.config));
        result.map_err(|error| error.to_string().replace(path, "FILE"))
    }

    #[test]
    fn a_file_gives_options_and_settings() {
        let text = "listen = ['127.0.0.1:0', '[::1]:0']\nthreads = 3\nstrict = true\n\
                    dotfiles = false\nkeep_alive_timeout = '2s'\nrequest_body_limit = 4096\n\
                    http2 = false\nproxy_protocol = '10.0.0.0/8'\n";
        let (args, config) = read(text, &[]).expect("valid");
        assert_eq!((args.listen.len(), args.threads, args.dotfiles), (2, 3, false));
        assert_eq!(args.proxy_protocol.len(), 1);
        let strict = Config::strict();
        assert_eq!(config.keep_alive_timeout().as_secs(), 2);
        assert_eq!(config.request_body_limit(), Some(4096));
        assert!(!config.http2());
        assert_eq!(config.request_head_limit(), strict.request_head_limit());
    }

    #[test]
    fn the_command_line_wins() {
        let text = "listen = ['127.0.0.1:0', '[::1]:0']\nprofile = 'proxied'\n\
                    keep_alive_timeout = '2s'\ndrain_timeout = '3s'\n";
        let more = ["--listen", "[::1]:1", "--strict", "--set", "keep_alive_timeout=9s"];
        let (args, config) = read(text, &more).expect("valid");
        assert_eq!(args.listen.iter().map(ToString::to_string).collect::<Vec<_>>(), ["[::1]:1"]);
        assert_eq!(config.keep_alive_timeout().as_secs(), 9);
        assert_eq!(config.drain_timeout().as_secs(), 3);
        assert_eq!(config.request_head_limit(), Config::strict().request_head_limit());
    }

    #[test]
    fn an_option_of_the_command_line_may_need_one_of_the_file() {
        let (args, _) = read("root = '/srv'\n", &["--dotfiles"]).expect("valid");
        assert!(args.dotfiles);
    }

    #[test]
    fn mistakes_are_explained_with_their_lines() {
        for (text, said) in [
            (
                "\nkeep_alive_timout = '1s'",
                "FILE:2: there is no option or setting `keep_alive_timout`; did you mean `keep_alive_timeout`?",
            ),
            ("lisen = '1'", "did you mean `listen`?"),
            ("quux = 1", "--print-config prints all of them"),
            (
                "\n\nkeep_alive_timeout = 'soon'",
                "FILE:3: `soon` is no value for keep_alive_timeout",
            ),
            ("keep_alive_timeout = 1.5", "FILE:1: `keep_alive_timeout` takes a text"),
            ("[limits]\nx = 1", "FILE:1: there is no option or setting `limits`"),
            ("strict = 'yes'", "FILE:1: `strict` takes true or false"),
            ("set = ['http2=false']", "`set` can't be given in a file"),
            ("config = 'other'", "`config` can't be given in a file"),
            ("threads = 0", "expected a number from 1 to 1024"),
            ("listen = ", "FILE:1: "),
            ("keep_alive_timeout = '0s'", "keep_alive_timeout must lie between"),
        ] {
            let error = read(text, &[]).err().unwrap_or_default();
            assert!(error.contains(said), "{text:?}: {error}");
        }
        let missing = Args::from_command_line(
            ["portcullis", "--config", "/nowhere"].map(OsString::from).to_vec(),
        );
        let error = missing.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error.contains("/nowhere: cannot read the configuration"), "{error}");
    }
}
