//! Takes files of up to a gigabyte, and writes them to a folder piece by piece as they arrive:
//! `cargo run -p portcullis-axum --example upload -- FOLDER`, and then `curl -T FILE http://127.0.0.1:8080/NAME`.

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::put;
use futures_util::StreamExt;
use portcullis_axum::BodyLimit;
use std::ffi::OsStr;
use std::io;
use std::path::{self, Component, PathBuf};
use std::sync::Arc;
use tempfile::NamedTempFile;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

/// Nothing is read from the client while a piece is written, so a slow disk needs no memory.
async fn save(folder: &path::Path, name: &OsStr, content: Body) -> io::Result<u64> {
    // A handler is dropped when its client has gone, and then this file is removed.
    let unfinished = NamedTempFile::new_in(folder)?;
    let mut file = File::from_std(unfinished.reopen()?);
    let mut content = content.into_data_stream();
    let mut length = 0;
    while let Some(piece) = content.next().await {
        let piece = piece.map_err(io::Error::other)?;
        length += piece.len() as u64;
        file.write_all(&piece).await?;
    }
    file.flush().await?;
    unfinished.persist_noclobber(folder.join(name)).map_err(|failed| failed.error)?;
    Ok(length)
}

async fn upload(
    Path(name): Path<String>,
    State(folder): State<Arc<PathBuf>>,
    content: Body,
) -> Result<String, (StatusCode, String)> {
    let mut parts = path::Path::new(&name).components();
    let (Some(Component::Normal(name)), None) = (parts.next(), parts.next()) else {
        return Err((StatusCode::BAD_REQUEST, "this is no name of a file\n".to_owned()));
    };
    match save(&folder, name, content).await {
        Ok(length) => Ok(format!("{length} bytes\n")),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err((StatusCode::CONFLICT, "there is such a file\n".to_owned()))
        }
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n"))),
    }
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let folder = Arc::new(PathBuf::from(args.next().unwrap_or_else(|| ".".to_owned())));
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let limited = put(upload).layer(BodyLimit::bytes(1 << 30));
    let app = Router::new().route("/{name}", limited).with_state(folder);
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    portcullis_tokio::serve(listener, app).await?;
    Ok(())
}
