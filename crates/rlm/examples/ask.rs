//! Asks a question over files, and shows what happens meanwhile.
//!
//!     cargo run --release -p terraphim_rlm --example ask -- 'How often?' README.md
//!
//! The model is the configuration's: `UKERNEL_LLM_PROVIDER=openrouter UKERNEL_LLM_MODEL=...`.

use std::path::PathBuf;
use terraphim_rlm::trajectory::Live;
use terraphim_rlm::{Context, Problem, Query, RlmConfig, RlmError, TerraphimRlm};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Before a runtime is started: this program is also every VM it starts.
    terraphim_rlm::become_vm_if_asked();
    let runtime = tokio::runtime::Runtime::new()?;
    println!("{}", runtime.block_on(ask())?);
    Ok(())
}

async fn ask() -> Result<String, RlmError> {
    let mut words = std::env::args().skip(1);
    let question = words.next().unwrap_or_default();
    let files: Vec<PathBuf> = words.map(PathBuf::from).collect();
    let config = RlmConfig::from_layers(None, std::env::vars())?;
    let context = Context::files(&files, config.max_context_bytes)?;
    let rlm = TerraphimRlm::new(config).await?;
    let mut running = rlm.stream(Query {
        question,
        context,
        ..Query::default()
    });
    let mut live = Live::new(false);
    while let Some(record) = running.events.recv().await {
        if let Some(line) = live.line(&record) {
            eprintln!("{line}");
        }
    }
    let answered = running
        .answer
        .await
        .map_err(|error| RlmError::internal(Problem::of(error)))?;
    rlm.stop().await;
    Ok(answered?.answer)
}
