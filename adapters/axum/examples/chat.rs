//! A room where each client hears what the others say, over websockets:
//! `cargo run -p portcullis-axum --example chat`.

use axum::Router;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use futures_util::{SinkExt, StreamExt};
use portcullis_axum::ws::{Message, WebSocket, WebSocketUpgrade};
use tokio::net::TcpListener;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::broadcast::{Sender, channel};

/// What has been said. A client that reads slowly misses some of it, and holds nobody up.
type Room = Sender<String>;

async fn enter(ws: WebSocketUpgrade, State(room): State<Room>) -> Response {
    ws.max_message_size(10_000).on_upgrade(|socket| talk(socket, room))
}

async fn talk(socket: WebSocket, room: Room) {
    let mut heard = room.subscribe();
    let (mut sender, mut receiver) = socket.split();
    let hearing = async {
        loop {
            match heard.recv().await {
                Ok(said) if sender.send(Message::text(&said)).await.is_err() => break,
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => break,
            }
        }
    };
    let speaking = async {
        while let Some(Ok(message)) = receiver.next().await {
            if let Message::Text(text) = message {
                // Somebody hears it: at least this client.
                let _ = room.send(text.to_string());
            }
        }
    };
    tokio::select! {
        () = hearing => {}
        () = speaking => {}
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let app = Router::new().route("/chat", any(enter)).with_state(channel(100).0);
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}, for a websocket to /chat", listener.local_addr()?);
    portcullis_tokio::serve(listener, app).await?;
    Ok(())
}
