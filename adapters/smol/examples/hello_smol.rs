//! Answers every request with a greeting, on 127.0.0.1:8080 or the address that is given.

use http::{Request, Response};
use http_body_util::Full;
use portcullis_smol::{Body, Config, serve_on};
use smol::Executor;
use smol::net::TcpListener;
use std::sync::Arc;

async fn hello(_: Request<Body>) -> Response<Full<&'static [u8]>> {
    Response::new(Full::new(b"Hello, world!"))
}

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    // Everything runs on this thread; more threads may run the same executor.
    let executor = Arc::new(Executor::new());
    smol::block_on(executor.run(async {
        let listener = TcpListener::bind(address).await?;
        println!("listening on http://{}", listener.local_addr()?);
        let server = serve_on(executor.clone(), listener, hello).config(Config::strict());
        let report = server.await?;
        println!("{} finished, {} cut", report.finished, report.cut);
        Ok(())
    }))
}
