//! Answers every request with a greeting, on 127.0.0.1:8080 or the address that is given.

use async_std::net::TcpListener;
use async_std::task;
use http::{Request, Response};
use http_body_util::Full;
use portcullis_async_std::{Body, Config, serve};

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"Hello, world!"))
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    task::block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let report = serve(listener, hello).config(Config::strict()).await?;
        println!("{} finished, {} cut", report.finished, report.cut);
        Ok(())
    })
}
