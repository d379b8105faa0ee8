//! Answers every request with a greeting, on 127.0.0.1:8080 or the address that is given.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_tokio::{Body, Config, serve};
use tokio::net::TcpListener;

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"Hello, world!"))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let report = serve(listener, hello).config(Config::strict()).await?;
    println!("{} finished, {} cut", report.finished, report.cut);
    Ok(())
}
