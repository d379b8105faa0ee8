//! The transport between a peer and the connection: plaintext or TLS.

/// A client's side of a transport.
pub trait Link {
    /// The bytes on the wire for `plaintext`.
    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8>;
    /// Takes bytes off the wire, and returns the plaintext that they complete.
    fn open(&mut self, bytes: &[u8]) -> Vec<u8>;
    /// Bytes that it sends by itself, such as a part of a handshake.
    fn flight(&mut self) -> Vec<u8>;
    /// Whether plaintext cannot be sent yet.
    fn is_shaking_hands(&self) -> bool;
    /// The bytes on the wire that announce the end.
    fn close(&mut self) -> Vec<u8>;
}

/// Plaintext, without TLS.
pub struct Plain;

impl Link for Plain {
    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        plaintext.to_vec()
    }

    fn open(&mut self, bytes: &[u8]) -> Vec<u8> {
        bytes.to_vec()
    }

    fn flight(&mut self) -> Vec<u8> {
        Vec::new()
    }

    fn is_shaking_hands(&self) -> bool {
        false
    }

    fn close(&mut self) -> Vec<u8> {
        Vec::new()
    }
}
