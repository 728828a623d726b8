//! A VM process and nothing else, for tests and for hosts that want it small. Started by
//! a `Launcher`, with the control socket as standard input.

fn main() {
    ukernel_vmm::vm_main()
}
