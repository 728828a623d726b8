/* Makes up for a fault of QEMU's emulated SVM, on the emulated host only.
 *
 * To decide about a port access at CPL 3, the processor looks into the I/O permission map of the task state segment
 * the task register names. QEMU does so only if the register's cached type is 9 (available). The type of a loaded task
 * register is 11 (busy), on hardware as in what KVM saves and restores, so that in QEMU every port access of our
 * kernel would fault. This shim sits in front of ioctl() and changes the type in KVM_SET_SREGS. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <linux/kvm.h>
#include <stdarg.h>

enum { AVAILABLE = 9, BUSY = 11 };

int ioctl(int fd, unsigned long request, ...)
{
    static int (*libc_ioctl)(int, unsigned long, void *);
    struct kvm_sregs changed;
    va_list arguments;

    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    if (!libc_ioctl)
        *(void **)&libc_ioctl = dlsym(RTLD_NEXT, "ioctl");
    if ((unsigned int)request == (unsigned int)KVM_SET_SREGS) {
        changed = *(struct kvm_sregs *)argument;
        if (changed.tr.type == BUSY)
            changed.tr.type = AVAILABLE;
        argument = &changed;
    }
    return libc_ioctl(fd, request, argument);
}
