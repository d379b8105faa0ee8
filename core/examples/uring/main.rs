//! A driver on completions: io_uring of Linux, through `compio`. What there is to know about it is in
//! `drive.rs`.
//!
//!     cargo run -p portcullis --example uring -- 127.0.0.1:8080 keep_alive_timeout=2s

#[cfg(target_os = "linux")]
mod drive;
#[cfg(target_os = "linux")]
#[path = "../support/mod.rs"]
mod support;

#[cfg(target_os = "linux")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    drive::run()
}

#[cfg(not(target_os = "linux"))]
fn main() {
    eprintln!("io_uring is a part of Linux");
}
