//! `ukernel rlm` and `ukernel trace`.

use super::{BackendArg, GuestArg, seconds};
use clap::Subcommand;
use std::path::PathBuf;
use ukernel_image::ImageName;

/// `ukernel rlm`
#[derive(Debug, clap::Args)]
pub struct Rlm {
    /// The question.
    pub question: String,
    /// Files and folders it is about; `-` is standard input.
    #[arg(long, value_name = "FILE", num_args = 1..)]
    pub context: Vec<PathBuf>,
    /// Who answers: `ollama/NAME`, `openrouter/NAME`, `openai/NAME`, `anthropic/NAME`,
    /// `gemini/NAME`, `replay:FILE`, or a provider of the configuration.
    #[arg(long, value_name = "PROVIDER/NAME", env = "UKERNEL_MODEL")]
    pub model: Option<String>,
    /// Who answers queries of its code; the same if not given.
    #[arg(long, value_name = "PROVIDER/NAME", env = "UKERNEL_SUB_MODEL")]
    pub sub_model: Option<String>,
    /// Tokens of all prompts and replies together.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub budget_tokens: Option<u64>,
    /// Cost of all calls together, in US dollars. Needs prices in the configuration.
    #[arg(long, value_name = "X", value_parser = micro_dollars)]
    pub budget_usd: Option<u64>,
    /// Time of the whole run, in seconds.
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub budget_seconds: Option<std::time::Duration>,
    /// How deep models may ask models; 0 for none.
    #[arg(long, value_name = "N")]
    pub max_depth: Option<u32>,
    /// Which guest runs the code; the configuration's, else ukernel.
    #[arg(long, value_enum)]
    pub guest: Option<GuestArg>,
    /// Which image the Linux guest has, of those `ukernel image add` made.
    #[arg(long, value_name = "NAME")]
    pub image: Option<ImageName>,
    /// What runs the VM.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto, env = "UKERNEL_BACKEND")]
    pub backend: BackendArg,
    /// Write everything that happens to this file: for `ukernel trace`, and to be played again with
    /// `--model replay:FILE`.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
    /// JSON Schema that the answer has to follow.
    #[arg(long, value_name = "FILE")]
    pub schema: Option<PathBuf>,
    /// Configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document instead of the answer.
    #[arg(long)]
    pub json: bool,
    /// Do not show the running tree.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `ukernel trace`
#[derive(Debug, Subcommand)]
pub enum Trace {
    /// Show it as a tree in the terminal.
    Show {
        #[command(flatten)]
        file: TraceFile,
        /// Show texts whole, and every query.
        #[arg(long)]
        full: bool,
    },
    /// Write it as one page that needs nothing else.
    Html {
        #[command(flatten)]
        file: TraceFile,
        /// The page; `-` is standard output.
        #[arg(short, long, value_name = "OUT")]
        output: PathBuf,
    },
}

/// A trajectory.
#[derive(Debug, clap::Args)]
pub struct TraceFile {
    /// A file that `rlm --trace` wrote, or the beginning of a run's name.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
}

/// Dollars, as millionths of one.
fn micro_dollars(text: &str) -> Result<u64, String> {
    let dollars: f64 = text
        .parse()
        .map_err(|_| format!("`{text}` is not an amount of dollars"))?;
    if !(0.000_001..=1e6).contains(&dollars) {
        return Err("give between 0.000001 and 1000000 dollars".to_owned());
    }
    // In range, and rounded down: a budget is not exceeded.
    Ok((dollars * 1e6) as u64)
}
