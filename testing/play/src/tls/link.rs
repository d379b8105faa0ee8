//! TLS between a peer and a connection, for the players that `play` and the fuzz targets share.

use crate::play::link::Link;
use portcullis::rustls::ClientConnection;
use std::io::{Read, Write};

impl Link for ClientConnection {
    fn seal(&mut self, plaintext: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        for piece in plaintext.chunks(16_384) {
            self.writer().write_all(piece).expect("the buffer has room for a record");
            sealed.extend(self.flight());
        }
        sealed
    }

    fn open(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut plaintext = Vec::new();
        while !bytes.is_empty() {
            self.read_tls(&mut bytes).expect("reading from memory does not fail");
            let state = self.process_new_packets().expect("the server's records are good");
            let mut piece = vec![0; state.plaintext_bytes_to_read()];
            self.reader().read_exact(&mut piece).expect("rustls has as much plaintext");
            plaintext.extend(piece);
        }
        plaintext
    }

    fn flight(&mut self) -> Vec<u8> {
        let mut flight = Vec::new();
        while self.wants_write() {
            self.write_tls(&mut flight).expect("writing to memory does not fail");
        }
        flight
    }

    fn is_shaking_hands(&self) -> bool {
        self.is_handshaking()
    }

    fn close(&mut self) -> Vec<u8> {
        self.send_close_notify();
        self.flight()
    }
}
