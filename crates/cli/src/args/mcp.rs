//! `ukernel mcp`.

use super::BackendArg;
use clap::ValueEnum;
use std::net::SocketAddr;
use std::path::PathBuf;

/// `ukernel mcp`
#[derive(Debug, clap::Args)]
pub struct Mcp {
    /// Listen at this address instead of standard input and output.
    #[arg(long, value_name = "ADDR")]
    pub http: Option<SocketAddr>,
    /// Bearer tokens that are let in, one a line; each has sessions of its own. Without it one is
    /// made and kept in the state folder.
    #[arg(long, value_name = "FILE", requires = "http")]
    pub token_file: Option<PathBuf>,
    /// Let everybody in who reaches the address, which has to be a loopback one.
    #[arg(long, requires = "http", conflicts_with = "token_file")]
    pub no_token: bool,
    /// A name under which clients reach the server, beside those of this host.
    #[arg(long, value_name = "NAME", requires = "http")]
    pub host: Vec<String>,
    /// A web page that may call, as `https://NAME:PORT`, beside pages of this host itself.
    #[arg(long, value_name = "URL", requires = "http")]
    pub origin: Vec<String>,
    /// Print what this client's configuration takes, and end.
    #[arg(long, value_enum, value_name = "CLIENT")]
    pub print_config: Option<Client>,
    /// Who answers questions, as in `ukernel rlm`. Without one an older client's own model is asked,
    /// where it offers one.
    #[arg(long, value_name = "PROVIDER/NAME", env = "UKERNEL_MODEL")]
    pub model: Option<String>,
    /// Configuration, in TOML.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// What runs the VMs.
    #[arg(long, value_enum, default_value_t = BackendArg::Auto, env = "UKERNEL_BACKEND")]
    pub backend: BackendArg,
}

/// A client of MCP, by how it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// Claude Desktop (`claude_desktop_config.json`) and Claude Code (`.mcp.json`).
    Claude,
    /// OpenAI Codex (`~/.codex/config.toml`).
    Codex,
    /// Cursor (`.cursor/mcp.json`).
    Cursor,
    /// Gemini CLI (`.gemini/settings.json`).
    Gemini,
    /// VS Code (`.vscode/mcp.json`).
    Vscode,
    /// Windsurf (`~/.codeium/windsurf/mcp_config.json`).
    Windsurf,
    /// Zed (`settings.json`).
    Zed,
}
