//! What the runtime does, with real VMs and models that say what each test wants.

mod acceptance;
mod answers;
mod budgets;
mod client;
mod environments;
mod faults;
mod ground;
mod http;
mod http_doors;
mod http_ends;
mod replies;
mod steps;
mod tools;

use libtest_mimic::{Arguments, Failed, Trial};

type Behaviour = (&'static str, fn() -> Test);
type Test = std::pin::Pin<Box<dyn Future<Output = ()>>>;

/// A list of behaviours, each an async function without arguments.
#[macro_export]
macro_rules! behaviours {
    ($($name:ident),+ $(,)?) => {
        pub const BEHAVIOURS: &[$crate::Behaviour] =
            &[$((stringify!($name), || Box::pin($name()))),+];
    };
}

fn main() {
    let arguments = Arguments::from_args();
    let lack = (!arguments.list).then(lack).flatten();
    if let Some(why) = &lack {
        eprintln!("SKIPPED: {why}");
    }
    let behaviours = [
        acceptance::BEHAVIOURS,
        steps::BEHAVIOURS,
        answers::BEHAVIOURS,
        replies::BEHAVIOURS,
        tools::BEHAVIOURS,
        environments::BEHAVIOURS,
        faults::BEHAVIOURS,
        budgets::BEHAVIOURS,
        http::BEHAVIOURS,
        http_doors::BEHAVIOURS,
        http_ends::BEHAVIOURS,
    ];
    let trials: Vec<Trial> = behaviours
        .into_iter()
        .flatten()
        .map(|(name, behaviour)| {
            let lacks = http::lack(name);
            if let Some(why) = &lacks {
                eprintln!("SKIPPED: {why}");
            }
            let trial = Trial::test(*name, move || run(*behaviour));
            trial.with_ignored_flag(lack.is_some() || lacks.is_some())
        })
        .collect();
    let count = trials.len();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if lack.is_some() {
        eprintln!("SKIPPED: {count} of the tests above, which this host cannot run");
    }
    conclusion.exit();
}

/// Why this host cannot run VMs, if so.
fn lack() -> Option<String> {
    let order = ukernel_sandbox::backends::BackendType::DEFAULT_ORDER;
    ukernel_sandbox::backends::first_available(&order, &ground::probe())
        .err()
        .map(|error| error.to_string())
}

fn run(behaviour: fn() -> Test) -> Result<(), Failed> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(behaviour());
    Ok(())
}
