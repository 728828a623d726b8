//! A VM process and nothing else: what the tests start machines of the embedded VMM with.

fn main() {
    ukernel_vmm::vm_main()
}
