//! The lower bound: a loop that only finds the ends of heads.

use std::io;

use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/plain\r\n\
    content-length: 13\r\n\
    date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n\
    Hello, world!";

/// The end of a head.
const END: &[u8] = b"\r\n\r\n";

/// The size of a read, and of the longest head.
const BUFFER: usize = 8 << 10;

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // Errors of a connection are its client's fault and don't concern the others.
        tokio::spawn(async { drop(answer(stream).await) });
    }
}

/// Answers every head until the client closes or a head does not fit. The answers to one read go
/// out in one write.
async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let end = Finder::new(END);
    let mut buffer = vec![0; BUFFER];
    let mut filled = 0;
    let mut answers = Vec::new();
    loop {
        let count = stream.read(&mut buffer[filled..]).await?;
        if count == 0 {
            return Ok(());
        }
        filled += count;
        let mut answered = 0;
        while let Some(at) = end.find(&buffer[answered..filled]) {
            answered += at + END.len();
            answers.extend_from_slice(ANSWER);
        }
        buffer.copy_within(answered..filled, 0);
        filled -= answered;
        stream.write_all(&answers).await?;
        answers.clear();
    }
}
