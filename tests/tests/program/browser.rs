//! The demo's page and the status page in a browser: Chromium, driven by ChromeDriver.

use crate::place::{Place, tests};
use crate::support::{PATIENCE, Program};
use ::tokio::runtime::Handle;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use portcullis_testing::{needs, skip};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tempfile::TempDir;

tests! {
    everywhere:
        the_page_works_in_a_browser,
        the_status_page_shows_an_attack_that_is_dropped;
    tls:
        a_browser_does_all_on_one_connection_of_http2;
}

/// Colors that the browser's user prefers, by Chromium's numbers.
#[derive(Clone, Copy, Debug)]
enum Scheme {
    Dark = 0,
    Light = 1,
}

/// ChromeDriver as a child process, which ends with the test.
struct Driver {
    child: Child,
    url: String,
}

impl Driver {
    /// Starts ChromeDriver. It takes a port that is free with IPv6 and exits if another process has
    /// the same one with IPv4, so it is started until it finds one.
    fn start() -> Self {
        let begin = Instant::now();
        loop {
            if let Some(driver) = Driver::try_start() {
                return driver;
            }
            assert!(begin.elapsed() < PATIENCE, "ChromeDriver does not start");
        }
    }

    /// `None` if the process ends before it listens.
    fn try_start() -> Option<Self> {
        let mut child = Command::new("chromedriver")
            .args(["--port=0", "--log-level=SEVERE"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("ChromeDriver starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let port = stdout
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("successfully on port ")?.1.to_owned()));
        let mut driver = Driver { child, url: String::new() };
        driver.url = format!("http://127.0.0.1:{}", port?.trim_end_matches('.'));
        Some(driver)
    }

    /// Starts a browser with an empty profile that makes no requests of its own. `None` if the
    /// machine has no browser.
    async fn browser(&self, profile: &TempDir, scheme: Scheme) -> Option<Client> {
        let scheme = format!("--blink-settings=preferredColorScheme={}", scheme as u8);
        let profile = format!("--user-data-dir={}", profile.path().display());
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // The program makes self-signed certificates.
            "--ignore-certificate-errors",
            "--window-size=1240,1000",
            &profile,
            &scheme,
        ];
        let capabilities = json!({ "goog:chromeOptions": { "args": arguments } });
        let Value::Object(capabilities) = capabilities else { unreachable!("it is an object") };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        match builder.capabilities(capabilities).connect(&self.url).await {
            Ok(browser) => Some(browser),
            Err(error) if format!("{error:?}").contains("cannot find Chrome") => {
                skip("ChromeDriver finds no browser; to install one: apt-get install chromium");
                None
            }
            Err(error) => panic!("the browser does not start: {error:?}"),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Opens the program's page in a new browser and runs `use_it` on it. Returns false if the machine
/// has no browser.
fn browse(program: &Program, use_it: impl AsyncFnOnce(&Page)) -> bool {
    browse_at(program, "/", Scheme::Light, use_it)
}

/// The same for the page at `path`, with the colors of `scheme`.
fn browse_at(
    program: &Program,
    path: &str,
    scheme: Scheme,
    use_it: impl AsyncFnOnce(&Page),
) -> bool {
    if !needs("chromedriver", "apt-get install chromium-driver") {
        return false;
    }
    let runtime = ::tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let (driver, profile) = (Driver::start(), TempDir::new().expect("a folder"));
        let Some(browser) = driver.browser(&profile, scheme).await else { return false };
        let page = Page { browser };
        page.browser.goto(&program.url(path)).await.expect("the page opens");
        use_it(&page).await;
        page.browser.close().await.expect("it closes");
        true
    })
}

/// A page that is open.
struct Page {
    browser: Client,
}

impl Page {
    /// Sends a message with the page's form.
    async fn say(&self, text: &str) {
        let input = self.browser.find(Locator::Id("text")).await.expect("an input");
        input.clear().await.expect("cleared");
        input.send_keys(text).await.expect("typed");
        let button = self.browser.find(Locator::Css("#say button")).await.expect("a button");
        button.click().await.expect("pressed");
    }

    /// Waits until the page's log ends with `line`.
    async fn wait_for(&self, line: &str) {
        let start = Instant::now();
        loop {
            let log = self.run("return document.getElementById('log').textContent").await;
            let log = log.as_str().expect("text");
            if log.lines().last() == Some(line) {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "no {line:?} in {log:?}");
            ::tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Waits until the script returns true. If that takes too long, the page's text is shown.
    async fn wait_until(&self, what: &str, script: &str) {
        let start = Instant::now();
        let script = format!(
            "const text = (id) => document.getElementById(id).textContent.replaceAll(/(\\d),(\\d)/g, '$1$2'); {script}"
        );
        while self.run(&script).await != true {
            let text = self.run("return document.body.innerText").await;
            assert!(start.elapsed() < PATIENCE, "{what} is not shown: {text}");
            ::tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn run(&self, script: &str) -> Value {
        self.browser.execute(script, vec![]).await.expect("the script runs")
    }

    /// Runs the content of an async function, and returns what it returns, or its error as text.
    async fn run_to_end(&self, content: &str) -> Value {
        let call =
            format!("(async () => {{ {content} }})().then(done, (error) => done(`${{error}}`))");
        self.run_until_done(&call).await
    }

    /// Runs a script and returns what it passes to `done`.
    async fn run_until_done(&self, script: &str) -> Value {
        let script = format!("const done = arguments[0]; {script}");
        self.browser.execute_async(&script, vec![]).await.expect("the script runs")
    }
}

fn the_page_works_in_a_browser(place: Place) {
    let program = Program::with(place, &["websocket_deflate=on"]);
    let done = browse(&program, async |page| {
        assert_eq!(page.browser.title().await.expect("a title"), "portcullis");
        page.say("gr\u{fc}\u{df}e \u{20ac}").await;
        page.wait_for("gr\u{fc}\u{df}e \u{20ac}").await;
        let long = "compress me ".repeat(100) + "now";
        page.say(&long).await;
        page.wait_for(&long).await;
        let extensions = page.run("return socket.extensions").await;
        assert!(
            extensions.as_str().expect("text").starts_with("permessage-deflate"),
            "{extensions}"
        );
        let script = "
            const sent = new Uint8Array(1000000).map((_, place) => place * place % 251);
            socket.binaryType = 'arraybuffer';
            socket.addEventListener('message', (message) => {
                const got = new Uint8Array(message.data);
                done(got.length == sent.length && got.every((byte, place) => byte == sent[place]));
            }, { once: true });
            socket.send(sent);";
        assert_eq!(page.run_until_done(script).await, true, "a binary message comes back");
        page.run("socket.close(4001, 'bye')").await;
        page.wait_for("closed with 4001 ").await;

        let script = "
            const events = new EventSource('/events');
            events.onmessage = (event) => { if (event.data == '1') { events.close(); done('1') } };
            events.onerror = () => done('error');";
        assert_eq!(page.run_until_done(script).await, "1", "an event arrives");
        let script = "
            fetch('/echo', { method: 'POST', body: 'x'.repeat(300000) })
                .then((answer) => answer.text()).then((text) => done(text.length), done);";
        assert_eq!(page.run_until_done(script).await, 300_000, "an upload comes back");

        page.say("once more").await;
        page.wait_for("once more").await;
        program.signal("TERM");
        page.wait_for("closed with 1001 ").await;
    });
    if done {
        assert_eq!(program.wait(), Some(0));
    }
}

fn a_browser_does_all_on_one_connection_of_http2(place: Place) {
    let program = Program::with(place, &[]);
    let done = browse(&program, async |page| {
        let protocol = "return performance.getEntriesByType('navigation')[0].nextHopProtocol";
        assert_eq!(page.run(protocol).await, "h2");
        let accepted = "
            const status = await (await fetch('/status')).json();
            return status.accepted;";
        let before = page.run_to_end(accepted).await;

        let script = "
            const lengths = [...Array(100).keys()].map((number) => number * 100);
            const answers = lengths.map((length) => fetch(`/bytes/${length}`));
            const contents = answers.map(async (answer) => (await (await answer).text()).length);
            const got = await Promise.all(contents);
            return got.every((length, place) => length == lengths[place]);";
        assert_eq!(page.run_to_end(script).await, true, "many answers arrive");
        let script = "return (await (await fetch('/bytes/10000000')).text()).length";
        assert_eq!(page.run_to_end(script).await, 10_000_000, "a large answer arrives");
        let script = "
            const answer = await fetch('/bytes/1000', { method: 'HEAD' });
            return [answer.headers.get('content-length'), (await answer.text()).length];";
        assert_eq!(page.run_to_end(script).await, json!(["1000", 0]));

        let script = "
            const post = { method: 'POST', body: new Uint8Array(3000000) };
            return await (await fetch('/sink', post)).text();";
        assert_eq!(page.run_to_end(script).await, "3000000", "an upload arrives");
        // Content that a page makes as it goes, which Chromium sends over HTTP/2 only.
        let script = "
            let left = 100;
            const body = new ReadableStream({ pull(content) {
                if (left-- > 0) content.enqueue(new Uint8Array(10000)); else content.close();
            }});
            const answer = await fetch('/sink', { method: 'POST', body, duplex: 'half' });
            return await answer.text();";
        assert_eq!(page.run_to_end(script).await, "1000000", "a stream arrives");

        let script = "
            const stop = new AbortController();
            const answer = await fetch('/bytes/1000000000000', { signal: stop.signal });
            await answer.body.getReader().read();
            stop.abort();
            return await (await fetch('/hello')).text();";
        assert_eq!(page.run_to_end(script).await, "Hello, world!", "after an answer is cancelled");

        // A websocket is a stream of the same connection (RFC 8441).
        page.say("hello").await;
        page.wait_for("hello").await;
        assert_eq!(page.run_to_end(accepted).await, before, "all on one connection");
        let script = "
            const all = performance.getEntriesByType('resource');
            return all.filter((entry) => entry.nextHopProtocol != 'h2').map((entry) => entry.name);";
        assert_eq!(page.run(script).await, json!([]), "all over HTTP/2");

        // An upload that is in progress when the program drains is answered.
        let script = "
            const body = new ReadableStream({ start(content) { window.content = content } });
            window.answer = fetch('/sink', { method: 'POST', body, duplex: 'half' });
            content.enqueue(new Uint8Array(1000));";
        page.run_to_end(script).await;
        program.wait_for("the upload arrives", |status| {
            status["phases"]["request_body"].as_u64() >= Some(1)
        });
        program.signal("TERM");
        page.wait_for("closed with 1001 ").await;
        let script = "
            content.enqueue(new Uint8Array(1000));
            content.close();
            return await (await answer).text();";
        assert_eq!(page.run_to_end(script).await, "2000", "the upload is answered");
    });
    if done {
        assert_eq!(program.wait(), Some(0));
    }
}

/// Opens connections whose heads never end, some at a time, until it is told to stop. Returns how many got a 408.
fn attack(program: &Program, stop: &AtomicBool) -> u64 {
    let mut dropped = 0;
    while !stop.load(Relaxed) {
        let heads: Vec<_> =
            (0..8).map(|_| program.begun("GET / HTTP/1.1\r\nHost: slow\r\n")).collect();
        for mut head in heads {
            assert_eq!(head.answer().status, 408);
            head.finish_sending();
            head.wait_until_closed();
            dropped += 1;
        }
    }
    dropped
}

fn the_status_page_shows_an_attack_that_is_dropped(place: Place) {
    let program = Program::with(place, &["request_head_timeout=1s"]);
    let done = browse_at(&program, "/status/", Scheme::Light, async |page| {
        page.wait_until("a live connection", "return text('link') == 'live'").await;
        page.wait_until("the state", "return text('state') == 'calm'").await;
        page.wait_until("a round trip", "return text('trip').endsWith(' ms')").await;
        page.wait_until("itself", "return text('rows') != ''").await;
        let none = "return text('closes') == 'none' || !text('closes').includes('request head')";
        page.wait_until("that nothing was dropped", none).await;

        // Heads that never end arrive, and their deadlines run down. They are dropped for that reason.
        let stop = AtomicBool::new(false);
        let dropped = std::thread::scope(|scope| {
            let attack = scope.spawn(|| attack(&program, &stop));
            let shown = async {
                page.wait_until("a deadline", r"return /request head, 0\.\d s/.test(text('rows'))")
                    .await;
                let hot = "return document.querySelector('#closes .new')?.textContent.startsWith('request head')";
                page.wait_until("that connections are dropped now", hot).await;
            };
            ::tokio::task::block_in_place(|| Handle::current().block_on(shown));
            stop.store(true, Relaxed);
            attack.join().expect("the attack ends")
        });
        let ended = format!(
            "return text('closes').includes('request head{dropped}')
                 && text('dropped').startsWith('{dropped} since the start')
                 && !text('rows').includes('request head')",
        );
        page.wait_until("the end of the attack", &ended).await;
        let drawn = "
            return [...document.querySelectorAll('canvas')].map((canvas) => {
                const pixels = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
                return new Set(new Uint32Array(pixels.buffer)).size;
            });";
        let colors = page.run(drawn).await;
        let colors: Vec<u64> = serde_json::from_value(colors).expect("numbers");
        assert!(colors.len() == 4 && colors.iter().all(|count| *count > 3), "drawn: {colors:?}");
        let light = page.run("return getComputedStyle(document.body).backgroundColor").await;
        assert_eq!(light, "rgb(246, 247, 249)");
        program.signal("TERM");
        page.wait_until("the end of the server", "return text('link').includes('lost')").await;
    });
    if done {
        assert_eq!(program.wait(), Some(0));
    }
}

#[test]
fn the_status_page_is_dark_for_those_who_prefer_that() {
    let program = Program::with(Place::USUAL, &[]);
    let _ = browse_at(&program, "/status/", Scheme::Dark, async |page| {
        let dark = page.run("return getComputedStyle(document.body).backgroundColor").await;
        assert_eq!(dark, "rgb(18, 21, 26)");
        page.wait_until("a live connection", "return text('link') == 'live'").await;
    });
}

#[test]
fn the_websocket_works_without_compression() {
    let program = Program::with(Place::USUAL, &[]);
    let _ = browse(&program, async |page| {
        page.say("hello").await;
        page.wait_for("hello").await;
        assert_eq!(page.run("return socket.extensions").await, "");
    });
}
