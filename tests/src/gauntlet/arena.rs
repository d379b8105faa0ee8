//! One attack, from the start of its server to its report.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Failure;
use super::attack::{Attack, Place, Weight};
use super::expect::{BACK_SPARE, Expect, Facts, Rigour, faults};
use super::healthy::{Healthy, Request};
use super::notes::Seen;
use super::peer::{Peer, Tally};
use super::server::{Server, Target};

/// How often the server's memory is read.
const SAMPLE: Duration = Duration::from_millis(50);
/// The healthy client's requests before the attack, at least.
const BASELINE: usize = 60;
/// How long it may take for those.
const BASELINE_MOST: Duration = Duration::from_secs(10);
/// A request of the healthy client that waits longer has failed.
const HEALTHY_MOST: Duration = Duration::from_secs(10);
/// Ends a wait on a busy machine that would never end.
const BUSY_MOST: Duration = Duration::from_secs(600);
/// How long the server may keep sockets of attackers that are gone.
const BACK_MOST: Duration = Duration::from_secs(12);
/// A client that must live may take this long on a busy machine.
const LIVES_MOST: Duration = Duration::from_secs(40);

/// How to run one attack.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The number of attackers of a crowd.
    pub connections: usize,
    /// The number of attackers of other attacks, if it is not their own.
    pub attackers: Option<usize>,
    /// How long to wait for the end of the last attacker, if it is not the attack's own time.
    pub patience: Option<Duration>,
    /// Whether the verdict must not depend on how busy the machine is.
    pub busy: bool,
}

/// What one attack at one place gave.
#[derive(Clone, Debug)]
pub struct Report {
    /// The attack's name.
    pub name: &'static str,
    /// Its row of `attacks.md`.
    pub row: &'static str,
    /// Its protocol.
    pub protocol: String,
    /// The runtime and the transport, or `target`.
    pub place: String,
    /// The settings that differ from the defaults.
    pub settings: &'static [&'static str],
    /// Connections that the server held at the same time.
    pub peak: usize,
    /// Seconds from the beginning of the attack until the server dropped the last attacker. `None`
    /// if it still held one, or if the attackers left by themselves.
    pub dropped: Option<f64>,
    /// Whether attackers were still connected in the end.
    pub held: usize,
    /// Bytes of memory for each attacker at the peak, if known.
    pub memory: Option<u64>,
    /// The healthy client's median and 99th percentile before, in microseconds.
    pub before: (u64, u64),
    /// The same during the attack.
    pub during: (u64, u64),
    /// The slowest request over a fresh connection during the attack, in microseconds.
    pub visitor: Option<u64>,
    /// What must happen.
    pub expected: String,
    /// What went wrong; empty if the verdict holds.
    pub faults: Vec<String>,
    /// When the attack began and when it was over, in seconds since the first sample.
    pub span: (f64, f64),
    /// The server's memory over time: seconds, and bytes.
    pub memory_series: Vec<(f64, u64)>,
    /// The healthy client's latency over time: seconds, and microseconds.
    pub latency_series: Vec<(f64, u64)>,
}

/// Plays an attack at one place. `watch` is told how many connections are open, of how many.
pub fn run(
    attack: &Attack,
    place: Place,
    target: &Target,
    options: Options,
    runtime: &Handle,
    watch: &dyn Fn(usize, usize),
) -> Result<Report, Failure> {
    let mut server = Server::start(target, attack, place)?;
    let began = Instant::now();
    let patient = if options.busy { BUSY_MOST } else { HEALTHY_MOST };
    let healthy = Healthy::start(server.address, place.tls, server.path, began, patient);
    while healthy.count() < BASELINE && began.elapsed() < BASELINE_MOST {
        thread::sleep(SAMPLE);
    }
    let counts = attack.expect.iter().any(|it| matches!(it, Expect::Holds(_)));
    let mut samples = Samples { began, series: Vec::new(), descriptors: counts.then_some(0) };
    let memory_before = server.memory();
    samples.take(&server);
    let files_before = server.descriptors();
    let time_before = server.time_used();

    let rigour = match target {
        Target::Other { .. } => Rigour::Foreign,
        Target::Program(_) if options.busy => Rigour::Busy,
        Target::Program(_) => Rigour::Full,
    };
    let count = attackers(attack, place, options);
    let patience = options.patience.unwrap_or_else(|| patience(attack, options.busy));
    let attack_began = began.elapsed();
    let tally = Arc::new(Tally::new());
    let tasks = spawn(attack, place, &server, count, patience, &tally, runtime);
    while tally.over.load(Ordering::Relaxed) < count {
        thread::sleep(SAMPLE);
        samples.take(&server);
        watch(tally.open.load(Ordering::Relaxed), count);
    }
    let attack_ended = began.elapsed();
    let busy = server.time_used().zip(time_before).map(|(now, before)| {
        now.saturating_sub(before).as_secs_f64() / (attack_ended - attack_began).as_secs_f64()
    });
    let alone = attack.weight != Weight::Light;
    let mut facts = Facts { patience, busy, alone, back: Some(Duration::ZERO), ..Facts::default() };
    for task in tasks {
        match runtime.block_on(task) {
            Ok(Some(Ok(seen))) => facts.seen.push(seen),
            Ok(Some(Err(error))) => facts.failed.push(error.to_string()),
            Ok(None) => facts.unfinished += 1,
            Err(error) => facts.failed.push(error.to_string()),
        }
    }
    if attack.expect.iter().any(|it| matches!(it, Expect::Back(_))) {
        facts.back = back(&server, files_before, &mut samples);
    }
    let over = began.elapsed();
    let answered = healthy.count();
    let start = Instant::now();
    while healthy.count() < answered + 5 && start.elapsed() < BASELINE_MOST {
        thread::sleep(SAMPLE);
    }
    let requests = healthy.stop();
    facts.recovered = requests.last().is_some_and(|last| !last.failed);
    facts.running = server.is_running();

    let peak = tally.peak.load(Ordering::Relaxed);
    facts.descriptors =
        samples.descriptors.zip(files_before).map(|(most, before)| most.saturating_sub(before));
    facts.growth = memory_before.map(|before| samples.peak().saturating_sub(before));
    facts.memory_each = facts.growth.map(|growth| growth / peak.max(1) as u64);
    let during: Vec<_> =
        requests.iter().filter(|it| attack_began <= it.at && it.at <= over).copied().collect();
    facts.healthy = during.len();
    facts.healthy_failed = during.iter().filter(|it| it.failed).count();
    facts.healthy_worst = during.iter().map(|it| it.took).max().unwrap_or_default();
    let visitor = during.iter().filter(|it| it.fresh).map(|it| it.took.as_micros() as u64).max();
    let before = percentiles(requests.iter().filter(|it| it.at < attack_began));
    let during = percentiles(during.iter());
    facts.healthy_p99 = Duration::from_micros(if attack.stops { 0 } else { during.1 });

    let last = Duration::from_micros(tally.last_drop.load(Ordering::Relaxed));
    let expected = attack.expect.iter().map(Expect::to_string).collect::<Vec<_>>().join(", ");
    Ok(Report {
        name: attack.name,
        row: attack.row,
        protocol: attack.protocol.to_string(),
        place: place.to_string(),
        settings: if rigour == Rigour::Foreign { &[] } else { attack.settings },
        peak,
        dropped: (facts.unfinished == 0 && !last.is_zero()).then_some(last.as_secs_f64()),
        held: facts.unfinished,
        memory: facts.memory_each,
        before,
        during,
        visitor,
        expected,
        faults: faults(attack.expect, &facts, rigour),
        span: (attack_began.as_secs_f64(), over.as_secs_f64()),
        memory_series: samples.series,
        latency_series: requests
            .iter()
            .map(|it| (it.at.as_secs_f64(), it.took.as_micros() as u64))
            .collect(),
    })
}

fn attackers(attack: &Attack, place: Place, options: Options) -> usize {
    match attack.weight {
        // A TLS handshake costs this machine as much as the server.
        Weight::Crowd if place.tls => (options.connections / 8).max(1),
        Weight::Crowd => options.connections,
        _ => options.attackers.map_or(attack.attackers, |most| most.min(attack.attackers)),
    }
}

/// How long the last attacker may take, before the gauntlet gives up.
fn patience(attack: &Attack, busy: bool) -> Duration {
    let most = attack.expect.iter().map(|it| match it {
        Expect::Ended(_, most) | Expect::Reset(_, most) => Duration::from_secs_f64(*most),
        _ => Duration::ZERO,
    });
    let crowd = if attack.weight == Weight::Crowd { 30 } else { 0 };
    let spare = if busy { BUSY_MOST } else { Duration::from_secs(8 + crowd) };
    match most.max() {
        Some(most) if most > Duration::ZERO => most + spare,
        _ => LIVES_MOST + spare,
    }
}

type Task = JoinHandle<Option<Result<Seen, Failure>>>;

fn spawn(
    attack: &Attack,
    place: Place,
    server: &Server,
    count: usize,
    patience: Duration,
    tally: &Arc<Tally>,
    runtime: &Handle,
) -> Vec<Task> {
    let start = |index| {
        let peer = Peer {
            index,
            address: server.address,
            tls: place.tls,
            pids: server.pids.clone(),
            one_address: attack.one_address,
            tally: tally.clone(),
        };
        let (play, tally) = (attack.play, tally.clone());
        runtime.spawn(async move {
            let seen = timeout(patience, play(peer)).await.ok();
            tally.over.fetch_add(1, Ordering::Relaxed);
            seen
        })
    };
    (0..count).map(start).collect()
}

/// Waits until the server has closed the sockets of the attackers, and returns how long that took.
fn back(server: &Server, before: Option<usize>, samples: &mut Samples) -> Option<Duration> {
    let start = Instant::now();
    // Unknown for another user's process: then nothing can be said.
    let Some(before) = before else { return Some(Duration::ZERO) };
    while start.elapsed() < BACK_MOST {
        if server.descriptors().is_none_or(|now| now <= before + BACK_SPARE) {
            return Some(start.elapsed());
        }
        thread::sleep(SAMPLE);
        samples.take(server);
    }
    None
}

/// The server's memory over time.
struct Samples {
    began: Instant,
    series: Vec<(f64, u64)>,
    /// The most descriptors, if they are counted: that takes time with thousands of them.
    descriptors: Option<usize>,
}

impl Samples {
    fn take(&mut self, server: &Server) {
        if let Some(memory) = server.memory() {
            self.series.push((self.began.elapsed().as_secs_f64(), memory));
        }
        if let Some(most) = &mut self.descriptors {
            *most = server.descriptors().unwrap_or(0).max(*most);
        }
    }

    fn peak(&self) -> u64 {
        self.series.iter().map(|(_, memory)| *memory).max().unwrap_or(0)
    }
}

/// The median and the 99th percentile of the kept connection's requests, in microseconds.
fn percentiles<'r>(requests: impl Iterator<Item = &'r Request>) -> (u64, u64) {
    // 100 s with three digits: constants that the crate allows.
    let mut histogram = Histogram::<u64>::new_with_max(100_000_000, 3).expect("valid bounds");
    for request in requests.filter(|it| !it.fresh) {
        histogram.saturating_record(request.took.as_micros() as u64);
    }
    (histogram.value_at_quantile(0.5), histogram.value_at_quantile(0.99))
}
