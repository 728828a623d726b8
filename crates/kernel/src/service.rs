//! The service task: does what [`Service`] decides, and the workload task: runs what it queues.
//!
//! The service runs on the kernel's own stack and never waits for the workload; the workload runs
//! on a task of its own and takes jobs from a queue.

use crate::boot::Boot;
use crate::channel::{self, Channel, Incoming};
use crate::dev::{interrupts, link, platform};
use crate::execution::{self, Running};
use crate::files::TREE;
use crate::runtime::{self, Instance, Loaded, RunError};
use crate::{clock, mem, random, report, task};
use alloc::boxed::Box;
use alloc::format;
use alloc::rc::Rc;
use alloc::string::ToString;
use alloc::sync::Arc;
use core::cell::{Cell, RefCell};
use ukernel_abi::layout::BootPhase;
use ukernel_abi::message::{GuestMessage, Limits, Outcome};
use ukernel_kernel_core::service::{CAPACITY, Effect, Job, Service};

/// The service's state, shared by both tasks. Not to be held across anything that may switch.
type Shared = Rc<RefCell<Service>>;

/// Runs the VM for the rest of its life.
pub(crate) fn run(boot: &Boot, loaded: Loaded) -> ! {
    task::adopt();
    TREE.get().format(mem::file_share_bytes());
    let guest = format!(
        "ukernel/{} {}",
        env!("CARGO_PKG_VERSION"),
        loaded.header.adapter()
    );
    let Some(device) = link::start(boot.device) else {
        report::fatal(format_args!(
            "there is no device for the channel at {:#x}",
            boot.device.base
        ));
    };
    if !boot.embedded {
        interrupts::configure(boot.device.interrupt);
    }
    let loaded = Arc::new(loaded);
    runtime::configure_spawn(Arc::clone(&loaded));
    let service = Rc::new(RefCell::new(Service::new(guest)));
    let is_up = Rc::new(Cell::new(false));
    let (queue, up) = (Rc::clone(&service), Rc::clone(&is_up));
    if let Err(error) = task::spawn(Box::new(move || work(&loaded, &queue, &up))) {
        report::fatal(format_args!("no task for the workload: {error:?}"));
    }
    task::wait_until(None, || is_up.get());
    platform::phase(BootPhase::Listening);
    serve(Channel::new(device), &service)
}

fn serve(mut channel: Channel, service: &Shared) -> ! {
    loop {
        let mut progress = false;
        while let Some(incoming) = channel.receive() {
            progress = true;
            match incoming {
                Incoming::Opened | Incoming::Closed => service.borrow_mut().opened(),
                Incoming::Broken => channel::reply(&refused("this is not the channel protocol")),
                Incoming::Message(message) => {
                    let effect = service.borrow_mut().follow(*message, &mut TREE.get());
                    if let Some(effect) = effect {
                        apply(effect);
                    }
                }
            }
            task::wake_all();
        }
        progress |= channel.flush();
        if progress {
            task::yield_now();
        } else {
            if !platform::is_embedded() {
                channel.notify_events();
            }
            task::pause(None);
        }
    }
}

fn apply(effect: Effect) {
    match effect {
        Effect::Say(message) => channel::reply(&message),
        Effect::Individual {
            entropy,
            wall_clock_ns,
            limits,
        } => {
            limit(&limits);
            random::seed(entropy);
            clock::resume(wall_clock_ns);
        }
    }
}

/// What this VM may use from now on. What it uses already it keeps.
fn limit(limits: &Limits) {
    let (quota, max) = mem::file_quota(limits);
    mem::set_max_files(max);
    TREE.get().set_quota(quota, max);
    runtime::limit(limits);
}

fn refused(reason: &str) -> GuestMessage {
    GuestMessage::Refused {
        reason: reason.to_string(),
    }
}

/// The workload task: one instance, job after job.
fn work(loaded: &Loaded, service: &Shared, is_up: &Cell<bool>) {
    let mut instance = Instance::new(loaded)
        .unwrap_or_else(|error| report::fatal(format_args!("instantiation: {error:?}")));
    platform::phase(BootPhase::Instantiated);
    runtime::list_interrupt_words(loaded);
    is_up.set(true);
    task::wake_all();
    let mut has_ended = false;
    loop {
        task::wait_until(None, || !service.borrow().jobs.is_empty());
        let job = service.borrow_mut().jobs.pop_front();
        match job {
            None => {}
            // Only the connection is new: what the program can see stays as it was.
            Some(Job::Resume { is_copy: false }) if !has_ended => channel::say(&READY),
            Some(Job::Resume { .. }) => {
                if let Err(error) = instance.resume() {
                    has_ended = true;
                    channel::say(&refused(&format!("the runtime did not resume: {error:?}")));
                } else {
                    channel::say(&READY);
                }
            }
            Some(Job::Exec(running)) => {
                let outcome = execute(&mut instance, &running, &mut has_ended);
                execution::report_growth(&running);
                let ended = service
                    .borrow_mut()
                    .ended(&running, outcome, &mut TREE.get());
                if let Some(message) = ended {
                    channel::say(&message);
                }
            }
        }
    }
}

const READY: GuestMessage = GuestMessage::Ready { capacity: CAPACITY };

/// Runs one execution to its end.
fn execute(instance: &mut Instance, running: &Running, has_ended: &mut bool) -> Outcome {
    // The exit was the outcome of the program that made it, of no other.
    if *has_ended {
        return Outcome::Trapped {
            reason: "an earlier program ended the runtime".to_string(),
        };
    }
    if execution::take_interrupt(running, false) {
        return Outcome::Interrupted;
    }
    let Some(exec) = running.get().take_exec() else {
        return Outcome::Interrupted;
    };
    let ran = instance.exec(running, exec);
    *has_ended = ran.is_err();
    match ran {
        Ok(outcome) => outcome,
        Err(RunError::Exited(code)) => Outcome::RuntimeExited { code },
        Err(RunError::Trapped(reason)) => Outcome::Trapped { reason },
    }
}
