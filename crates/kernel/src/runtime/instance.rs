//! One instance of the component: its store, and its adapter's exports.

use super::engine::Loaded;
use super::state::{ExitNow, State};
use super::{abi, wasi};
use crate::execution::Running;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use ukernel_abi::message::{Exec, Mode, Outcome};
use wasmtime::Store;
use wasmtime::component::{ComponentType, Lift, Linker, Lower, TypedFunc};

const RUNTIME: &str = "ukernel:abi/runtime@0.1.0";

#[derive(ComponentType, Lower)]
#[component(record)]
struct Request {
    name: String,
    source: Vec<u8>,
    args: Vec<String>,
    environment: Vec<(String, String)>,
    folder: Option<String>,
    mode: AdapterMode,
}

#[derive(ComponentType, Lower, Clone, Copy)]
#[component(enum)]
#[repr(u8)]
enum AdapterMode {
    #[component(name = "program")]
    Program,
    #[component(name = "prompt")]
    Prompt,
    #[component(name = "shell")]
    Shell,
    #[component(name = "check")]
    Check,
}

impl From<Mode> for AdapterMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Program => Self::Program,
            Mode::Prompt => Self::Prompt,
            Mode::Shell => Self::Shell,
            Mode::Check => Self::Check,
        }
    }
}

#[derive(ComponentType, Lift)]
#[component(variant)]
enum AdapterOutcome {
    #[component(name = "exited")]
    Exited((i32, Option<String>)),
    #[component(name = "raised")]
    Raised((String, String)),
    #[component(name = "interrupted")]
    Interrupted,
}

/// The instance is gone: it trapped, or the program ended it.
#[derive(Clone, Debug)]
pub(crate) enum RunError {
    Exited(i32),
    Trapped(String),
}

impl From<wasmtime::Error> for RunError {
    fn from(error: wasmtime::Error) -> Self {
        match error.downcast_ref::<ExitNow>() {
            Some(exit) => Self::Exited(exit.0),
            None => Self::Trapped(error.root_cause().to_string()),
        }
    }
}

/// A running instance. Once a call failed, every later one fails the same way.
pub(crate) struct Instance {
    store: Store<State>,
    exec: TypedFunc<(Request,), (AdapterOutcome,)>,
    resume: TypedFunc<(), ()>,
    ended: Option<RunError>,
}

impl Instance {
    /// Instantiates the component on the current task's stack.
    pub(crate) fn new(loaded: &Loaded) -> wasmtime::Result<Self> {
        let mut linker = Linker::new(&loaded.engine);
        abi::link(&mut linker)?;
        wasi::link(&mut linker, loaded)?;
        let mut store = Store::new(&loaded.engine, State::new());
        let instance = linker.instantiate(&mut store, &loaded.component)?;
        let runtime = instance
            .get_export_index(&mut store, None, RUNTIME)
            .ok_or_else(|| wasmtime::Error::msg("the component does not export a runtime"))?;
        let export = |store: &mut Store<State>, name: &str| {
            instance
                .get_export_index(store, Some(&runtime), name)
                .ok_or_else(|| wasmtime::format_err!("the runtime does not export {name}"))
        };
        let exec = export(&mut store, "exec")?;
        let resume = export(&mut store, "resume")?;
        let exec = instance.get_typed_func(&mut store, exec)?;
        let resume = instance.get_typed_func(&mut store, resume)?;
        Ok(Self {
            store,
            exec,
            resume,
            ended: None,
        })
    }

    /// Tells the runtime that this VM is a copy.
    pub(crate) fn resume(&mut self) -> Result<(), RunError> {
        let resume = self.resume;
        self.guard(|store| resume.call(store, ()))
    }

    /// Runs code as this execution.
    pub(crate) fn exec(&mut self, running: &Running, exec: Exec) -> Result<Outcome, RunError> {
        let state = self.store.data_mut();
        state.execution = running.clone();
        state.arguments = core::iter::once(exec.name.clone())
            .chain(exec.args.iter().cloned())
            .collect();
        let request = Request {
            name: exec.name,
            source: exec.source,
            args: exec.args,
            environment: exec.environment,
            folder: exec.folder,
            mode: exec.mode.into(),
        };
        let run = self.exec;
        let (outcome,) = self.guard(|store| run.call(store, (request,)))?;
        Ok(match outcome {
            AdapterOutcome::Exited((code, value)) => Outcome::Exited { code, value },
            AdapterOutcome::Raised((kind, message)) => Outcome::Exception { kind, message },
            AdapterOutcome::Interrupted => Outcome::Interrupted,
        })
    }

    fn guard<R>(
        &mut self,
        call: impl FnOnce(&mut Store<State>) -> wasmtime::Result<R>,
    ) -> Result<R, RunError> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        call(&mut self.store).map_err(|error| {
            let error = RunError::from(error);
            self.ended = Some(error.clone());
            error
        })
    }
}
