//! What every guest on every backend has to do, tried on all of them that this host has.
//!
//! One list of behaviours, one test per behaviour and guest on its backend. What the host lacks is listed as ignored,
//! with the reason. What does not apply to a guest is in [`NOT_OF_LINUX`], and in the table of `docs/guests.md`, which
//! one test compares with these lists and `UKERNEL_WRITE_TABLE=1` writes.
//!
//! Read from the environment: `UKERNEL_TEST_KERNEL` and `UKERNEL_TEST_IMAGE` (built where
//! they are not given), `UKERNEL_FIRECRACKER` (else found on `PATH`).

mod calls;
mod ending;
mod execution;
mod files;
mod ground;
mod hostile;
mod lifecycle;
mod limits;
mod linux;
mod linux_hostile;
mod shell;
mod snapshots;
mod table;
mod templates;

use ground::{Column, Ground, Inside};
use libtest_mimic::{Arguments, Failed, Trial};

type Behaviour = (&'static str, fn(&Ground));

/// What is asked of every guest.
fn common() -> impl Iterator<Item = Behaviour> {
    [
        execution::BEHAVIOURS,
        calls::BEHAVIOURS,
        files::BEHAVIOURS,
        lifecycle::BEHAVIOURS,
        ending::BEHAVIOURS,
        hostile::BEHAVIOURS,
        shell::BEHAVIOURS,
        templates::BEHAVIOURS,
        limits::BEHAVIOURS,
        snapshots::BEHAVIOURS,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// What is asked of it that a Linux does otherwise, and how.
const NOT_OF_LINUX: &[(&str, &str)] = &[
    (
        "output_comes_in_order",
        "two pipes: each stream has its order, not both together",
    ),
    (
        "a_flood_keeps_its_order",
        "two pipes: each stream has its order, not both together",
    ),
    (
        "what_a_call_carries_is_not_among_the_files",
        "`ukernel.spawn` is the other guest's; processes are here",
    ),
    (
        "tasks_call_side_by_side",
        "as `linux_programs_call_the_host_by_commands`",
    ),
    (
        "a_connection_cut_in_a_frame_does_no_harm",
        "**no**: a host that hangs up in a frame and is back at once is not heard; its machine is given up",
    ),
    (
        "a_program_may_end_its_runtime",
        "told as lost; a session is as it was before, the agent itself would begin another",
    ),
    (
        "shell_and_python_share_their_folder",
        "two processes, each with its folder",
    ),
    (
        "limits_output_into_a_full_tree_ends_nothing",
        "its tree has 100 MB at first, as `linux_what_fills_up_is_bounded`",
    ),
    (
        "limits_the_file_tree_doubles_to_its_end",
        "as `linux_what_fills_up_is_bounded`",
    ),
    (
        "limits_files_end_where_memory_does",
        "as `linux_what_fills_up_is_bounded`",
    ),
    (
        "limits_memory_ends_with_memory_error",
        "the process is killed, as `linux_user_code_is_confined`",
    ),
    (
        "limits_tasks_end_with_an_error",
        "processes, as `linux_user_code_is_confined`",
    ),
    (
        "limits_new_ones_replace_the_old",
        "its tree has 100 MB at first and never shrinks",
    ),
    (
        "limits_a_limit_below_use_only_stops_growth",
        "its tree has 100 MB at first and never shrinks",
    ),
];

/// A behaviour that is asked for, or why it is not.
type Asked = Result<fn(&Ground), &'static str>;

/// All behaviours by name, and how Linux differs, for those it does not have.
fn behaviours_of(column: Column) -> Vec<(&'static str, Asked)> {
    let own = match column.inside {
        Inside::Ukernel => &[][..],
        Inside::Linux => &[linux::BEHAVIOURS, linux_hostile::BEHAVIOURS],
    };
    let all = common().chain(own.iter().copied().flatten().copied());
    all.map(|(name, behaviour)| {
        let other = NOT_OF_LINUX
            .iter()
            .filter(|_| column.inside == Inside::Linux)
            .find(|(known, _)| *known == name);
        (name, other.map_or(Ok(behaviour), |(_, why)| Err(*why)))
    })
    .collect()
}

fn main() {
    let arguments = Arguments::from_args();
    let mut skipped = 0;
    let mut trials = vec![Trial::test("the_table_in_the_docs_is_true", || {
        table::is_true().map_err(Failed::from)
    })];
    for column in Column::ALL {
        let lack = column.lack();
        if let Some(why) = &lack {
            eprintln!("SKIPPED: {}: {why}", column.name());
        }
        for (name, behaviour) in behaviours_of(column) {
            let Ok(behaviour) = behaviour else { continue };
            skipped += usize::from(lack.is_some());
            let why = lack.clone();
            let run = move || match why {
                None => try_out(column, behaviour),
                Some(why) => Err(Failed::from(why)),
            };
            let trial = Trial::test(format!("{}::{name}", column.name()), run);
            trials.push(trial.with_ignored_flag(lack.is_some()));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if skipped > 0 {
        eprintln!("SKIPPED: {skipped} of the tests above, which this host cannot run");
    }
    conclusion.exit();
}

fn try_out(column: Column, behaviour: fn(&Ground)) -> Result<(), Failed> {
    let ground = Ground::new(column)?;
    behaviour(&ground);
    ground.is_clean()
}
