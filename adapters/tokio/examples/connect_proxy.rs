//! A proxy for CONNECT (RFC 9110 9.3.6): `curl -p -x http://127.0.0.1:3000 https://example.com`. A client may also
//! speak HTTP/2 with it, and have many tunnels on one connection.
//!
//! Anybody who reaches the port may connect to anything that this machine reaches. So it listens on loopback only.
//! Before you let others in, check who asks, and which targets they may have.

use http::{Method, Request, Response, StatusCode};
use portcullis_tokio::{Body, serve, upgrade};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

async fn proxy(mut request: Request<Body>) -> Response<String> {
    let target = request.uri().authority().map(ToString::to_string);
    let (&Method::CONNECT, Some(target)) = (request.method(), target) else {
        return answer(StatusCode::METHOD_NOT_ALLOWED, "This proxy knows CONNECT only.\n");
    };
    // The client is told at once if there is nothing to be connected with.
    let mut far = match TcpStream::connect(&target).await {
        Ok(far) => far,
        Err(error) => return answer(StatusCode::BAD_GATEWAY, &format!("{target}: {error}\n")),
    };
    let tunnel = upgrade::on(&mut request);
    // The tunnel outlives this handler, whose answer begins it.
    tokio::spawn(async move {
        let Ok(mut near) = tunnel.await else { return };
        match copy_bidirectional(&mut near, &mut far).await {
            Ok((sent, received)) => println!("{target}: {sent} bytes sent, {received} received"),
            Err(error) => println!("{target}: {error}"),
        }
    });
    Response::default()
}

fn answer(status: StatusCode, text: &str) -> Response<String> {
    let mut response = Response::new(text.to_owned());
    *response.status_mut() = status;
    response
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on {}", listener.local_addr()?);
    serve(listener, proxy).await?;
    Ok(())
}
