//! Answers over HTTPS, with the certificate chain and the key of two PEM files:
//! `cargo run -p portcullis-tokio --example https -- chain.pem key.pem`, and an address if it is another one than
//! 127.0.0.1:8443. HTTP/2 and HTTP/1.1 are chosen by ALPN.

use http::{Request, Response};
use portcullis_tokio::portcullis::rustls::ServerConfig;
use portcullis_tokio::portcullis::rustls::pki_types::pem::PemObject;
use portcullis_tokio::portcullis::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use portcullis_tokio::{Body, Config, serve};
use std::env::args;
use std::error::Error;
use std::sync::Arc;
use tokio::net::TcpListener;

async fn hello(request: Request<Body>) -> Response<String> {
    Response::new(format!("Hello over {:?}!\n", request.version()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut args = args().skip(1);
    let (Some(chain), Some(key)) = (args.next(), args.next()) else {
        return Err("two arguments are needed: the files of the chain and of the key".into());
    };
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8443".to_owned());
    let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<_, _>>()?;
    let key = PrivateKeyDer::from_pem_file(key)?;
    let tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    let config = Config::builder().tls(Arc::new(tls)).build()?;
    let listener = TcpListener::bind(address).await?;
    println!("listening on https://{}", listener.local_addr()?);
    serve(listener, hello).config(config).await?;
    Ok(())
}
