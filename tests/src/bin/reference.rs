//! Runs one of the servers that portcullis is compared with, or portcullis with the same routes.

use std::process::ExitCode;

use clap::Parser;
use portcullis_tests::reference::{self, Options};

/// A small server for comparison: GET /hello, GET /bytes/N, POST /sink
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    match reference::serve(&Arguments::parse().options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("reference: {error}");
            ExitCode::FAILURE
        }
    }
}
