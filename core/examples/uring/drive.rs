//! One task for each connection, all on one thread. The differences to readiness:
//!
//! - An operation in flight belongs to the kernel, and so does its buffer. It stays in flight while
//!   time passes and other things happen. So the loop begins all operations that are wanted and not
//!   in flight, and then waits for the first one to complete.
//! - So a write owns a copy of the outgoing bytes, and [`Connection::sent`] is called when it
//!   completes.
//! - A read takes a buffer from a pool of the kernel only when there is something to read. An idle
//!   connection has no buffer.
//! - A read cannot be cancelled without losing bytes. Its result is kept until the connection wants
//!   to read.

use crate::support;
use crate::support::app::App;
use compio::BufResult;
use compio::buf::IoBuf;
use compio::driver::{BufferRef, ProactorBuilder};
use compio::io::{AsyncReadManaged, AsyncWrite};
use compio::net::{TcpSocket, TcpStream};
use compio::runtime::{RuntimeBuilder, spawn};
use compio::time::{sleep, sleep_until};
use portcullis::{CloseReason, Config, Connection, PeerClose, Tick};
use socket2::SockRef;
use std::error::Error;
use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::mem::replace;
use std::net::{Shutdown, SocketAddr};
use std::num::NonZero;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

/// Connections at a time. Further ones wait in the kernel's queue.
const MOST: usize = 10_000;
/// The pool of read buffers, shared by all connections: their number, and the bytes of each.
const BUFFERS: NonZero<u16> = NonZero::new(64).expect("not zero");
const BUFFER: usize = 16 << 10;
/// Slices that are copied together for one write.
const SLICES: usize = 16;
/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

pub(crate) fn run() -> Result<(), Box<dyn Error>> {
    let (address, config) = support::arguments()?;
    let mut driver = ProactorBuilder::new();
    driver.buffer_pool_size(BUFFERS).buffer_pool_buffer_len(BUFFER);
    let runtime = RuntimeBuilder::new().with_proactor(driver).build()?;
    Ok(runtime.block_on(listen(address, config))?)
}

async fn listen(address: SocketAddr, config: Arc<Config>) -> io::Result<()> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4().await?,
        SocketAddr::V6(_) => TcpSocket::new_v6().await?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address).await?;
    let listener = socket.listen(BACKLOG).await?;
    println!("listening on http://{}", listener.local_addr()?);
    // Each connection holds a clone, so that connections are counted.
    let places = Rc::new(());
    loop {
        // No connection can delay its end, so a place will become free.
        while Rc::strong_count(&places) > MOST {
            sleep(Duration::from_millis(10)).await;
        }
        match listener.accept().await {
            Ok((socket, _)) => {
                let (config, place) = (config.clone(), places.clone());
                let task = async move {
                    serve(&socket, config).await;
                    let _ = socket.close().await;
                    drop(place);
                };
                spawn(task).detach();
            }
            // Most often no descriptors are left, and some will be freed soon.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

/// An operation, if it is in flight.
type Flight<'o, T> = Option<Pin<Box<dyn Future<Output = T> + 'o>>>;

/// The operation that completed first.
enum Done {
    /// `None` is the end of the input.
    Read(io::Result<Option<BufferRef>>),
    Written(io::Result<usize>),
    Alarm,
    /// The connection has yielded, and has more work.
    Yielded,
}

async fn serve(socket: &TcpStream, config: Arc<Config>) {
    let start = Instant::now();
    let clock = || Tick::ZERO.after(start.elapsed());
    let gone = CloseReason::Peer(PeerClose::Reset);
    // Never read more than the connection takes at once.
    let size = BUFFER.min(config.receive_buffer_limit() as usize);
    let (mut connection, mut app) = (Connection::new(config, clock()), App::default());
    let (mut reading, mut writing, mut alarm) = (None, None, None);
    let mut armed = Tick::ZERO;
    let mut received: Option<BufferRef> = None;
    let mut shut_down = false;
    let _ = socket.set_nodelay(true);
    loop {
        // 1. Events that need no new bytes, and bytes that were read while the connection did not
        //    want any.
        if connection.status().resume {
            app.take(clock(), connection.resume(clock()));
        }
        if let Some(mut bytes) = received.take_if(|_| connection.status().read) {
            match connection.receive(clock(), &mut bytes) {
                Ok(events) => app.take(clock(), events),
                Err(misuse) => unreachable!("the connection wants to read, but refused: {misuse}"),
            }
        }
        // 2. Begin the operations that are wanted and not in flight.
        let status = connection.status();
        if status.closed().is_some() {
            break;
        }
        if status.write && writing.is_none() {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = connection.outgoing(&mut slices);
            let mut bytes = Vec::new();
            slices[..count].iter().for_each(|slice| bytes.extend_from_slice(slice));
            writing = Some(begin(write(socket, bytes)));
        }
        if status.wants_shutdown()
            && !replace(&mut shut_down, true)
            && SockRef::from(socket).shutdown(Shutdown::Write).is_err()
        {
            connection.abort(clock(), gone);
            continue;
        }
        if status.read && reading.is_none() {
            reading = Some(begin(read(socket, size)));
        }
        // 3. Arm the timer again if the deadline is earlier, or if the timer has fired.
        if let Some((at, _)) = connection.deadline()
            && (at < armed || alarm.is_none())
        {
            let at_instant = start.checked_add(Duration::from_nanos(at.as_nanos()));
            alarm = at_instant.map(|instant| begin(sleep_until(instant)));
            armed = at;
        }
        // 4. Wait for the first completion.
        let mut yielded = false;
        let done = poll_fn(|cx| {
            if let Poll::Ready(written) = land(&mut writing, cx) {
                return Poll::Ready(Done::Written(written));
            }
            if let Poll::Ready(read) = land(&mut reading, cx) {
                return Poll::Ready(Done::Read(read));
            }
            if connection.status().has_work {
                // Yield to other connections, then go on without waiting for anything.
                if replace(&mut yielded, true) {
                    return Poll::Ready(Done::Yielded);
                }
                cx.waker().wake_by_ref();
            }
            land(&mut alarm, cx).map(|()| Done::Alarm)
        });
        match done.await {
            Done::Written(Ok(bytes)) if bytes > 0 => connection.sent(clock(), bytes),
            Done::Read(Ok(None)) => app.take(clock(), connection.receive_eof(clock())),
            Done::Read(Ok(bytes)) => received = bytes,
            // All buffers of the pool are in use. The connections that hold them will give them
            // back.
            Done::Read(Err(error)) if error.kind() == ErrorKind::ResourceBusy => {}
            Done::Written(_) | Done::Read(Err(_)) => connection.abort(clock(), gone),
            // Let time pass last: no other operation has completed.
            Done::Alarm => connection.tick(clock()),
            Done::Yielded => {}
        }
    }
    // Closed. A write in flight is cancelled. A read in flight may hold a buffer of the pool, so
    // shut the direction down and wait for the read to end.
    drop((writing, received));
    let socket_options = SockRef::from(socket);
    if connection.status().is_cut_off() {
        let _ = socket_options.set_linger(Some(Duration::ZERO));
    }
    if let Some(reading) = reading
        && socket_options.shutdown(Shutdown::Read).is_ok()
    {
        let _ = reading.await;
    }
}

async fn read(mut socket: &TcpStream, size: usize) -> io::Result<Option<BufferRef>> {
    socket.read_managed(size).await
}

async fn write(mut socket: &TcpStream, bytes: impl IoBuf) -> io::Result<usize> {
    let BufResult(written, _) = socket.write(bytes).await;
    written
}

fn begin<'o, T>(operation: impl Future<Output = T> + 'o) -> Pin<Box<dyn Future<Output = T> + 'o>> {
    Box::pin(operation)
}

/// The result of the operation, once it has completed.
fn land<T>(flight: &mut Flight<'_, T>, cx: &mut Context<'_>) -> Poll<T> {
    let Some(operation) = flight else { return Poll::Pending };
    let done = ready!(operation.as_mut().poll(cx));
    *flight = None;
    Poll::Ready(done)
}
