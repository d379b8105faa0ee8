//! What systemd passes to the program and is told by it: sockets that listen already (LISTEN_FDS), and when the
//! program is ready, reloads and stops (`Type=notify-reload`). Without systemd nothing of this happens.

use crate::listen::Bound;
use listenfd::ListenFd;
use sd_notify::NotifyState;
use std::io;

/// The sockets that systemd has opened for the program, for socket activation. They do not block.
///
/// # Errors
/// One of them does not listen, or not for TCP or a Unix socket.
pub(crate) fn sockets() -> Result<Vec<Bound>, String> {
    let mut passed = ListenFd::from_env();
    (0..passed.len())
        .map(|place| {
            let socket = socket(&mut passed, place);
            socket.map_err(|error| format!("cannot use the socket {place} of systemd: {error}"))
        })
        .collect()
}

fn socket(passed: &mut ListenFd, place: usize) -> io::Result<Bound> {
    if let Ok(Some(listener)) = passed.take_tcp_listener(place) {
        listener.set_nonblocking(true)?;
        return Ok(Bound::Tcp(listener));
    }
    let listener = passed.take_unix_listener(place)?.ok_or(io::ErrorKind::NotFound)?;
    listener.set_nonblocking(true)?;
    Ok(Bound::Unix(listener))
}

/// The program accepts connections.
pub(crate) fn tell_ready() {
    tell(&[NotifyState::Ready]);
}

/// The program reads its files again; [`tell_ready`] says that it has.
pub(crate) fn tell_reloading() {
    // systemd tells by the time which of several reloads this is.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        tell(&[NotifyState::Reloading, now]);
    }
}

/// The program stops.
pub(crate) fn tell_stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd cannot be told how the program is");
    }
}
