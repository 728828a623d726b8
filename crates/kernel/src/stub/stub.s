# The CPL 0 stub: all of the kernel that runs privileged.
#
# It boots, answers traps, seals the page tables and idles. Everything else is CPL 3. On
# hosts whose KVM interprets supervisor mode every instruction here costs about 0.6 us, so
# there is little of it, and it touches no SSE register and no user stack below the frame it
# delivers.
#
#   boot ──iretq──> CPL 3 ──trap──> stub ──iretq──> trap handler at CPL 3 (on its own stack)
#                     │ ^
#                     └─┴─ hlt: the gate (rax = 0 idle, 1 seal, 2 map large, 3 map small)

.set PAGE,          4096
.set PTE_P,         1
.set PTE_W,         2
.set PTE_U,         4
.set PTE_PS,        0x80
.set PTE_NX,        1 << 63
.set STUB_TEXT,     0x800000
.set TSS,           0xa07000
.set POOL_START,    0xc00000
.set WINDOW_BASE,   0x8000000000          # PML4 entry 1
.set WINDOW_SPAN,   48 << 30              # 8 windows of 6 GiB
.set TAIL_TABLES,   64
.set KCODE,         0x08
.set KDATA,         0x10
.set UDATA,         0x18 | 3
.set UCODE,         0x20 | 3
.set CODE32,        0x28
.set TSS_SELECTOR,  0x30
.set USER_FLAGS,    0x2                   # no interrupts, no I/O privilege: see port_rights
.set EFER,          0xc0000080
.set EFER_BITS,     0x900                 # LME, NXE
.set CR4_BITS,      0x620                 # PAE, OSFXSR, OSXMMEXCPT
.set CR0_BITS,      0x80010033            # PG, WP, NE, ET, MP, PE
.set LAPIC_EOI,     0xfee000b0
.set PORT_EXIT,     0x608
.set PORT_SERIAL,   0x3f8
.set kernel_stack_bytes, 512 << 10
.set trap_stack_bytes,    64 << 10

# ---------------------------------------------------------------- vectors
# 48 entries of 16 bytes at a known address, so that the descriptor table is constant.
.section .stub.text, "ax"
.code64
.global stub_vectors
stub_vectors:
.set vector, 0
.rept 48
    .balign 16
    .if (vector == 8) || ((vector >= 10) && (vector <= 14)) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)
    .byte 0x66, 0x90                      # the processor pushed an error code
    .else
    pushq $0
    .endif
    .if vector >= 32
    jmp stub_interrupt
    .else
    pushq $vector
    .if vector == 13
    jmp stub_protection
    .else
    jmp stub_trap
    .endif
    .endif
    .set vector, vector + 1
.endr

# ---------------------------------------------------------------- interrupts
# They only end an idle: whoever idled looks at the devices again.
.balign 16
stub_interrupt:
    addq $8, %rsp
    pushq %rax
    movl $LAPIC_EOI, %eax
    movl $0, (%rax)
    popq %rax
    iretq

# ---------------------------------------------------------------- the gate
# stack: vector, error, rip, cs, rflags, rsp, ss
.balign 16
stub_protection:
    cmpq $0, 8(%rsp)
    jne stub_trap
    testb $3, 24(%rsp)
    jz stub_trap
    pushq %rcx
    movq 24(%rsp), %rcx
    cmpb $0xf4, (%rcx)                    # hlt
    popq %rcx
    jne stub_trap
    incq 16(%rsp)
    addq $16, %rsp                        # now: rip, cs, rflags, rsp, ss
    cmpq $1, %rax
    jb gate_idle
    je gate_seal
    cmpq $3, %rax
    jb gate_map_large
    je gate_map_small
gate_refuse:
    movq $-1, %rax
    iretq

gate_idle:
    sti
    hlt
    cli
    xorl %eax, %eax
    iretq

# rdi: end of the pool. From here on CPL 3 cannot reach the tables, and page 0 is gone.
gate_seal:
    cmpq $0, pool_end
    jne gate_refuse
    movq %rdi, pool_end
    andb $~PTE_U, low_directory + 4 * 8
    andb $~PTE_U, low_directory + 5 * 8
    movq $0, low_directory
    movq %cr3, %rax
    movq %rax, %cr3
    xorl %eax, %eax
    iretq

# rdi: window address, rsi: physical address, both 2 MiB aligned.
gate_map_large:
    testq $0x1fffff, %rdi
    jnz gate_refuse
    testq $0x1fffff, %rsi
    jnz gate_refuse
    movl $0x200000, %edx
    call check_ranges
    jc gate_refuse
    movabsq $(PTE_NX | PTE_PS | PTE_U | PTE_W | PTE_P), %rax
    orq %rsi, %rax
    movq %rax, window_directories(, %rcx, 8)
    invlpg (%rdi)
    xorl %eax, %eax
    iretq

# rdi: window address, rsi: physical address, both 4 KiB aligned; rdx: pages, which must
# not cross 2 MiB; r8: which tail table serves this 2 MiB of window.
gate_map_small:
    cmpq $TAIL_TABLES, %r8
    jae gate_refuse
    movq %rdi, %rax
    orq %rsi, %rax
    testq $0xfff, %rax
    jnz gate_refuse
    movq %rdi, %rax
    shrq $12, %rax
    andl $511, %eax
    addq %rdx, %rax
    cmpq $512, %rax
    ja gate_refuse
    testq %rdx, %rdx
    jz gate_refuse
    cmpq $512, %rdx
    ja gate_refuse
    movq %rdx, %r9
    shlq $12, %rdx
    call check_ranges
    jc gate_refuse
    shlq $12, %r8
    addq $tail_tables, %r8
    leaq (PTE_U | PTE_W | PTE_P)(%r8), %rax
    movq window_directories(, %rcx, 8), %r10
    andq $~0x60, %r10                     # accessed, dirty: the processor's own marks
    cmpq %rax, %r10
    je 3f
    # The table served another 2 MiB before: nothing of that may show here.
    pushq %rax
    pushq %rcx
    pushq %rdi
    movq %r8, %rdi
    xorl %eax, %eax
    movl $512, %ecx
    cld
    rep stosq
    popq %rdi
    popq %rcx
    popq %rax
    movq %rax, window_directories(, %rcx, 8)
3:  movq %rdi, %rcx
    shrq $12, %rcx
    andl $511, %ecx
    leaq (%r8, %rcx, 8), %r8
    movabsq $(PTE_NX | PTE_U | PTE_W | PTE_P), %rax
    orq %rsi, %rax
1:  movq %rax, (%r8)
    addq $8, %r8
    addq $PAGE, %rax
    decq %r9
    jnz 1b
    xorl %eax, %eax
    iretq

# Carry set unless rdi..rdi+rdx lies in the windows and rsi..rsi+rdx in the sealed pool.
# Leaves the index of the window's directory entry in rcx. rdx is at most 2 MiB.
check_ranges:
    movabsq $WINDOW_BASE, %rcx
    movq %rdi, %rax
    subq %rcx, %rax
    jc 2f
    movq %rax, %rcx
    addq %rdx, %rax
    jc 2f
    movabsq $(WINDOW_SPAN + 1), %r10
    cmpq %r10, %rax
    jae 2f
    shrq $21, %rcx
    cmpq $POOL_START, %rsi
    jb 2f
    movq %rsi, %rax
    addq %rdx, %rax
    jc 2f
    cmpq %rax, pool_end
    jb 2f
    clc
    ret
2:  stc
    ret

# ---------------------------------------------------------------- traps
# Copies the frame to the trap stack of CPL 3 and goes on in its handler there.
# stack: vector, error, rip, cs, rflags, rsp, ss
.balign 16
stub_trap:
    testb $3, 24(%rsp)
    jz stub_fatal                         # a fault of the stub itself
    cld                                   # CPL 3 may have left it set
    pushq %rax
    pushq %rcx
    pushq %rdx
    pushq %rbx
    pushq %rbp
    pushq %rsi
    pushq %rdi
    pushq %r8
    pushq %r9
    pushq %r10
    pushq %r11
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %cr2, %rax
    pushq %rax
    movq 23 * 8 - 2 * 8(%rsp), %rax       # rsp at the trap (see TrapFrame)
    leaq trap_stack(%rip), %rcx
    cmpq %rcx, %rax
    jb 3f
    addq $(trap_stack_bytes), %rcx
    cmpq %rcx, %rax
    jbe stub_fatal                        # a trap while a trap was being handled
3:  leaq trap_stack + trap_stack_bytes - 23 * 8(%rip), %rdi
    movq %rdi, %rdx
    movq %rsp, %rsi
    movl $23, %ecx
    rep movsq
    addq $(23 * 8), %rsp
    movq %rdx, %rdi                       # first argument: the frame
    subq $16, %rdx
    andq $-16, %rdx
    subq $8, %rdx                         # as if called
    pushq $UDATA
    pushq %rdx
    pushq $USER_FLAGS
    pushq $UCODE
    pushq $kernel_trap
    xorl %ebp, %ebp
    iretq

# Nothing can be trusted any more: one letter on the serial line, then out.
stub_fatal:
    movl $PORT_SERIAL, %edx
    movb $'!', %al
    outb %al, %dx
    movl $PORT_EXIT, %edx
    movl $2, %eax
    outl %eax, %dx
    movl $0x64, %edx
    movb $0xfe, %al
    outb %al, %dx
4:  cli
    hlt
    jmp 4b

# ---------------------------------------------------------------- boot
# PVH: 32-bit protected mode without paging, ebx = start information.
.code32
.global stub_entry_pvh
stub_entry_pvh:
    cli
    cld
    movl $stub_stack_top, %esp
    movl $CR4_BITS, %eax
    movl %eax, %cr4
    movl $top_table, %eax
    movl %eax, %cr3
    movl $EFER, %ecx
    xorl %edx, %edx
    movl $EFER_BITS, %eax
    wrmsr
    movl $CR0_BITS, %eax
    movl %eax, %cr0
    lgdt gdt_pointer
    movl %ebx, %esi
    movl $1, %edi                         # protocol 1: PVH
    ljmp $KCODE, $stub_enter

# Linux 64-bit boot protocol: long mode, low memory identity mapped, rsi = zero page.
.code64
.global stub_entry_64
stub_entry_64:
    cli
    cld
    movl $stub_stack_top, %esp
    movl $EFER, %ecx
    xorl %edx, %edx
    movl $(EFER_BITS | 0x400), %eax
    wrmsr
    movl $CR4_BITS, %eax
    movq %rax, %cr4
    movl $top_table, %eax
    movq %rax, %cr3
    movl $CR0_BITS, %eax
    movq %rax, %cr0
    lgdt gdt_pointer
    movl $2, %edi                         # protocol 2: Linux
    pushq $KCODE
    pushq $stub_enter
    lretq

stub_enter:
    movl $KDATA, %eax
    movl %eax, %ss
    movl $UDATA, %eax
    movl %eax, %ds
    movl %eax, %es
    lidt idt_pointer
    movl $TSS_SELECTOR, %eax
    ltr %ax
    fninit
    pushq $UDATA
    pushq $(kernel_stack + kernel_stack_bytes - 8)
    pushq $USER_FLAGS
    pushq $UCODE
    pushq $kernel_main
    iretq

# ---------------------------------------------------------------- tables
.section .stub.data, "aw"
.balign PAGE
top_table:                                # PML4
    .quad low_pointers + PTE_U + PTE_W + PTE_P
    .quad window_pointers + PTE_U + PTE_W + PTE_P
    .zero PAGE - 16
low_pointers:                             # the low 4 GiB, identity mapped
    .set directory, 0
    .rept 4
    .quad low_directory + directory * PAGE + PTE_U + PTE_W + PTE_P
    .set directory, directory + 1
    .endr
    .zero PAGE - 32
.global low_directory
low_directory:
    .quad 0x000000 + PTE_NX + PTE_PS + PTE_U + PTE_W + PTE_P   # boot information
    .quad 0x200000 + PTE_PS + PTE_U + PTE_P                    # kernel text
    .quad 0x400000 + PTE_NX + PTE_PS + PTE_U + PTE_P           # kernel rodata
    .quad 0x600000 + PTE_NX + PTE_PS + PTE_U + PTE_W + PTE_P   # kernel data
    .quad 0x800000 + PTE_PS + PTE_P                            # stub text
    .quad 0xa00000 + PTE_NX + PTE_PS + PTE_U + PTE_W + PTE_P   # tables; U goes at the seal
    .set page, 6
    .rept 2048 - 6
    .quad (page << 21) + PTE_NX + PTE_PS + PTE_U + PTE_W + PTE_P
    .set page, page + 1
    .endr
window_pointers:
    .set directory, 0
    .rept 48
    .quad window_directories + directory * PAGE + PTE_U + PTE_W + PTE_P
    .set directory, directory + 1
    .endr
    .zero PAGE - 48 * 8

.global task_state
task_state:                               # at TSS, which the linker checks
    .long 0
    .quad stub_stack_top
    .zero 90
    .word port_rights - task_state
port_rights:                              # a set bit forbids a port to CPL 3
    .fill 0x04, 1, 0xff
    .byte 0xfd                            # 0x21 interrupt mask
    .fill 0x0c - 0x05, 1, 0xff
    .byte 0xef                            # 0x64 reset
    .fill 0x14 - 0x0d, 1, 0xff
    .byte 0xfd                            # 0xa1 interrupt mask
    .fill 0x7f - 0x15, 1, 0xff
    .byte 0xfe                            # 0x3f8 serial
    .fill 0xc0 - 0x80, 1, 0xff
    .byte 0x00                            # 0x600 idle, 0x604 phase
    .byte 0x00                            # 0x608 exit, 0x60c alarm
    .byte 0xff                            # ends the map (SDM volume 1, 19.5.2)
.set task_state_bytes, . - task_state

.balign 16
gdt:
    .quad 0
    .quad 0x00af9b000000ffff              # 0x08 CPL 0 code, 64 bit
    .quad 0x00cf93000000ffff              # 0x10 CPL 0 data
    .quad 0x00cff3000000ffff              # 0x18 CPL 3 data
    .quad 0x00affb000000ffff              # 0x20 CPL 3 code, 64 bit
    .quad 0x00cf9b000000ffff              # 0x28 CPL 0 code, 32 bit
    .word task_state_bytes - 1, TSS & 0xffff  # 0x30 task state
    .byte (TSS >> 16) & 0xff, 0x89, 0, TSS >> 24
    .quad 0
.set gdt_bytes, . - gdt
gdt_pointer:
    .word gdt_bytes - 1
    .quad gdt

.balign 16
idt:
.set vector, 0
.rept 48
    .word (STUB_TEXT + vector * 16) & 0xffff
    .word KCODE
    .word 0x8e00
    .word (STUB_TEXT + vector * 16) >> 16
    .quad 0
    .set vector, vector + 1
.endr
.set idt_bytes, . - idt
idt_pointer:
    .word idt_bytes - 1
    .quad idt

.global pool_end
pool_end:
    .quad 0

.section .stub.bss, "aw", @nobits
.balign PAGE
.global window_directories
window_directories:
    .zero 48 * PAGE
tail_tables:
    .zero TAIL_TABLES * PAGE
.global image_tables
image_tables:                             # small pages at the edges of the image's code
    .zero 4 * PAGE
stub_stack:
    .zero PAGE
stub_stack_top:

.section .bss.stacks, "aw", @nobits
.balign PAGE
kernel_stack:
    .zero kernel_stack_bytes
.global trap_stack
trap_stack:
    .zero trap_stack_bytes

# How a VMM that speaks PVH finds the entry (Xen ELF note 18).
.section .note.pvh, "a", @note
.balign 4
    .long 4, 4, 18
    .asciz "Xen"
    .long stub_entry_pvh
