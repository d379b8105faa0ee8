//! Counts the words of each message over a websocket, at ws://127.0.0.1:8080/ or the address that is given.

use http::{Request, Response};
use portcullis_tokio::{Body, Message, Upgrade, WebSocket, refuse_upgrade, serve};
use tokio::net::TcpListener;

async fn open(request: Request<Body>) -> Response<String> {
    // Only pages of this server may open one, so that no other site uses the cookies of a user.
    match Upgrade::new(&request).and_then(Upgrade::same_origin) {
        Ok(upgrade) => upgrade.message_limit(10_000).accept(count),
        Err(bad) => refuse_upgrade(bad),
    }
}

async fn count(mut websocket: WebSocket) {
    while let Some(Ok(message)) = websocket.receive().await {
        let Message::Text(text) = message else {
            // 1003: this kind of data can't be accepted. The end of the websocket is no concern here.
            let _ = websocket.close(1003, "text only").await;
            return;
        };
        let words = text.split_whitespace().count();
        if websocket.send(words.to_string()).await.is_err() {
            return;
        }
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, open).await?;
    Ok(())
}
