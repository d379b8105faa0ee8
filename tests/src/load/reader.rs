//! Reads what comes back over one connection: answers, or messages.

use super::answer::{Answers, Step};
use super::echo::Echoes;
use super::{BadAnswer, Request};

/// Reads what comes back, piece by piece.
#[derive(Debug)]
pub(super) enum Reader {
    Answers(Answers),
    Echoes(Echoes),
}

impl Reader {
    /// For what comes back of `request`; an answer's body may have to have a certain length.
    pub(super) fn new(request: &Request, answer_length: Option<u64>) -> Self {
        match request.echo() {
            None => Reader::Answers(Answers::new(answer_length)),
            Some(message) => Reader::Echoes(Echoes::new(message.clone())),
        }
    }

    /// A new connection: what was held of the old one is void.
    pub(super) fn restart(&mut self) {
        match self {
            Reader::Answers(answers) => answers.restart(),
            Reader::Echoes(echoes) => echoes.restart(),
        }
    }

    /// Whether requests may be sent.
    pub(super) fn is_open(&self) -> bool {
        match self {
            Reader::Answers(_) => true,
            Reader::Echoes(echoes) => echoes.is_open(),
        }
    }

    /// Reads up to the end of one answer, or of the bytes. Call again with the rest until all is used.
    pub(super) fn step(&mut self, bytes: &[u8]) -> Result<Step, BadAnswer> {
        match self {
            Reader::Answers(answers) => answers.step(bytes),
            Reader::Echoes(echoes) => echoes.step(bytes),
        }
    }
}
