//! `ukernel mcp`: the tools for any MCP client.

mod clients;

use crate::args::Mcp;
use crate::failure::Failure;
use crate::progress::Steps;
use crate::{home, settings};
use std::fs::Permissions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use terraphim_mcp_server::{HttpOptions, HttpServer, McpServer, Open, Options, Tokens, Upstream};
use terraphim_rlm::{RlmConfig, Surroundings, TerraphimRlm};
use tokio::signal::unix::{SignalKind, signal};

/// Largest file of tokens, in bytes.
const MAX_TOKENS_BYTES: u64 = 1 << 20;

/// Serves until the client closes standard input, or a signal ends it.
pub fn mcp(args: &Mcp) -> Result<u8, Failure> {
    if let Some(client) = args.print_config {
        let this = std::env::current_exe()
            .map_err(|error| Failure::host(error, "this program's own file cannot be found"))?;
        let url = args.http.map(|address| format!("http://{address}/mcp"));
        let text = clients::config(client, &this, url.as_deref());
        writeln!(std::io::stdout(), "{text}")
            .map_err(|error| Failure::host(error, "standard output is closed"))?;
        return Ok(0);
    }
    let config = config(args)?;
    let folder = home::state()?.join("mcp");
    let options = Options {
        has_model: has_model(args, &config),
        upstream: upstream(&config)?,
        ..Options::new(folder.join("tasks"))
    };
    let surroundings = Surroundings {
        vm_process: Some(crate::engine::vm_processes()?),
        probe: Some(home::probe_config()?),
        llm: None,
    };
    let open: Open = Arc::new(move || {
        let (config, surroundings) = (config.clone(), surroundings.clone());
        Box::pin(TerraphimRlm::with(
            config,
            surroundings,
            Arc::new(Steps::new()),
        ))
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|error| Failure::host(error, "the host is out of threads"))?;
    let served = runtime.block_on(async {
        let server = McpServer::new(open, options)
            .map_err(|error| Failure::host(error, "tasks are kept in the state folder"))?;
        server.warm_up();
        match args.http {
            Some(address) => serve_http(args, server, address, &folder).await,
            None => serve_stdio(server).await,
        }
    });
    // A thread may still wait for standard input; the VMs have ended.
    runtime.shutdown_background();
    served.map(|()| 0)
}

/// The MCP servers of the configuration.
pub fn upstream(config: &RlmConfig) -> Result<Upstream, Failure> {
    let made = Upstream::new(&config.mcp_servers, &|name| std::env::var(name).ok());
    made.map_err(|error| crate::rlm::failure_of(error, true))
}

async fn serve_stdio(server: McpServer) -> Result<(), Failure> {
    let stopping = server.clone();
    tokio::select! {
        served = server.serve_stdio() => served.map_err(|error| {
            Failure::workload(
                format!("the client does not speak MCP: {error}"),
                Some("an MCP client starts this command; `--print-config` says how".to_owned()),
            )
        }),
        () = until_signal() => {
            stopping.stop().await;
            Ok(())
        }
    }
}

async fn serve_http(
    args: &Mcp,
    server: McpServer,
    address: SocketAddr,
    folder: &Path,
) -> Result<(), Failure> {
    let (tokens, origin) = tokens(args, folder)?;
    let options = HttpOptions {
        address,
        tokens,
        hosts: args.host.clone(),
        origins: args.origin.clone(),
    };
    let connected = server.clone();
    let served = HttpServer::start(move || connected.connected(), options).await;
    let served = served.map_err(|error| {
        Failure::host(
            format!("{address}: {error}"),
            "choose another address with --http",
        )
    })?;
    // Where nobody reads it is no failure.
    let _ = writeln!(
        std::io::stderr(),
        "ukernel serves MCP at http://{}/mcp; {origin}",
        served.address()
    );
    until_signal().await;
    // What runs is cancelled, so that its client still hears of it.
    tokio::join!(served.stop(), server.stop());
    Ok(())
}

/// Until Ctrl-C or a request to end.
async fn until_signal() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn config(args: &Mcp) -> Result<RlmConfig, Failure> {
    let mut config = settings::rlm(args.config.as_deref(), args.backend.name())?;
    if let Some(model) = &args.model {
        config.set_model(&crate::rlm::parse(model)?);
    }
    config.home = Some(home::home()?);
    config.source = Some(home::source());
    if config.trace_folder.is_none() {
        config.trace_folder = Some(home::state()?.join("trajectories"));
    }
    Ok(config)
}

/// Whether somebody has said who is asked. What is there by default may not be there at all.
fn has_model(args: &Mcp, config: &RlmConfig) -> bool {
    let default = RlmConfig::default();
    args.model.is_some()
        || config.llm_provider != default.llm_provider
        || config.llm_model != default.llm_model
}

/// The tokens, and where they are from.
fn tokens(args: &Mcp, folder: &Path) -> Result<(Option<Tokens>, String), Failure> {
    if args.no_token {
        return Ok((None, "no token is needed".to_owned()));
    }
    let path = match &args.token_file {
        Some(path) => path.clone(),
        None => own_token(folder)?,
    };
    let bad = |cause: String| {
        Failure::usage(
            format!("{}: {cause}", path.display()),
            "give a file with one token a line, such as one from `openssl rand -hex 32`",
        )
    };
    let length = std::fs::metadata(&path).map_err(|error| bad(error.to_string()))?;
    if length.len() > MAX_TOKENS_BYTES {
        return Err(bad("it is too large".to_owned()));
    }
    let text = std::fs::read_to_string(&path).map_err(|error| bad(error.to_string()))?;
    let tokens = Tokens::parse(&text).map_err(bad)?;
    let origin = format!("the bearer token is in {}", path.display());
    Ok((Some(tokens), origin))
}

/// The token that is made once and kept.
fn own_token(folder: &Path) -> Result<PathBuf, Failure> {
    let path = folder.join("token");
    let failed = |error: std::io::Error| {
        Failure::host(
            format!("{}: {error}", path.display()),
            "the token is kept in the state folder; or name a file with --token-file",
        )
    };
    if path.exists() {
        return Ok(path);
    }
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o600))
        .tempfile_in(folder)
        .map_err(failed)?;
    writeln!(file, "{}", Tokens::mint()).map_err(failed)?;
    // Another server may have been quicker: then its token counts.
    match file.persist_noclobber(&path) {
        Ok(_) => {}
        Err(error) if error.error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error.error)),
    }
    Ok(path)
}
