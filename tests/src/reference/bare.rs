//! The floor: a loop that knows no more of HTTP than where a head ends.

use std::io;

use memchr::memmem::Finder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\n\
    content-type: text/plain\r\n\
    content-length: 13\r\n\
    date: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n\
    Hello, world!";

/// What ends a head.
const END: &[u8] = b"\r\n\r\n";

/// What one connection reads at once, and the longest head.
const BUFFER: usize = 8 << 10;

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // The client's doings: a connection that fails is over, and no one else is concerned.
        tokio::spawn(async { drop(answer(stream).await) });
    }
}

/// Answers every head, those of one read in one write, until the client closes or a head does not fit.
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
