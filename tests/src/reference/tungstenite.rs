//! tokio-tungstenite, as in its example of an echo server.

use std::io;

use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::Error;

pub(super) async fn serve(listener: TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        // Errors of a connection are its client's fault and don't concern the others.
        tokio::spawn(async { drop(echo(stream).await) });
    }
}

async fn echo(stream: TcpStream) -> Result<(), Error> {
    let mut websocket = accept_async(stream).await?;
    while let Some(message) = websocket.next().await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            websocket.send(message).await?;
        }
    }
    Ok(())
}
