# Counts the instructions that another process executes, by letting it take one step after another.
#
# This is slow (50,000 to 500,000 steps a second) and exact, and wants nothing but Linux, a compiler and leave to
# trace one's own child: no performance counters, which virtual machines rarely have, and no valgrind.

from cpython.exc cimport PyErr_SetFromErrno
from libc.stdint cimport int64_t, uint64_t
from posix.types cimport pid_t

cdef extern from *:
    """
    #include <elf.h>
    #include <signal.h>
    #include <sys/ptrace.h>
    #include <sys/uio.h>
    #include <sys/user.h>
    #include <sys/wait.h>

    #if defined(__x86_64__)
    #define PLACE(r) (r).rip
    #elif defined(__aarch64__)
    #define PLACE(r) (r).pc
    #else
    #error "where this machine keeps the address of the next instruction is not known here"
    #endif

    static int place_of(pid_t pid, uint64_t *place) {
        struct user_regs_struct registers;
        struct iovec io = {&registers, sizeof registers};
        if (ptrace(PTRACE_GETREGSET, pid, (void *)NT_PRSTATUS, &io)) return -1;
        *place = PLACE(registers);
        return 0;
    }
    static int be_traced(void) { return ptrace(PTRACE_TRACEME, 0, 0, 0); }
    static int run_on(pid_t pid, int signal) { return ptrace(PTRACE_CONT, pid, 0, signal); }
    static int let_loose(pid_t pid) { return ptrace(PTRACE_DETACH, pid, 0, 0); }
    static int step_on(pid_t pid, int signal) { return ptrace(PTRACE_SINGLESTEP, pid, 0, signal); }
    static int wait_stopped(pid_t pid) {
        int status;
        if (waitpid(pid, &status, 0) < 0) return -1;
        return WIFSTOPPED(status) ? WSTOPSIG(status) : 0;
    }
    """
    int place_of(pid_t pid, uint64_t *place) nogil
    int be_traced() nogil
    int run_on(pid_t pid, int signal) nogil
    int step_on(pid_t pid, int signal) nogil
    int let_loose(pid_t pid) nogil
    int wait_stopped(pid_t pid) nogil   # the signal; 0 = it has ended; -1 = error
    int SIGTRAP


def trace_me():
    """Called in the child before it executes the program; the parent may then follow it."""
    if be_traced():
        PyErr_SetFromErrno(OSError)


def follow(pid_t pid, int mark):
    """Let the child run until it raises the signal `mark`, which it never sees. False where it ended before."""
    cdef int signal = wait_stopped(pid)
    while signal > 0 and signal != mark:
        if run_on(pid, 0 if signal == SIGTRAP else signal):
            PyErr_SetFromErrno(OSError)
        signal = wait_stopped(pid)
    if signal < 0:
        PyErr_SetFromErrno(OSError)
    return signal == mark


def count(pid_t pid, int mark, ranges):
    """Step from one `mark` to the next: (instructions in all, instructions at addresses within the ranges).

    ranges: at most 16 of (first, past the last). The child stands at the second mark then; `let_go` sets it free.
    """
    cdef uint64_t lows[16]
    cdef uint64_t highs[16]
    cdef int n = len(ranges), i, signal = 0, failed = 0
    cdef int64_t total = 0, own = 0
    cdef uint64_t place = 0
    if n > 16:
        raise ValueError("too many ranges")
    for i, (low, high) in enumerate(ranges):
        lows[i], highs[i] = low, high
    with nogil:
        while True:
            failed = place_of(pid, &place)      # of the instruction that comes next
            if failed or step_on(pid, 0 if signal == SIGTRAP else signal):
                failed = -1
                break
            signal = wait_stopped(pid)
            if signal == mark or signal <= 0:
                break
            total += 1
            for i in range(n):
                if lows[i] <= place < highs[i]:
                    own += 1
    if failed or signal < 0:
        PyErr_SetFromErrno(OSError)
    if signal != mark:
        raise RuntimeError("the child ended between the marks")
    return total, own


def let_go(pid_t pid):
    """Trace the child, which stands at a mark, no longer; it goes on by itself."""
    if let_loose(pid):
        PyErr_SetFromErrno(OSError)
