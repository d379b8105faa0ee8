//! A tunnel in the driver's hands: passes on what the application has written.

use super::{Pipe, is_named};
use crate::allowance::{Allowance, PIECE};
use crate::error::BodyError;
use crate::record::Record;
use crate::reply;
use crate::work::Outcome;
use http::response::Parts;
use http::{HeaderValue, StatusCode, header};
use portcullis::{Misuse, ResetReason, Sent, Stream};
use std::sync::Arc;
use std::task::Context;

/// A request that has become a tunnel.
pub(crate) struct Tunneling {
    pipe: Arc<Pipe>,
    /// The application was told that the peer has ended its direction.
    has_ended: bool,
}

impl Tunneling {
    /// Answers with the head that accepts, if the application still wants the tunnel.
    ///
    /// # Errors
    /// [`Misuse::Status`] if nobody wants it, [`Misuse::NotUpgradable`] for a protocol that the client has not named,
    /// and those of [`Stream::accept_tunnel`].
    pub(crate) fn begin(
        stream: &mut Stream<'_>,
        pipe: Arc<Pipe>,
        answer: &mut Parts,
    ) -> Result<Self, Misuse> {
        if pipe.is_left() {
            return Err(Misuse::Status);
        }
        let fields = &mut answer.headers;
        if fields.get(header::CONTENT_LENGTH) == Some(&HeaderValue::from_static("0")) {
            // Frameworks add it, although there is no content to have a length.
            fields.remove(header::CONTENT_LENGTH);
        }
        let switches = answer.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !is_named(pipe.named(), fields) {
            return Err(Misuse::NotUpgradable);
        }
        reply::accept_tunnel(stream, answer.status, fields)?;
        pipe.open();
        Ok(Tunneling { pipe, has_ended: false })
    }

    /// Where the bytes go.
    pub(crate) fn pipe(&self) -> &Pipe {
        &self.pipe
    }

    /// Bytes that wait for the connection.
    pub(crate) fn memory(&self) -> usize {
        self.pipe.memory()
    }

    /// The application was told that the peer has ended its direction.
    pub(crate) fn input_ended(&mut self) {
        self.has_ended = true;
    }

    /// The tunnel was reset.
    pub(crate) fn reset(&self, reason: ResetReason) {
        self.pipe.end(BodyError::Reset(reason));
    }

    /// Passes on what the application has written, as far as there is room.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut Stream<'_>,
        allowance: &mut Allowance,
        record: &mut Record,
    ) -> Outcome {
        use super::pipe::Next;
        loop {
            let done = match self.pipe.next(cx) {
                Next::Nothing => break,
                Next::Leave => stream.close_tunnel(),
                Next::Reset => stream.reset(),
                Next::Finish => {
                    let finished = stream.finish(None);
                    if finished.is_ok() {
                        self.pipe.finished();
                        continue;
                    }
                    finished
                }
                Next::Send(mut bytes) => {
                    let before = bytes.len();
                    let sent = stream.send(&mut bytes);
                    record.sent(before - bytes.len());
                    match sent {
                        Ok(Sent::All) => {
                            if allowance.is_spent() {
                                return Outcome::Yields;
                            }
                            allowance.work(PIECE);
                            continue;
                        }
                        Ok(Sent::Part) => {
                            self.pipe.put_back(bytes);
                            return Outcome::Waits;
                        }
                        Err(misuse) => Err(misuse),
                    }
                }
            };
            if let Err(misuse) = done
                && misuse != Misuse::UnknownStream
            {
                tracing::error!(%misuse, "a tunnel cannot go on");
            }
            // An event tells of the end of a stream that is gone.
            return if done == Err(Misuse::UnknownStream) { Outcome::Waits } else { Outcome::Over };
        }
        if self.has_ended && self.pipe.is_finished() { Outcome::Over } else { Outcome::Waits }
    }
}

impl Drop for Tunneling {
    fn drop(&mut self) {
        self.pipe.end(BodyError::Closed);
    }
}
