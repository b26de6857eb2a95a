/*
 * Builds the signal frame that restores a borrowed thread by itself.
 *
 * Layout and checks follow the kernel's arch/x86/kernel/signal_64.c (restore_sigcontext) and
 * arch/x86/kernel/fpu/signal.c (check_xstate_in_sigframe); uapi asm/sigcontext.h and
 * asm-generic/ucontext.h have the types.
 */
#include "internal.h"

#include <asm/sigcontext.h>
#include <cpuid.h>
#include <errno.h>
#include <string.h>

/* uapi asm/ucontext.h, which does not go together with libc's headers. */
#define UC_FP_XSTATE 0x1
#define UC_SIGCONTEXT_SS 0x2
#define UC_STRICT_RESTORE_SS 0x4

struct user_context {
    uint64_t flags;
    uint64_t link;
    uint64_t stack_address;
    int32_t stack_flags, padding;
    uint64_t stack_size;
    struct sigcontext_64 machine;
    uint64_t signal_mask;
};

#define LEGACY_SIZE 512u
#define SOFTWARE_BYTES 464u
#define XSTATE_HEADER 64u
#define AMX_FEATURES (3ull << 17) /* tile configuration and data */

/*
 * The extended state's size in the standard format without AMX. The kernel takes nothing larger
 * than what the thread has permission for, and AMX needs a permission of its own.
 */
static size_t standard_size(uint64_t features)
{
    size_t largest = LEGACY_SIZE + XSTATE_HEADER;
    for (unsigned i = 2; i < 63; i++) {
        unsigned size, offset, c, d;
        if (!(features >> i & 1) || !__get_cpuid_count(0xd, i, &size, &offset, &c, &d))
            continue;
        if (!(c & 1) && offset + size > largest) /* bit 0 of ECX: supervisor state */
            largest = offset + size;
    }
    return largest;
}

/*
 * An interrupted system call is run again from its start. For a relative time-out that means
 * waiting its whole length again, which a caller cannot tell from a slow clock; EINTR it could.
 */
static void set_resume_point(struct sigcontext_64 *machine, const struct user_regs_struct *r)
{
    machine->ax = r->rax;
    machine->ip = r->rip;
    if (naht_is_restarted(r)) {
        machine->ax = r->orig_rax;
        machine->ip = r->rip - 2; /* the length of `syscall` */
    }
}

static void set_machine(struct sigcontext_64 *machine, const struct user_regs_struct *r)
{
    *machine = (struct sigcontext_64){
        .r8 = r->r8, .r9 = r->r9, .r10 = r->r10, .r11 = r->r11,
        .r12 = r->r12, .r13 = r->r13, .r14 = r->r14, .r15 = r->r15,
        .di = r->rdi, .si = r->rsi, .bp = r->rbp, .bx = r->rbx,
        .dx = r->rdx, .cx = r->rcx, .sp = r->rsp, .flags = r->eflags,
        .cs = (uint16_t)r->cs, .gs = (uint16_t)r->gs, .fs = (uint16_t)r->fs,
        .ss = (uint16_t)r->ss,
    };
    set_resume_point(machine, r);
}

static size_t put_extended_state(uint8_t *to, size_t room, const uint8_t *extended, size_t size)
{
    uint64_t features, in_use;
    if (size < LEGACY_SIZE + XSTATE_HEADER)
        return 0;
    memcpy(&features, extended + SOFTWARE_BYTES, 8); /* ptrace puts the feature mask here */
    memcpy(&in_use, extended + LEGACY_SIZE, 8);
    if (in_use & AMX_FEATURES)
        return 0;
    features &= ~AMX_FEATURES;
    size_t standard = standard_size(features);
    if (standard > size || standard + 4 > room)
        return 0;
    memcpy(to, extended, standard);
    struct _fpx_sw_bytes software = {
        .magic1 = FP_XSTATE_MAGIC1,
        .extended_size = (uint32_t)standard + FP_XSTATE_MAGIC2_SIZE,
        .xfeatures = features,
        .xstate_size = (uint32_t)standard,
    };
    const uint32_t magic = FP_XSTATE_MAGIC2;
    memcpy(to + SOFTWARE_BYTES, &software, sizeof software);
    memcpy(to + standard, &magic, sizeof magic);
    return standard + 4;
}

size_t naht_build_frame(uint8_t *buffer, size_t room, uint64_t address,
    const struct user_regs_struct *registers, uint64_t signal_mask, const uint8_t *extended,
    size_t extended_size, const uint64_t *chain, size_t chain_count)
{
    struct user_context context = {
        .flags = UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        .stack_flags = 7, /* no such mode: the alternate stack stays as it is */
        .signal_mask = signal_mask,
    };
    size_t chain_size = chain_count * 8;
    size_t state_at = (chain_size + sizeof context + 63) & ~63ull; /* XRSTOR wants 64 */
    if (chain_count > NAHT_MAX_CHAIN || address % 64 || room < state_at)
        return 0;
    size_t state = put_extended_state(buffer + state_at, room - state_at, extended, extended_size);
    if (!state)
        return 0;
    set_machine(&context.machine, registers);
    context.machine.fpstate = address + state_at;
    memcpy(buffer, chain, chain_size);
    memcpy(buffer + chain_size, &context, sizeof context);
    return state_at + state;
}
