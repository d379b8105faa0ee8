//! The command line.

use crate::certificates::{CertificateError, Pair, Source};
use crate::listen::Address;
use crate::runtime::Runtime;
use crate::{config_file, print_config, tell};
use bytesize::ByteSize;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser, ValueEnum};
use portcullis::{Builder, Config, ConfigError};
use portcullis_driver::ProxySource;
use portcullis_serve::LogFormat;
use portcullis_serve::files::CacheRule;
use portcullis_serve::proxy::{ProxySettings, Upstream};
use std::env;
use std::ffi::OsString;
use std::fmt::{Display, Write};
use std::path::PathBuf;
use std::process;
use std::thread::available_parallelism;
use std::time::Duration;

/// The widest line of the help, in columns.
const WIDTH: usize = 100;
const INDENT: &str = "      ";

/// A hardened HTTP/1.1, HTTP/2 and WebSocket server for the files of a directory, or before another server.
///
/// No client can hold a connection open, or make the server hold memory, beyond what a setting
/// allows. SIGINT or SIGTERM drains: requests in progress may finish within `drain_timeout`. A
/// second signal stops the program at once. SIGHUP reloads the certificate, the keys for session
/// tickets and the settings of --config, and opens the access log again. RUST_LOG=debug logs why
/// each connection was closed.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "portcullis",
    version,
    max_term_width = WIDTH,
    after_help = "`--help` lists every setting for --set, with its unit, default and source.",
    after_long_help = settings()
)]
pub(crate) struct Args {
    /// Address and port to listen on; port 0 picks a free port. May be given more than once
    ///
    /// Of a name, such as localhost:8080, all addresses are listened on. A port alone, 8080, is open to
    /// this machine only; :8080 is open to everybody. unix:/run/app.sock is a Unix socket: its file is
    /// removed at the end, and replaced at the start if no server listens on it any more. Sockets that systemd
    /// passes (LISTEN_FDS) are listened on as well; with them there is no default.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: Vec<Address>,

    /// Whether `listen` was asked for.
    #[arg(skip)]
    pub(crate) asks_to_listen: bool,

    /// Share the ports with other processes of the same user that have this option too (SO_REUSEPORT)
    ///
    /// The system spreads connections over them. To upgrade, start the new program, and then send SIGTERM to
    /// the old one. On Linux no connection is lost.
    #[arg(long)]
    pub(crate) reuse_port: bool,

    /// Directory whose files to serve [default: none, serve demo routes]
    ///
    /// Neither `..` in a path nor a symbolic link leads out of the directory. A directory is served
    /// as its index.html, or else as a listing.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,

    /// Also serve and list files whose names begin with a dot; without it only those in
    /// /.well-known/
    #[arg(long, requires = "root")]
    pub(crate) dotfiles: bool,

    /// Serve /index.html at each path without a file whose last name has no dot: for applications of one page
    #[arg(long, requires = "root")]
    pub(crate) spa: bool,

    /// Send text as it is; without this it is compressed with gzip for clients that take it
    ///
    /// Siblings that are compressed already (app.js.br, app.js.zst and app.js.gz for app.js) are always sent,
    /// unless they are older than the file.
    #[arg(long, requires = "root")]
    pub(crate) no_compression: bool,

    /// Cache-Control of files, such as "*.html=no-cache". May be given more than once; the first that matches counts
    ///
    /// A pattern with a slash is for whole paths: "/assets/**=public, max-age=31536000, immutable". One without
    /// is for names in any directory.
    #[arg(long, requires = "root", value_name = "PATTERN=VALUE")]
    pub(crate) cache_control: Vec<CacheRule>,

    /// Server to pass requests on to, such as http://127.0.0.1:8000 or unix:/run/app.sock
    ///
    /// It gets valid requests only, and no more at once than --proxy-concurrency. `Host` stays as the client sent it;
    /// `Forwarded` and `X-Forwarded-*` tell about the client, and what it sent there is removed. Websockets pass, with
    /// the limits of the settings.
    #[arg(long, value_name = "URL", conflicts_with = "root")]
    proxy: Option<Upstream>,

    /// The longest time in which that server may be silent, before its answer (504) and within it [default: 60s]
    #[arg(long, requires = "proxy", value_name = "TIME", value_parser = time)]
    proxy_timeout: Option<Duration>,

    /// How many requests that server works on at once; choose at least the number of its workers [default: 100]
    #[arg(long, requires = "proxy", value_name = "N", value_parser = at_once)]
    proxy_concurrency: Option<usize>,

    /// How many more requests may wait for it; others are answered with 503 [default: 1000]
    #[arg(long, requires = "proxy", value_name = "N")]
    proxy_queue: Option<usize>,

    /// How long they may wait, before 503 [default: 10s]
    #[arg(long, requires = "proxy", value_name = "TIME", value_parser = time)]
    proxy_queue_timeout: Option<Duration>,

    /// The most content that is held between clients and that server, for all requests together [default: 64MiB]
    ///
    /// Answers of up to 1 MiB are read ahead of slow clients, so that the server is done with them.
    #[arg(long, requires = "proxy", value_name = "BYTES", value_parser = bytes)]
    proxy_buffers: Option<usize>,

    /// Also answer GET /healthz and GET /readyz, for balancers; the demo always does
    ///
    /// /healthz answers 200 while the program serves. /readyz answers 200, and 503 from SIGINT or SIGTERM on.
    /// With --root they hide files of these names, so they have to be asked for.
    #[arg(long)]
    health: bool,

    /// Also answer GET /status, /status/ and /metrics; the demo always does
    ///
    /// /status/ is a page that shows the server as it is now, /status the same as JSON, and /metrics is for
    /// Prometheus. They tell no address of a client, but whoever can reach the server can see them:
    /// --status-listen keeps them apart. They hide files and pages of these names.
    #[arg(long)]
    status: bool,

    /// Address and port on which to answer GET /status, /status/ and /metrics apart from all else, such as 9000
    ///
    /// Takes what --listen takes; plaintext. A thread of its own serves it, so it answers whatever visitors do to
    /// the server. May be given more than once.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) status_listen: Vec<Address>,

    /// How long to go on accepting after SIGINT or SIGTERM, before the drain begins
    ///
    /// Meanwhile /readyz answers 503, so that balancers send new clients elsewhere. Choose at least the time in
    /// which the balancer notices: the interval of its checks, times the failures that it waits for.
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    pub(crate) drain_delay: Duration,

    /// Certificate for TLS: a PEM file with the chain, the server's own certificate first. May be given more than
    /// once
    ///
    /// Every address then speaks HTTPS only. Of several certificates clients get the one for the name that they ask
    /// for (SNI), or else the first. SIGHUP reloads these files and the keys; open connections are not disturbed.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Vec<PathBuf>,

    /// Private key of the certificate: a PEM file. As many as there are certificates, in the same order
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Vec<PathBuf>,

    /// Ask clients for a certificate that one of the authorities in this PEM file has signed, and refuse those that
    /// have none
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_client_ca: Option<PathBuf>,

    /// File with at least 32 random bytes, from which the key for session tickets is made. May be given more than
    /// once
    ///
    /// Processes with the same file resume each other's sessions: on one port, on several machines, or the next
    /// one after a restart. Without it each process has a key of its own. The first file seals tickets; the
    /// others only open those that clients still have, for 12 hours. SIGHUP reads the files again. Make one with
    /// `openssl rand -out FILE 80`, protect it like a private key, and replace it every day.
    #[arg(long, value_name = "FILE")]
    pub(crate) tls_ticket_key: Vec<PathBuf>,

    /// TLS with a new self-signed certificate for localhost, which no client trusts: for trying it
    /// out
    #[arg(long, conflicts_with_all = ["tls_cert", "tls_key"])]
    tls_self_signed: bool,

    /// No HTTP/2: the same as --set http2=false
    ///
    /// Without this, clients may choose HTTP/2 by ALPN over TLS, and by its preface in plaintext.
    #[arg(long)]
    http1_only: bool,

    /// No HTTP/1.1: the same as --set http1=false
    ///
    /// For servers of gRPC, say. In plaintext clients have to begin with HTTP/2's preface (prior knowledge).
    #[arg(long, conflicts_with = "http1_only")]
    http2_only: bool,

    /// Proxies that send a header of the PROXY protocol, as prefixes such as 10.0.0.0/8, addresses, or `unix`.
    /// May be given more than once
    ///
    /// Each of their connections has to begin with that header, version 1 or 2 (`send-proxy` in HAProxy), also
    /// before TLS. The client's address in it replaces the proxy's. A connection of theirs without it is closed.
    /// Other peers are served as usual.
    #[arg(long, value_name = "CIDR", value_delimiter = ',')]
    pub(crate) proxy_protocol: Vec<ProxySource>,

    /// File to which a line is added for each request that is over; - is standard output
    ///
    /// A slow disk holds up no connection: lines that it cannot take in time are lost, and counted in
    /// /status and /metrics. SIGHUP opens the file again, for logrotate. Requests that are refused
    /// before they reach a route have a line too, with - for what is not known of them.
    #[arg(long, value_name = "FILE")]
    pub(crate) access_log: Option<PathBuf>,

    /// How a line of the access log looks
    #[arg(long, value_enum, value_name = "NAME", default_value = "common")]
    access_log_format: Format,

    /// Number of threads that serve connections [default: one for each processor core]
    #[arg(long, value_name = "N", default_value_t = cores(), hide_default_value = true, value_parser = threads)]
    pub(crate) threads: usize,

    /// Runtime to run on; async-std needs a program built with the feature `async-std`
    #[arg(long, value_enum, value_name = "NAME", default_value = "tokio")]
    pub(crate) runtime: Runtime,

    /// Limits and timeouts to start from; --set changes single ones
    #[arg(long, value_enum, value_name = "NAME", default_value = "default")]
    profile: Profile,

    /// The same as --profile strict
    #[arg(long, conflicts_with = "profile")]
    strict: bool,

    /// Change a limit or a timeout, such as keep_alive_timeout=1s. May be given more than once
    #[arg(long, value_name = "NAME=VALUE", value_parser = assignment)]
    set: Vec<Assignment>,

    /// File with more of these options and settings, in TOML; the command line wins
    ///
    /// Names are those of the command line, with _ for -, and those of --set: root = "/srv",
    /// listen = [":80", "unix:/run/app.sock"], keep_alive_timeout = "10s". Unknown names are errors. SIGHUP reads
    /// the file again: new connections have the new settings; options, and limits on all connections together,
    /// need a restart.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Print all options and settings as a file for --config, with their values, and exit
    #[arg(long)]
    print_config: bool,
}

/// The lines of the access log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The Common Log Format
    Common,
    /// The same with the referer and the user agent
    Combined,
    /// A JSON object a line
    Json,
}

/// Limits and timeouts that belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Profile {
    /// For a server in production
    Default,
    /// Tighter, for the open internet
    Strict,
    /// Behind nginx, HAProxy or a cloud balancer: keeps idle connections longer than the proxy does
    Proxied,
}

impl Profile {
    fn config(self) -> Config {
        match self {
            Profile::Default => Config::default(),
            Profile::Strict => Config::strict(),
            Profile::Proxied => Config::proxied(),
        }
    }
}

/// A setting's name and its new value.
#[derive(Clone, Debug)]
struct Assignment {
    name: String,
    value: String,
}

/// What the command line and the file have told.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) args: Args,
    pub(crate) config: Config,
    matches: ArgMatches,
}

impl Read {
    /// The options whose values are others than `before`.
    pub(crate) fn changed_options(&self, before: &Read) -> Vec<String> {
        let values = |read: &Read, name: &str| -> Option<Vec<OsString>> {
            Some(read.matches.try_get_raw(name).ok()??.map(OsString::from).collect())
        };
        let command = Args::command();
        let names = command.get_arguments().map(|option| option.get_id().as_str());
        // Settings are compared by their values.
        let names = names.filter(|name| !["set", "profile", "strict"].contains(name));
        names.filter(|name| values(self, name) != values(before, name)).map(str::to_owned).collect()
    }

    /// What `--print-config` prints.
    pub(crate) fn printed(&self) -> String {
        print_config::text(&Args::command(), &self.matches, &self.config)
    }
}

impl Args {
    /// Reads the command line, and the file that it names. Exits after printing help, the configuration, or an
    /// error in the arguments.
    pub(crate) fn read() -> Read {
        match Args::from_command_line(env::args_os().collect()) {
            Ok(read) if read.args.print_config => {
                tell(read.printed());
                process::exit(0)
            }
            Ok(read) => read,
            Err(error) => error.exit(),
        }
    }

    /// The same from any command line.
    ///
    /// # Errors
    /// What is to be printed instead of starting.
    pub(crate) fn from_command_line(mut given: Vec<OsString>) -> Result<Read, clap::Error> {
        let command = Args::command();
        let fail = |error: &dyn Display| Args::command().error(ErrorKind::ValueValidation, error);
        // An option may need another one that stands in the file.
        let early = command.clone().ignore_errors(true).try_get_matches_from(&given)?;
        if let Some(path) = early.try_get_one::<PathBuf>("config").ok().flatten() {
            let added = config_file::arguments(path, &command, &early);
            // First, so that a later --set wins.
            let place = given.len().min(1);
            given.splice(place..place, added.map_err(|error| fail(&error))?);
        }
        let matches = command.try_get_matches_from(given)?;
        let mut args = Args::from_arg_matches(&matches)?;
        args.asks_to_listen = matches.value_source("listen") == Some(ValueSource::CommandLine);
        let config = args.config().map_err(|error| fail(&error))?;
        Ok(Read { args, config, matches })
    }

    /// Where the certificate comes from; `None` without TLS.
    pub(crate) fn certificate(&self) -> Option<Source> {
        if self.tls_cert.is_empty() {
            return self.tls_self_signed.then_some(Source::SelfSigned);
        }
        let pairs = self.tls_cert.iter().zip(&self.tls_key);
        let pairs = pairs.map(|(chain, key)| Pair { chain: chain.clone(), key: key.clone() });
        Some(Source::Files(pairs.collect()))
    }

    /// Whether to answer `/healthz` and `/readyz`.
    pub(crate) fn health(&self) -> bool {
        self.health || self.is_demo()
    }

    /// Whether to answer `/status`, `/status/` and `/metrics`.
    pub(crate) fn status(&self) -> bool {
        self.status || self.is_demo()
    }

    fn is_demo(&self) -> bool {
        self.root.is_none() && self.proxy.is_none()
    }

    /// The server to pass requests on to, if there is one.
    pub(crate) fn proxy(&self) -> Option<ProxySettings> {
        let settings = ProxySettings::new(self.proxy.clone()?);
        Some(ProxySettings {
            timeout: self.proxy_timeout.unwrap_or(settings.timeout),
            concurrency: self.proxy_concurrency.unwrap_or(settings.concurrency),
            queue: self.proxy_queue.unwrap_or(settings.queue),
            queue_timeout: self.proxy_queue_timeout.unwrap_or(settings.queue_timeout),
            buffers: self.proxy_buffers.unwrap_or(settings.buffers),
            ..settings
        })
    }

    /// How a line of the access log looks.
    pub(crate) fn log_format(&self) -> LogFormat {
        match self.access_log_format {
            Format::Common => LogFormat::Common,
            Format::Combined => LogFormat::Combined,
            Format::Json => LogFormat::Json,
        }
    }

    fn config(&self) -> Result<Config, String> {
        if self.tls_cert.len() != self.tls_key.len() {
            return Err(CertificateError::Unpaired.to_string());
        }
        if self.tls_client_ca.is_some() && self.certificate().is_none() {
            return Err("--tls-client-ca needs --tls-cert or --tls-self-signed".to_owned());
        }
        if !self.tls_ticket_key.is_empty() && self.certificate().is_none() {
            return Err("--tls-ticket-key needs --tls-cert or --tls-self-signed".to_owned());
        }
        let profile = if self.strict { Profile::Strict } else { self.profile };
        let mut builder = Builder::from(profile.config());
        if self.http1_only {
            builder = builder.http2(false);
        }
        if self.http2_only {
            builder = builder.http1(false);
        }
        for Assignment { name, value } in &self.set {
            builder = builder.set(name, value).map_err(|error| error.to_string())?;
        }
        builder.build().map_err(|error| error.to_string())
    }
}

fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("expected a number from 1 to 1024".to_owned()),
    }
}

fn at_once(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1_000_000) => Ok(count),
        _ => Err("expected a number from 1 to 1000000".to_owned()),
    }
}

/// A time, as `--set` takes it.
fn time(text: &str) -> Result<Duration, String> {
    let expected = "expected a time with a unit, such as 5s or 500ms";
    humantime::parse_duration(text).map_err(|error| format!("{error}; {expected}"))
}

/// A number of bytes, as `--set` takes it.
fn bytes(text: &str) -> Result<usize, String> {
    let expected = "expected a number of bytes, such as 64MiB";
    let bytes: ByteSize = text.parse().map_err(|error| format!("{error}; {expected}"))?;
    usize::try_from(bytes.as_u64()).map_err(|error| error.to_string())
}

fn assignment(text: &str) -> Result<Assignment, String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    // Checked here so that the error names the argument.
    Config::builder().set(name, value).map_err(|error| unknown(name, &error))?;
    Ok(Assignment { name: name.to_owned(), value: value.to_owned() })
}

/// Explains an error, and tells which setting was meant if there is none of this name.
fn unknown(name: &str, error: &ConfigError) -> String {
    let names = Config::settings().iter().map(|setting| setting.name);
    match (error, config_file::meant(name, names)) {
        (ConfigError::UnknownSetting { .. }, Some(meant)) => {
            format!("there is no setting `{name}`; did you mean `{meant}`?")
        }
        _ => error.to_string(),
    }
}

/// The settings, for `--help`.
fn settings() -> String {
    let [default, strict, proxied] =
        [Profile::Default, Profile::Strict, Profile::Proxied].map(Profile::config);
    let mut text = String::from(
        "Settings for --set. A time needs a unit (250ms, 5s, 1m); a size may have one (4096, 64KiB, 16MiB).\n\
         Each setting is shown with its default, and with the profiles' values where they differ.\n",
    );
    for setting in Config::settings() {
        let [usual, strict, proxied] =
            [&default, &strict, &proxied].map(|profile| setting.value(profile));
        // Writing to a string never fails.
        let _ = write!(text, "\n  {}: {}", setting.name, readable(&usual));
        if strict != usual || proxied != usual {
            let _ =
                write!(text, "   (strict: {}, proxied: {})", readable(&strict), readable(&proxied));
        }
        text.push('\n');
        let about = setting.about.split_whitespace().collect::<Vec<_>>().join(" ");
        wrap(&mut text, INDENT, &format!("{about} Default from: {}.", setting.source));
    }
    text
}

/// A setting's value for people, such as `16 KiB`, `75 s` or `10 min`. `--set` accepts it as well.
fn readable(value: &str) -> String {
    let (mut parts, mut rest) = (Vec::new(), value);
    while let Some(end) = rest.find(|char: char| !char.is_ascii_digit()).filter(|end| *end > 0) {
        let (number, tail) = rest.split_at(end);
        let (unit, tail) = tail.split_at(tail.find(char::is_numeric).unwrap_or(tail.len()));
        parts.push((number, unit.trim()));
        rest = tail;
    }
    match parts.as_slice() {
        // As seconds up to five minutes, like most sources of the defaults.
        [(minutes, "m"), (seconds, "s")] => in_seconds(minutes, seconds),
        [(minutes, "m")] if minutes.len() == 1 && *minutes < "5" => in_seconds(minutes, "0"),
        [(minutes, "m")] => Some(format!("{minutes} min")),
        [(number, unit)] if unit.starts_with(char::is_alphabetic) => {
            Some(format!("{number} {unit}"))
        }
        _ => None,
    }
    .unwrap_or_else(|| value.to_owned())
}

fn in_seconds(minutes: &str, seconds: &str) -> Option<String> {
    let (minutes, seconds): (u64, u64) = (minutes.parse().ok()?, seconds.parse().ok()?);
    Some(format!("{} s", minutes.checked_mul(60)?.checked_add(seconds)?))
}

/// Adds a paragraph, wrapped at `WIDTH`; each line begins with `start`.
pub(crate) fn wrap(text: &mut String, start: &str, paragraph: &str) {
    let mut line = String::new();
    for word in paragraph.split_whitespace() {
        if !line.is_empty() && start.len() + line.len() + 1 + word.len() > WIDTH {
            text.extend([start, &line, "\n"]);
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    text.extend([start, &line, "\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["portcullis"], args].concat())
    }

    #[test]
    fn clap_accepts_the_definition() {
        Args::command().debug_assert();
    }

    #[test]
    fn no_arguments_give_the_defaults() {
        let args = parse(&[]).expect("valid");
        assert_eq!(args.listen.len(), 1);
        assert_eq!(args.listen[0].to_string(), "127.0.0.1:8080");
        assert_eq!((args.root.as_ref(), args.runtime), (None, Runtime::Tokio));
        assert_eq!(args.threads, cores());
        assert_eq!(args.config(), Ok(Config::default()));
    }

    #[test]
    fn arguments_replace_the_defaults() {
        let args = parse(&[
            "--listen",
            "127.0.0.1:0",
            "--listen",
            "[::1]:0",
            "--threads",
            "3",
            "--strict",
            "--set",
            "keep_alive_timeout=1s",
            "--set",
            "keep_alive_timeout=2s",
            "--root",
            "/srv",
        ])
        .expect("valid");
        assert_eq!(args.listen.len(), 2);
        assert_eq!(args.threads, 3);
        assert_eq!(args.root, Some(PathBuf::from("/srv")));
        let strict = Builder::from(Config::strict()).set("keep_alive_timeout", "2s");
        assert_eq!(args.config().ok(), strict.and_then(Builder::build).ok());
    }

    #[test]
    fn single_settings_change_a_profile() {
        for (name, profile) in [
            ("default", Config::default()),
            ("strict", Config::strict()),
            ("proxied", Config::proxied()),
        ] {
            let args = parse(&["--profile", name]).expect("valid");
            assert_eq!(args.config().as_ref(), Ok(&profile));
            let args = parse(&["--set", "drain_timeout=7s", "--profile", name]).expect("valid");
            let changed =
                Builder::from(profile).set("drain_timeout", "7s").and_then(Builder::build);
            assert_eq!(args.config().ok(), changed.ok());
        }
        assert_eq!(parse(&["--strict"]).expect("valid").config(), Ok(Config::strict()));
        assert!(parse(&["--strict", "--profile", "proxied"]).is_err());
        assert!(parse(&["--dotfiles"]).is_err(), "--dotfiles needs --root");
    }

    #[test]
    fn the_demo_tells_its_health_and_status_and_files_do_if_asked() {
        for (args, health, status) in [
            (&[][..], true, true),
            (&["--health"], true, true),
            (&["--root", "."], false, false),
            (&["--root", ".", "--health"], true, false),
            (&["--root", ".", "--status"], false, true),
            (&["--proxy", "http://a"], false, false),
            (&["--proxy", "http://a", "--status"], false, true),
        ] {
            let parsed = parse(args).expect("valid");
            assert_eq!((parsed.health(), parsed.status()), (health, status), "{args:?}");
        }
        let delay = |text| parse(&["--drain-delay", text]).map(|it| it.drain_delay).ok();
        assert_eq!(delay("1m 500ms"), Some(Duration::from_millis(60_500)));
        assert_eq!((delay("0s"), delay("5")), (Some(Duration::ZERO), None));
    }

    #[test]
    fn the_proxy_has_limits_and_no_health_unless_asked() {
        let args = parse(&["--proxy", "unix:/app", "--proxy-queue", "0", "--proxy-timeout", "1m"]);
        let args = args.expect("valid");
        let proxy = args.proxy().expect("a proxy");
        assert_eq!((proxy.timeout.as_secs(), proxy.queue, proxy.concurrency), (60, 0, 100));
        assert!(!args.health() && parse(&[]).expect("valid").proxy().is_none());
        assert!(parse(&["--proxy", "http://a", "--root", "."]).is_err(), "one of both");
    }

    #[test]
    fn proxies_are_listed_with_commas_or_one_by_one() {
        let args = parse(&["--proxy-protocol", "10.0.0.0/8,unix", "--proxy-protocol", "::1"]);
        let told: Vec<_> =
            args.expect("valid").proxy_protocol.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["10.0.0.0/8", "unix", "::1/128"]);
        let error = parse(&["--proxy-protocol", "example.com"]).expect_err("a name").to_string();
        assert!(error.contains("expected a prefix such as 10.0.0.0/8"), "{error}");
    }

    #[test]
    fn a_certificate_needs_its_key_or_is_self_signed() {
        assert_eq!(parse(&[]).expect("valid").certificate(), None);
        let made = parse(&["--tls-self-signed"]).expect("valid");
        assert_eq!(made.certificate(), Some(Source::SelfSigned));
        let read = parse(&["--tls-cert", "c", "--tls-key", "k"]).expect("valid");
        let pair = |chain: &str, key: &str| Pair { chain: chain.into(), key: key.into() };
        assert_eq!(read.certificate(), Some(Source::Files(vec![pair("c", "k")])));
        let two = ["--tls-cert", "c", "--tls-key", "k", "--tls-cert", "d", "--tls-key", "l"];
        let both = Source::Files(vec![pair("c", "k"), pair("d", "l")]);
        assert_eq!(parse(&two).expect("valid").certificate(), Some(both));
        let odd = parse(&two[..6]).expect("counted later").config().expect_err("a key is missing");
        assert!(odd.contains("each certificate needs its key"), "{odd}");
        let open = parse(&["--tls-client-ca", "a"]).expect("counted later").config();
        assert!(open.expect_err("no TLS").contains("--tls-client-ca needs"));
        let open = parse(&["--tls-ticket-key", "a"]).expect("counted later").config();
        assert!(open.expect_err("no TLS").contains("--tls-ticket-key needs"));
        for (args, said) in [
            (&["--tls-cert", "c"][..], "--tls-key <FILE>"),
            (&["--tls-key", "k"], "--tls-cert <FILE>"),
            (&["--tls-self-signed", "--tls-cert", "c", "--tls-key", "k"], "cannot be used with"),
        ] {
            let error = parse(args).expect_err(said).to_string();
            assert!(error.contains(said), "{args:?}: {error}");
        }
    }

    #[test]
    fn mistakes_are_explained() {
        for (args, said) in [
            (["--proxy", "https://app"], "TLS to the server behind the proxy is not supported"),
            (["--proxy-timeout", "5s"], "--proxy <URL>"),
            (["--threads", "0"], "expected a number from 1 to 1024"),
            (["--threads", "many"], "expected a number from 1 to 1024"),
            (["--listen", "localhost"], "such as 127.0.0.1:8080"),
            (["--profile", "loose"], "[possible values: default, strict, proxied]"),
            (["--runtime", "threads"], "[possible values: tokio, smol"),
            (["--set", "keep_alive_timeout"], "expected NAME=VALUE"),
            (["--set", "keep_alive_timeout=soon"], "`soon` is no value for keep_alive_timeout"),
            (["--set", "patience=1s"], "request_head_timeout, request_body_grace"),
            (["--set", "keepalive_timeout=1s"], "did you mean `keep_alive_timeout`?"),
        ] {
            let error = parse(&args).expect_err(said).to_string();
            assert!(error.contains(said), "{args:?}: {error}");
        }
        let args = parse(&["--set", "keep_alive_timeout=0s"]).expect("out of range only");
        assert!(args.config().expect_err("out of range").starts_with("keep_alive_timeout must"));
    }

    #[test]
    fn readable_values_are_accepted_by_set() {
        for (value, shown) in [
            ("1m 15s", "75 s"),
            ("1m", "60 s"),
            ("10m", "10 min"),
            ("1h 30m", "1h 30m"),
            ("500ms", "500 ms"),
            ("16KiB", "16 KiB"),
            ("16 KiB", "16 KiB"),
            ("240", "240"),
            ("75%", "75%"),
            ("none", "none"),
        ] {
            assert_eq!(readable(value), shown);
        }
        for config in [Profile::Default, Profile::Strict, Profile::Proxied].map(Profile::config) {
            for setting in Config::settings() {
                let value = setting.value(&config);
                let shown = readable(&value);
                let assigned = Config::builder().set(setting.name, &shown).expect(&shown);
                let expected = Config::builder().set(setting.name, &value).expect(&value);
                assert_eq!(assigned.build().ok(), expected.build().ok(), "{shown}");
            }
        }
    }

    #[test]
    fn the_help_lists_every_setting_within_the_width() {
        let help = Args::command().render_long_help().to_string();
        for setting in Config::settings() {
            let line =
                format!("\n  {}: {}", setting.name, readable(&setting.value(&Config::default())));
            assert!(help.contains(&line), "{line} not in {help}");
        }
        let text = settings();
        let widest = text.lines().map(str::len).max();
        assert!(widest <= Some(WIDTH), "{text}");
        for line in [
            "  keep_alive_timeout: 5 s   (strict: 5 s, proxied: 75 s)\n",
            "  request_head_limit: 16 KiB   (strict: 8 KiB, proxied: 16 KiB)\n",
            "  request_body_rate: 240\n",
        ] {
            assert!(help.contains(line), "{line} not in {help}");
        }
    }
}
