/* Hides everything beyond AVX2 from the process that preloads this, and from its children: see hidden_units.py.
 *
 * arch_prctl(ARCH_SET_CPUID, 0) makes the CPUID instruction raise SIGSEGV. The handler carries it out, takes the
 * hidden units out of its answer, and goes on behind it. Everything else runs on the processor itself, at its speed.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define ARCH_SET_CPUID 0x1012
#define BIT(n) (1u << (n))

static void cpuid(unsigned leaf, unsigned subleaf, unsigned out[4])
{
    __asm__ volatile("cpuid" : "=a"(out[0]), "=b"(out[1]), "=c"(out[2]), "=d"(out[3]) : "a"(leaf), "c"(subleaf));
}

/* Intel SDM, volume 2A, CPUID, leaf 7. */
static void hide(unsigned leaf, unsigned subleaf, unsigned r[4])
{
    if (leaf != 7)
        return;
    if (subleaf == 0) {
        r[1] &= ~(BIT(16) | BIT(17) | BIT(21) | BIT(26) | BIT(27) | BIT(28) | BIT(30) | BIT(31)); /* AVX-512 F to VL */
        r[2] &= ~(BIT(1) | BIT(6) | BIT(11) | BIT(12) | BIT(14)); /* VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ */
        r[3] &= ~(BIT(2) | BIT(3) | BIT(8) | BIT(23)); /* 4VNNIW, 4FMAPS, VP2INTERSECT, FP16 */
        r[3] &= ~(BIT(22) | BIT(24) | BIT(25)); /* AMX: bf16, tile, int8 */
    } else if (subleaf == 1) {
        r[0] &= ~(BIT(4) | BIT(5) | BIT(21) | BIT(23)); /* AVX-VNNI, AVX-512 bf16, AMX fp16, AVX-IFMA */
        r[3] &= ~(BIT(4) | BIT(5) | BIT(8) | BIT(10) | BIT(19)); /* AVX-VNNI int8 and int16, AMX complex, AVX10 */
    }
}

static void on_fault(int signal_number, siginfo_t *info, void *context)
{
    (void)info;
    greg_t *at = ((ucontext_t *)context)->uc_mcontext.gregs;
    const unsigned char *instruction = (const unsigned char *)at[REG_RIP];
    if (instruction[0] != 0x0f || instruction[1] != 0xa2) { /* a real fault: it comes again, and kills */
        signal(signal_number, SIG_DFL);
        return;
    }
    unsigned leaf = (unsigned)at[REG_RAX], subleaf = (unsigned)at[REG_RCX], r[4];
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 1);
    cpuid(leaf, subleaf, r);
    syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0);
    hide(leaf, subleaf, r);
    at[REG_RAX] = r[0];
    at[REG_RBX] = r[1];
    at[REG_RCX] = r[2];
    at[REG_RDX] = r[3];
    at[REG_RIP] += 2;
}

__attribute__((constructor)) static void begin(void)
{
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    sigaction(SIGSEGV, &action, NULL);
    if (syscall(SYS_arch_prctl, ARCH_SET_CPUID, 0) != 0)
        _exit(99);
}
