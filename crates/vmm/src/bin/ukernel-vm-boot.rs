//! Boots a kernel with an image in this process: a tool for those who write the kernel.
//!
//! `ukernel-vm-boot KERNEL IMAGE|- [--memory MIB] [--cmdline WORDS] [--exec CODE]... [--channel SOCKET]`
//!
//! Serial output goes to stdout. `--exec` says hello on the channel and runs the code,
//! one after the other, with times; `--channel` listens on a Unix socket and hands its
//! first connection to the guest as it is.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;
use ukernel_abi::frame::{Decoder, encode};
use ukernel_abi::message::{GuestMessage, HostMessage, Limits, Mode, PROTOCOL_VERSION, Source};
use ukernel_vmm::devices::Devices;
use ukernel_vmm::memory::{Backing, GuestMemory, MemoryLayout, create_ram};
use ukernel_vmm::mmio::Transport;
use ukernel_vmm::run::Stop;
use ukernel_vmm::serial::Serial;
use ukernel_vmm::vm::BlankVm;

type Failure = Box<dyn std::error::Error>;

struct Options {
    kernel: String,
    image: Option<String>,
    memory_mib: u32,
    command_line: String,
    code: Vec<String>,
    channel: Option<String>,
}

fn options() -> Result<Options, Failure> {
    let mut words = std::env::args().skip(1);
    let usage = "usage: ukernel-vm-boot KERNEL IMAGE|- [--memory MIB] [--cmdline WORDS] \
                 [--exec CODE]... [--channel SOCKET]";
    let kernel = words.next().ok_or(usage)?;
    let image = words.next().ok_or(usage)?;
    let mut options = Options {
        kernel,
        image: (image != "-").then_some(image),
        memory_mib: 512,
        command_line: String::new(),
        code: Vec::new(),
        channel: None,
    };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(usage)?;
        match word.as_str() {
            "--memory" => options.memory_mib = value.parse()?,
            "--cmdline" => options.command_line = value,
            "--exec" => options.code.push(value),
            "--channel" => options.channel = Some(value),
            _ => return Err(usage.into()),
        }
    }
    Ok(options)
}

fn main() -> Result<(), Failure> {
    let options = options()?;
    let started = Instant::now();
    // First, so that the signal it uses is blocked in every thread.
    let blank = BlankVm::create(ukernel_vmm::open_kvm()?)?;
    let image = options.image.as_ref().map(File::open).transpose()?;
    let image_bytes = match &image {
        Some(file) => file.metadata()?.len(),
        None => 0,
    };
    let layout = MemoryLayout::new(options.memory_mib, image_bytes)?;
    let memory = GuestMemory::map(layout, create_ram(layout)?, Backing::Shared, image)?;
    let serial = Serial::new(Some(Box::new(std::io::stdout())));
    let devices = Devices::new(serial, Transport::default(), Default::default());
    let mut kernel = File::open(&options.kernel)?;
    let mut vm = blank.boot(memory, &mut kernel, &options.command_line, devices)?;
    eprintln!("[boot] guest entered after {:?}", started.elapsed());

    if let Some(path) = &options.channel {
        let listener = UnixListener::bind(path)?;
        eprintln!("[boot] waiting for a connection on {path}");
        vm.attach_channel(listener.accept()?.0.into())?;
    } else if !options.code.is_empty() {
        let (host, guest) = UnixStream::pair()?;
        vm.attach_channel(guest.into())?;
        std::thread::spawn(move || {
            if let Err(error) = converse(host, &options.code) {
                eprintln!("[boot] channel: {error}");
                std::process::exit(1);
            }
        });
    }
    let stop = vm.run(None)?;
    std::io::stdout().flush()?;
    eprintln!("[boot] phases (us): {:?}", vm.devices().phases());
    eprintln!("[boot] {:?}", vm.counters());
    match stop {
        Stop::Ended(reason) if reason.is_shutdown() => Ok(()),
        Stop::Ended(reason) => {
            if let Some(registers) = vm.describe_registers() {
                eprintln!("{registers}");
            }
            Err(reason.to_string().into())
        }
        Stop::Control => Ok(()),
    }
}

/// Says hello, runs every piece of code and ends this process.
fn converse(mut host: UnixStream, code: &[String]) -> Result<(), Failure> {
    let mut decoder = Decoder::new();
    let started = Instant::now();
    send(
        &mut host,
        &HostMessage::Hello {
            version: PROTOCOL_VERSION,
        },
    )?;
    let hello = receive(&mut host, &mut decoder)?;
    eprintln!("[boot] {:?} {hello:?}", started.elapsed());
    send(
        &mut host,
        &HostMessage::Resume {
            entropy: [7; 32],
            wall_clock_ns: 1_700_000_000_000_000_000,
            instance: [1; 16],
            limits: Limits::NONE,
        },
    )?;
    eprintln!(
        "[boot] {:?} {:?}",
        started.elapsed(),
        receive(&mut host, &mut decoder)?
    );
    for (id, code) in (1..).zip(code) {
        let asked = Instant::now();
        send(
            &mut host,
            &HostMessage::Exec {
                id,
                source: Source::Inline(code.clone().into_bytes()),
                name: "<boot>".to_owned(),
                args: Vec::new(),
                mode: Mode::Prompt,
                inline_output_bytes: u64::MAX,
                token: None,
            },
        )?;
        loop {
            match receive(&mut host, &mut decoder)? {
                GuestMessage::Output { bytes, .. } => std::io::stdout().write_all(&bytes)?,
                done @ (GuestMessage::Done { .. } | GuestMessage::Refused { .. }) => {
                    eprintln!("[boot] {:?} {done:?}", asked.elapsed());
                    break;
                }
                other => eprintln!("[boot] {other:?}"),
            }
        }
    }
    std::io::stdout().flush()?;
    std::process::exit(0);
}

fn send(host: &mut UnixStream, message: &HostMessage) -> Result<(), Failure> {
    let mut bytes = Vec::new();
    encode(message, &mut bytes)?;
    Ok(host.write_all(&bytes)?)
}

fn receive(
    host: &mut UnixStream,
    decoder: &mut Decoder<GuestMessage>,
) -> Result<GuestMessage, Failure> {
    loop {
        if let Some(message) = decoder.next_message()? {
            return Ok(message);
        }
        let mut bytes = vec![0; 64 << 10];
        let read = host.read(&mut bytes)?;
        if read == 0 {
            return Err("the guest closed the channel".into());
        }
        decoder.push(&bytes[..read]);
    }
}
