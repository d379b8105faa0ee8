//! Reads the answers, or the messages, of one connection.

use super::answer::{Answers, Step};
use super::echo::Echoes;
use super::frames::Frames;
use super::{BadAnswer, Request};

/// Reads the answers, or the messages, of one connection in pieces.
#[derive(Debug)]
pub(super) enum Reader {
    Answers(Answers),
    Echoes(Echoes),
    Frames(Frames),
}

impl Reader {
    /// A reader for the answers to `request`, with bodies of `answer_length` if that is given.
    pub(super) fn new(request: &Request, answer_length: Option<u64>) -> Self {
        match request.echo() {
            None if request.is_http2() => Reader::Frames(Frames::default()),
            None => Reader::Answers(Answers::new(answer_length)),
            Some(message) => Reader::Echoes(Echoes::new(message.clone())),
        }
    }

    /// Starts over, for a new connection.
    pub(super) fn restart(&mut self) {
        match self {
            Reader::Answers(answers) => answers.restart(),
            Reader::Echoes(echoes) => echoes.restart(),
            Reader::Frames(frames) => *frames = Frames::default(),
        }
    }

    /// Whether requests may be sent.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Reader::Answers(_) => true,
            Reader::Echoes(echoes) => echoes.is_open(),
            Reader::Frames(frames) => frames.is_open(),
        }
    }

    /// Reads to the end of one answer, or of `bytes`. Call it again with the rest.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BadAnswer> {
        match self {
            Reader::Answers(answers) => answers.step(bytes),
            Reader::Echoes(echoes) => echoes.step(bytes),
            Reader::Frames(frames) => frames.step(bytes),
        }
    }
}
