//! A tower service with layers of tower: at most ten requests are worked on at a time, and none for longer than a
//! second. Errors of the layers become answers.

use http::{Request, Response, StatusCode};
use portcullis_tokio::{Body, serve};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tower::timeout::error::Elapsed;
use tower::{BoxError, ServiceBuilder, service_fn};

/// Takes as many milliseconds as the path says.
async fn wait(request: Request<Body>) -> Result<Response<String>, Infallible> {
    let milliseconds = request.uri().path()[1..].parse().unwrap_or(0);
    sleep(Duration::from_millis(milliseconds)).await;
    Ok(Response::new("done\n".to_owned()))
}

/// What the client is told. The driver would log other errors, and answer them with 500.
fn explain(error: BoxError) -> Result<Response<String>, BoxError> {
    if !error.is::<Elapsed>() {
        return Err(error);
    }
    let mut answer = Response::new("it took too long\n".to_owned());
    *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    Ok(answer)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let service = ServiceBuilder::new()
        .map_result(|answer: Result<_, BoxError>| answer.or_else(explain))
        .concurrency_limit(10)
        .timeout(Duration::from_secs(1))
        .service(service_fn(wait));
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    serve(listener, service).await?;
    Ok(())
}
