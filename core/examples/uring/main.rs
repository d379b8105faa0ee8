//! A driver on completions: Linux's io_uring, through `compio`. The explanation is in `drive.rs`.
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
    eprintln!("this example needs io_uring: run it on Linux");
}
