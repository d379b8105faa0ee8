//! Answers on a Unix socket, at the path that is given: `cargo run -p portcullis-tokio --example unix_socket --
//! /tmp/hello.sock`, and then `curl --unix-socket /tmp/hello.sock http://localhost/`.

#[cfg(unix)]
#[tokio::main]
async fn main() -> std::io::Result<()> {
    use http::{Request, Response};
    use portcullis_tokio::{Body, serve};
    use tokio::net::UnixListener;

    async fn hello(_: Request<Body>) -> Response<String> {
        Response::new("Hello!\n".to_owned())
    }

    let path = std::env::args().nth(1).unwrap_or_else(|| "hello.sock".to_owned());
    let listener = UnixListener::bind(&path)?;
    println!("listening on unix:{path}");
    let server = serve(listener, hello).with_graceful_shutdown(async {
        // If the signal can't be heard, the server ends at once.
        let _ = tokio::signal::ctrl_c().await;
    });
    server.await?;
    // The system leaves the file, and nothing could bind to its path again.
    std::fs::remove_file(path)
}

#[cfg(not(unix))]
fn main() {
    println!("this system has no Unix sockets");
}
