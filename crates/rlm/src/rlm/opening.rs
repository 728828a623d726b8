//! Opening a runtime: the store, the backend, the pool, the thesaurus.

use super::{Inner, Surroundings};
use crate::error::{Cause, Problem};
use crate::folder::Folder;
use crate::query::{Calls, OpenBridges};
use crate::{Result, RlmConfig, RlmError};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio_util::sync::{CancellationToken, DropGuard};
use ukernel_image::Progress;
use ukernel_kg::{KgConfig, KnowledgeGraphValidator, Thesaurus};
use ukernel_llm::{GenericLlmClient, ModelName, Origin, Provider};
use ukernel_machine::probe::ProbeConfig;
use ukernel_sandbox::engine::{Engine, EngineOptions, LinuxTemplates};
use ukernel_sandbox::guests::Guests;
use ukernel_sandbox::session::SessionManager;
use ukernel_sandbox::vm::VmManager;
use ukernel_sandbox::{Environments, Guest, SandboxError};
use ukernel_vmm::LauncherOptions;

/// Argument with which a program of this crate becomes a VM.
const VM_ARGUMENT: &str = "__vm";

/// How often it is looked for sessions whose time is up.
const SWEEP: Duration = Duration::from_secs(1);

/// Largest thesaurus, in bytes.
const MAX_THESAURUS_BYTES: u64 = 256 << 20;

/// Becomes a VM if the embedded VMM has started this program for that, and never returns then. To be
/// called first in `main`, before threads are started or files opened; so `main` is a plain function,
/// not one of `#[tokio::main]`.
pub fn become_vm_if_asked() {
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == VM_ARGUMENT)
    {
        ukernel_vmm::vm_main();
    }
}

pub(super) fn open(
    config: RlmConfig,
    llm: Arc<dyn GenericLlmClient>,
    surroundings: &Surroundings,
    progress: &dyn Progress,
) -> Result<Inner> {
    let home = match &config.home {
        Some(home) => home.clone(),
        None => default_home()?,
    };
    let vm_process = match &surroundings.vm_process {
        Some(options) => options.clone(),
        None => {
            let this =
                std::env::current_exe().map_err(|error| RlmError::internal(Problem::of(error)))?;
            LauncherOptions::new(this, [VM_ARGUMENT.into()])
        }
    };
    let source = config
        .source
        .clone()
        .unwrap_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../..")));
    let sandbox = config.sandbox.clone();
    let failed = |error: SandboxError| match error {
        SandboxError::Config(problem) => RlmError::config(problem),
        reason => RlmError::VmAllocationFailed { reason },
    };
    let probe = surroundings.probe.clone().unwrap_or_else(|| ProbeConfig {
        path: std::env::var_os("PATH").unwrap_or_default(),
        firecracker: std::env::var_os("UKERNEL_FIRECRACKER").map(PathBuf::from),
        state_dir: home.clone(),
    });
    let options = EngineOptions {
        home: home.clone(),
        source,
        probe,
        vm_process,
        preference: sandbox.backend_preference.clone(),
    };
    let engine = Engine::open(&options).map_err(failed)?;
    let linux = LinuxTemplates::new(options, sandbox.for_linux().machine_mib());
    if config.guest == Guest::Linux {
        // What takes minutes the first time does so here, where it is told of.
        linux
            .prepare(config.image.as_ref(), progress)
            .map_err(failed)?;
    }
    let template = engine
        .template(sandbox.machine_mib(), progress)
        .map_err(failed)?;
    let vms = VmManager::start(template, &sandbox).map_err(failed)?;
    let guests = Guests::from(vms).with_linux(linux, &sandbox);
    let (folder, root) = match &config.session_folder {
        Some(kept) => (None, kept.clone()),
        None => {
            let folder = Folder::make(&home.join("rlm"))?;
            let path = folder.path().to_owned();
            (Some(folder), path)
        }
    };
    let sessions = SessionManager::open(root, guests, sandbox).map_err(failed)?;
    let sweeper = sweep(sessions.clone());
    let mut inner = over(config, llm, Arc::new(sessions), folder)?;
    inner._sweeper = Some(sweeper);
    Ok(inner)
}

/// Ends sessions whose time is up, until the guard is dropped.
fn sweep(sessions: SessionManager) -> DropGuard {
    let stopping = CancellationToken::new();
    let stopped = stopping.clone();
    tokio::spawn(async move {
        while stopped
            .run_until_cancelled(tokio::time::sleep(SWEEP))
            .await
            .is_some()
        {
            sessions.sweep().await;
        }
    });
    stopping.drop_guard()
}

/// A runtime over environments that are there. `folder` goes with it.
pub(super) fn over(
    config: RlmConfig,
    llm: Arc<dyn GenericLlmClient>,
    environments: Arc<dyn Environments>,
    folder: Option<Folder>,
) -> Result<Inner> {
    let kg = thesaurus(&config)?;
    Ok(Inner {
        config: Arc::new(config),
        llm,
        environments,
        owner: rustix::process::getuid().as_raw(),
        kg,
        bound: Mutex::default(),
        bridges: OpenBridges::default(),
        calls: Calls::default(),
        _folder: folder,
        _sweeper: None,
    })
}

fn default_home() -> Result<PathBuf> {
    let home = std::env::home_dir().filter(|home| home.is_absolute());
    home.map(|home| home.join(".cache/ukernel")).ok_or_else(|| {
        RlmError::config(Problem::from("there is no home folder").hinting("set home"))
    })
}

fn thesaurus(config: &RlmConfig) -> Result<Option<Arc<Mutex<KnowledgeGraphValidator>>>> {
    let Some(path) = config
        .kg_thesaurus
        .as_ref()
        .filter(|_| config.kg_validation_enabled)
    else {
        return Ok(None);
    };
    let bad = |cause: Cause| {
        RlmError::config(Problem::about(
            format!("the thesaurus {}", path.display()),
            cause,
        ))
    };
    let length = std::fs::metadata(path)
        .map_err(|error| bad(error.into()))?
        .len();
    if length > MAX_THESAURUS_BYTES {
        return Err(bad("it is too large".into()));
    }
    let json = std::fs::read(path).map_err(|error| bad(error.into()))?;
    let terms = Thesaurus::from_json(&json, &ukernel_kg::Limits::default())
        .map_err(|error| bad(error.into()))?;
    let rules = KgConfig {
        kg_retry_limit: config.kg_retry_limit,
        kg_escalation_enabled: config.kg_escalation_enabled,
        kg_strictness: config.kg_strictness,
    };
    let validator =
        KnowledgeGraphValidator::new(terms, rules).map_err(|error| bad(error.into()))?;
    Ok(Some(Arc::new(Mutex::new(validator))))
}

/// A budget of money has to know what calls cost before they are made.
pub(super) fn check_prices(config: &RlmConfig, llm: &dyn GenericLlmClient) -> Result<()> {
    if config.max_total_micro_dollars.is_none() {
        return Ok(());
    }
    for model in [config.model()?, config.sub_model()?] {
        let is_local = matches!(
            &model,
            ModelName::Hosted {
                provider: Provider::Ollama,
                ..
            }
        );
        let info = llm.model_info(&model)?;
        let is_played = matches!(info.origin, Origin::Replay { .. });
        let has_price = config.prices.contains_key(&model.to_string());
        if !(is_local || is_played || has_price) {
            let problem = format!("there is a budget of money, and no price for {model}");
            let hint = format!("set it in the configuration: [prices.\"{model}\"]");
            return Err(RlmError::config(Problem::from(problem).hinting(hint)));
        }
    }
    Ok(())
}
