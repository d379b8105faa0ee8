//! What the future of a function returns is asked for by itself.

use portcullis_tokio::FunctionAnswer;

pub async fn answer() {
    let _ = FunctionAnswer::new(async { "hello" }).await;
}
