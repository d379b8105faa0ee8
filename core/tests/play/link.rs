//! What lies between a peer and the connection's bytes: nothing, or TLS.

/// A client's side of a transport.
pub(crate) trait Link {
    /// What has to go over the wire for `plaintext`.
    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8>;
    /// Takes bytes off the wire; the plaintext that is complete with them.
    fn open(&mut self, bytes: &[u8]) -> Vec<u8>;
    /// What it has to say of its own accord, such as a part of a handshake.
    fn flight(&mut self) -> Vec<u8>;
    /// Plaintext cannot be sent yet.
    fn is_shaking_hands(&self) -> bool;
    /// What has to go over the wire to say that no more follows.
    fn close(&mut self) -> Vec<u8>;
}

/// Without TLS.
pub(crate) struct Plain;

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
