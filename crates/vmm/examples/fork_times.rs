//! What a fork costs, part by part, with a real kernel and image.
//!
//! `cargo run --release -p ukernel-vmm --example fork_times -- KERNEL IMAGE [CODE] [FORKS] [ALIVE]`
//!
//! Prints p50 and p95 of every part of a fork's way from a blank process to the result of
//! CODE, without and with a working set; then the cost of a snapshot, and the memory of
//! ALIVE forks at once.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use ukernel_abi::frame::{Decoder, encode};
use ukernel_abi::message::{GuestMessage, HostMessage, Limits, Mode, PROTOCOL_VERSION, Source};
use ukernel_vmm::{
    BootConfig, ForkConfig, Launcher, LauncherOptions, StartTimes, Template, VmProcess,
};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    if std::env::args().nth(1).as_deref() == Some("__vm") {
        ukernel_vmm::vm_main();
    }
    let mut args = std::env::args().skip(1);
    let usage = "usage: fork_times KERNEL IMAGE [CODE] [FORKS] [ALIVE]";
    let kernel = File::open(args.next().ok_or(usage)?)?;
    let image = File::open(args.next().ok_or(usage)?)?;
    let code = args.next().unwrap_or_else(|| "print(6*7)".to_owned());
    let forks: usize = args.next().map_or(Ok(50), |text| text.parse())?;
    let alive: usize = args.next().map_or(Ok(100), |text| text.parse())?;

    let program = std::env::current_exe()?;
    let launcher = Launcher::new(LauncherOptions::new(program, ["__vm".into()]))?;
    let mut template = make_template(&launcher, &kernel, &image)?;
    measure("without working set", &launcher, &template, &code, forks)?;

    let mut trial = Fork::start(&launcher, &template, &code)?;
    let set = trial.vm.working_set()?;
    let pages = ukernel_vmm::snapshot::pages::count(&set.written);
    println!("working set: {pages} pages");
    template.set_working_set(set);
    measure("with working set", &launcher, &template, &code, forks)?;
    snapshots(&launcher, &template, &code, trial)?;
    template.set_working_set(Default::default());
    many(&launcher, &template, &code, alive)
}

fn make_template(launcher: &Launcher, kernel: &File, image: &File) -> Result<Template, Failure> {
    let started = Instant::now();
    let mut vm = VmProcess::spawn(launcher)?;
    let jail = vm.wait_ready()?.to_string();
    println!(
        "jail {jail}; blank process ready after {:?}",
        started.elapsed()
    );
    let (host, guest) = UnixStream::pair()?;
    let config = BootConfig {
        kernel,
        image: Some(image),
        memory_mib: 512,
        command_line: "",
        channel: Some(guest.into()),
    };
    let times = vm.boot(config)?;
    let mut talk = Talk::new(host)?;
    talk.hello()?;
    println!("cold boot to hello {:?}, {times:?}", started.elapsed());
    drop(talk);
    loop {
        vm.pause()?;
        if vm.snapshot(None).is_ok() {
            break;
        }
        vm.resume()?;
    }
    let started = Instant::now();
    let template = Template::from_vm(vm, Some(image.try_clone()?))?;
    println!(
        "sealed after {:?}, state {} bytes",
        started.elapsed(),
        template.state().len()
    );
    Ok(template)
}

/// A fork that has run the code, and how long each part took.
struct Fork {
    vm: VmProcess,
    talk: Talk,
    start: StartTimes,
    spawned: Duration,
    ready: Duration,
    restored: Duration,
    greeted: Duration,
    first: Duration,
    second: Duration,
    ping: Duration,
}

impl Fork {
    fn start(launcher: &Launcher, template: &Template, code: &str) -> Result<Self, Failure> {
        let (spawned, mut vm) = timed(|| Ok(VmProcess::spawn(launcher)?))?;
        let (ready, ()) = timed(|| Ok(vm.wait_ready().map(|_| ())?))?;
        let (host, guest) = UnixStream::pair()?;
        // Before the fork exists: so neither side waits for the other.
        let mut talk = Talk::new(host)?;
        talk.say_hello()?;
        let (restored, start) = timed(|| {
            Ok(vm.restore(ForkConfig {
                template,
                snapshot: None,
                channel: Some(guest.into()),
                paused: false,
            })?)
        })?;
        let (greeted, ()) = timed(|| talk.hear_ready())?;
        let (first, ()) = timed(|| talk.exec(code))?;
        let (second, ()) = timed(|| talk.exec(code))?;
        let (ping, ()) = timed(|| talk.ping())?;
        Ok(Self {
            vm,
            talk,
            start,
            spawned,
            ready,
            restored,
            greeted,
            first,
            second,
            ping,
        })
    }
}

fn measure(
    what: &str,
    launcher: &Launcher,
    template: &Template,
    code: &str,
    forks: usize,
) -> Result<(), Failure> {
    let mut parts: [(&str, Vec<Duration>); 12] = [
        ("spawn (exec)", vec![]),
        ("until blank and jailed", vec![]),
        ("restore command", vec![]),
        ("  map", vec![]),
        ("  populate", vec![]),
        ("  state", vec![]),
        ("hello, resume, ready", vec![]),
        ("first exec", vec![]),
        ("second exec", vec![]),
        ("ping", vec![]),
        ("BLANK TO FIRST RESULT", vec![]),
        ("kill and reap", vec![]),
    ];
    let micros = Duration::from_micros;
    for _ in 0..forks {
        let mut fork = Fork::start(launcher, template, code)?;
        let (killed, _) = timed(|| Ok(fork.vm.kill()?))?;
        let values = [
            fork.spawned,
            fork.ready,
            fork.restored,
            micros(fork.start.map_us),
            micros(fork.start.populate_us),
            micros(fork.start.state_us),
            fork.greeted,
            fork.first,
            fork.second,
            fork.ping,
            fork.restored + fork.greeted + fork.first,
            killed,
        ];
        for (part, value) in parts.iter_mut().zip(values) {
            part.1.push(value);
        }
    }
    println!("--- {what}, {forks} forks: p50 / p95 in us");
    for (name, values) in &mut parts {
        values.sort();
        let at = |percent: usize| values[values.len() * percent / 100].as_micros();
        println!("{name:24} {:6} {:6}", at(50), at(95));
    }
    Ok(())
}

fn snapshots(
    launcher: &Launcher,
    template: &Template,
    code: &str,
    fork: Fork,
) -> Result<(), Failure> {
    let Fork { mut vm, talk, .. } = fork;
    drop(talk);
    let pages: File = rustix::fs::memfd_create("pages", rustix::fs::MemfdFlags::CLOEXEC)?.into();
    let (paused, ()) = timed(|| Ok(vm.pause()?))?;
    let (taken, snapshot) = timed(|| Ok(vm.snapshot(Some(&pages))?))?;
    println!(
        "pause {paused:?}, snapshot {taken:?}: {:?}",
        snapshot.memory
    );
    std::io::Seek::rewind(&mut &pages)?;
    let mut again = VmProcess::spawn(launcher)?;
    again.wait_ready()?;
    let (host, guest) = UnixStream::pair()?;
    let (restored, times) = timed(|| {
        Ok(again.restore(ForkConfig {
            template,
            snapshot: Some((&pages, &snapshot.state)),
            channel: Some(guest.into()),
            paused: false,
        })?)
    })?;
    let mut talk = Talk::new(host)?;
    let (ran, ()) = timed(|| talk.hello().and_then(|()| talk.exec(code)))?;
    println!("restored from it in {restored:?} ({times:?}), result after {ran:?} more");
    Ok(())
}

fn many(launcher: &Launcher, template: &Template, code: &str, alive: usize) -> Result<(), Failure> {
    let (took, mut forks) = timed(|| {
        (0..alive)
            .map(|_| Fork::start(launcher, template, code))
            .collect::<Result<Vec<_>, _>>()
    })?;
    let mut pss = 0;
    let mut own = 0;
    for fork in &mut forks {
        let stats = fork.vm.stats()?;
        pss += stats.pss_bytes.unwrap_or(0);
        own += stats.private_bytes.unwrap_or(0);
    }
    let each = |bytes: u64| bytes / 1024 / alive.max(1) as u64;
    println!(
        "{alive} alive after {took:?}: each PSS {} KiB, private {} KiB",
        each(pss),
        each(own)
    );
    let (took, ()) = timed(|| {
        drop(forks);
        Ok(())
    })?;
    println!("all dropped after {took:?}");
    Ok(())
}

fn timed<T>(work: impl FnOnce() -> Result<T, Failure>) -> Result<(Duration, T), Failure> {
    let started = Instant::now();
    let value = work()?;
    Ok((started.elapsed(), value))
}

/// The host's side of a channel.
struct Talk {
    host: UnixStream,
    decoder: Decoder<GuestMessage>,
    next: u32,
}

impl Talk {
    fn new(host: UnixStream) -> Result<Self, Failure> {
        host.set_read_timeout(Some(Duration::from_secs(60)))?;
        Ok(Self {
            host,
            decoder: Decoder::new(),
            next: 1,
        })
    }

    fn hello(&mut self) -> Result<(), Failure> {
        self.say_hello()?;
        self.hear_ready()
    }

    fn say_hello(&mut self) -> Result<(), Failure> {
        let version = PROTOCOL_VERSION;
        let resume = HostMessage::Resume {
            entropy: [7; 32],
            wall_clock_ns: 1_800_000_000_000_000_000,
            instance: [1; 16],
            limits: Limits::NONE,
        };
        // Both at once: the guest wakes up once less.
        let mut bytes = Vec::new();
        encode(&HostMessage::Hello { version }, &mut bytes)?;
        encode(&resume, &mut bytes)?;
        Ok(self.host.write_all(&bytes)?)
    }

    fn ping(&mut self) -> Result<(), Failure> {
        let mut bytes = Vec::new();
        encode(&HostMessage::Ping { nonce: 1 }, &mut bytes)?;
        self.host.write_all(&bytes)?;
        match self.receive()? {
            GuestMessage::Pong { .. } => Ok(()),
            other => Err(format!("unexpected {other:?}").into()),
        }
    }

    fn hear_ready(&mut self) -> Result<(), Failure> {
        loop {
            match self.receive()? {
                GuestMessage::Ready => return Ok(()),
                GuestMessage::Hello { .. } => {}
                other => return Err(format!("unexpected {other:?}").into()),
            }
        }
    }

    fn exec(&mut self, code: &str) -> Result<(), Failure> {
        let id = self.next;
        self.next += 1;
        let mut bytes = Vec::new();
        let exec = HostMessage::Exec {
            id,
            source: Source::Inline(code.as_bytes().to_vec()),
            name: "<fork>".to_owned(),
            args: Vec::new(),
            mode: Mode::Program,
            inline_output_bytes: u64::MAX,
            token: None,
        };
        encode(&exec, &mut bytes)?;
        self.host.write_all(&bytes)?;
        loop {
            match self.receive()? {
                GuestMessage::Done { .. } => return Ok(()),
                GuestMessage::Refused { reason } => return Err(reason.into()),
                _ => {}
            }
        }
    }

    fn receive(&mut self) -> Result<GuestMessage, Failure> {
        let mut bytes = [0; 4096];
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(message);
            }
            match self.host.read(&mut bytes)? {
                0 => return Err("the guest closed the channel".into()),
                read => self.decoder.push(&bytes[..read]),
            }
        }
    }
}
