"""What Linux can do for those who run commands, and the standard library does not pass on.

`spawn` executes a program as the leader of a new session: by clone with the memory of the parent shared until exec, so
that it costs what posix_spawn costs, with what that has no words for: a folder, a mark, namespaces, a cgroup. `reap`
takes the ended children, and ends what is left in their groups before their numbers can be given to others. `FastLane`
(`_lane.pxi`) does both for commands of which there is nothing special to say, without the interpreter.

*The mark* is a limit of time for realtime processes (RLIMIT_RTTIME) of more than 10,000 years: it is never in force, is
inherited whatever a process does to its environment, session or parent, anybody may read it, and without privilege it
can only be made smaller.
"""

from cpython.bytes cimport PyBytes_AsStringAndSize
from libc.errno cimport ENOENT, ENOTDIR, errno
from libc cimport signal as c
from libc.signal cimport SIG_DFL, SIGCHLD, SIGINT, SIGPIPE, SIGXFSZ, signal
from libc.stdint cimport uint64_t
from libc.stdio cimport snprintf, sscanf
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset, strerror, strlen, strrchr
from posix.signal cimport kill
from posix.types cimport pid_t
from posix.unistd cimport getegid, geteuid

import os

cdef extern from "Python.h":
    str PyUnicode_DecodeFSDefault(const char *text)
    bytes PyUnicode_EncodeFSDefault(str text)

cdef extern from *:
    """
    #include <fcntl.h>
    #include <linux/falloc.h>
    #include <sched.h>
    #include <signal.h>
    #include <sys/mount.h>
    #include <sys/prctl.h>
    #include <sys/resource.h>
    #include <sys/signalfd.h>
    #include <sys/syscall.h>
    #include <sys/wait.h>
    #include <unistd.h>
    #define MOST_FILES (1 << 20)
    #ifndef SYS_close_range
    #define SYS_close_range 436
    #endif
    #ifndef SYS_pidfd_open
    #define SYS_pidfd_send_signal 424
    #define SYS_pidfd_open 434
    #endif
    #ifndef CLONE_PIDFD
    #define CLONE_PIDFD 0x1000
    #endif
    """
    ctypedef struct sigset_t:
        pass

    ctypedef struct siginfo_t:
        pid_t si_pid

    ctypedef unsigned long rlim_t

    struct rlimit:
        rlim_t rlim_cur
        rlim_t rlim_max

    struct timeval:
        long tv_sec
        long tv_usec

    struct rusage:
        timeval ru_utime
        timeval ru_stime
        long ru_maxrss

    struct signalfd_siginfo:
        unsigned int ssi_signo, ssi_pid

    const int CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWUSER, CLONE_PIDFD, CLONE_VFORK, CLONE_VM, F_SETFD
    const int FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_SLAVE
    const int O_APPEND, O_CLOEXEC, O_CREAT, O_NOCTTY, O_RDONLY, O_TRUNC, O_WRONLY, P_ALL, PR_SET_CHILD_SUBREAPER
    const int RLIMIT_NOFILE, RLIMIT_RTTIME, SIG_BLOCK, SIG_SETMASK, MOST_FILES, WEXITED, WNOHANG, WNOWAIT, X_OK
    const int SFD_CLOEXEC, SFD_NONBLOCK, SYS_close_range, SYS_pidfd_open, SYS_pidfd_send_signal
    int access(const char *path, int mode) nogil
    int chdir(const char *path) nogil
    int clone(int (*run)(void *) noexcept nogil, void *stack, int flags, void *given, ...) nogil
    int close(int fd) nogil
    int dup2(int old, int new) nogil
    int execve(const char *path, char **argv, char **envp) nogil
    void _exit(int code) nogil
    int fallocate(int fd, int mode, long offset, long length) nogil
    int fcntl(int fd, int what, int value) nogil
    int mount(const char *source, const char *target, const char *kind, unsigned long flags, const void *data) nogil
    int open(const char *path, int flags, int mode) nogil
    int prctl(int what, unsigned long value, unsigned long, unsigned long, unsigned long) nogil
    int prlimit(pid_t pid, int what, const rlimit *new, rlimit *old) nogil
    int pthread_sigmask(int how, const sigset_t *new, sigset_t *old) nogil
    int sigaddset(sigset_t *set, int number) nogil
    int sigemptyset(sigset_t *set) nogil
    int sigfillset(sigset_t *set) nogil
    int signalfd(int fd, const sigset_t *set, int flags) nogil
    pid_t getpid() nogil
    int setpgid(pid_t pid, pid_t group) nogil
    pid_t setsid() nogil
    long syscall(long number, ...) nogil
    pid_t wait4(pid_t pid, int *status, int options, rusage *usage) nogil
    int waitid(int kind, int id, siginfo_t *info, int options) nogil
    ssize_t read(int fd, void *data, size_t size) nogil
    ssize_t write(int fd, const void *data, size_t size) nogil

HAS_FAST_LANE = True
# The module that names signals takes as long to load as all else that an agent needs.
SIGCONT, SIGKILL, SIGSTOP, SIGTERM = c.SIGCONT, c.SIGKILL, c.SIGSTOP, c.SIGTERM

cdef enum:
    STACK = 64 * 1024  # bytes, for what happens between clone and exec
    LINE = 32  # bytes that hold "uid uid 1"

cdef struct Job:
    # What a child has to do before it executes, and what kept it from that. Shared with its parent until then.
    const char *candidates  # paths to try, each ended by a zero, the last by two
    char **argv  # NULL: nothing is executed
    char **shell  # what is executed where none of them can be; NULL: nothing
    char **envp
    const char *cwd  # NULL: that of the parent
    const char *files[3]  # stdin, stdout, stderr; NULL: what the parent has, and for stderr its stdin
    int held[3]  # descriptors that the parent holds for them; 0: none
    bint keep_stderr  # stderr is that of the parent
    int channel  # a descriptor that it has besides the first three, and no other; -1: those that are inherited
    bint in_session  # it leads a process group in the session of its parent, and not a session
    int procs  # cgroup.procs of the cgroup that it is to be in; -1: that of the parent
    int spaces  # the CLONE_NEW... that it is the first process of
    char uid_map[LINE]  # of a new user namespace
    char gid_map[LINE]
    const char *first_pid  # about where the new process ids begin
    uint64_t mark  # 0: none
    rlim_t n_files  # its soft limit of descriptors; 0: that of the parent
    int error  # what went wrong, or 0
    const char *culprit  # and with what; NULL: with the clone itself


cdef char stack[STACK]  # one is enough: the parent sleeps, and holds the interpreter's lock, until it is free again


cdef class Variables:
    """An environment as C has it: made once, and used many times."""

    cdef list _kept  # holds the bytes
    cdef char **_words
    cdef Py_ssize_t _n, _room

    def __cinit__(self, list variables, Py_ssize_t room=0):
        """See the stub."""
        self._kept, self._n, self._room = variables, len(variables), room
        self._words = <char **>malloc((self._n + room + 1) * sizeof(char *))
        if self._words == NULL:
            raise MemoryError
        fill(self._words, variables)

    def __dealloc__(self):
        free(self._words)

    cdef char **with_more(self, list more) except NULL:
        """These and so many more, until it is called again."""
        if len(more) > self._room:
            raise ValueError("there are too many variables")
        fill(self._words + self._n, more)
        return self._words


cdef int fill(char **words, list strings) except -1:
    """Pointers to the characters of some bytes, and NULL. Raises ValueError for a zero in them."""
    cdef Py_ssize_t i
    for i in range(len(strings)):
        PyBytes_AsStringAndSize(strings[i], &words[i], NULL)
    words[len(strings)] = NULL
    return 0


cdef bytes encoded(str text):
    return None if text is None else PyUnicode_EncodeFSDefault(text)


def spawn(
    bytes candidates,
    list argv,
    Variables variables,
    list more,
    str shell=None,
    str cwd=None,
    str stdin=None,
    str stdout=None,
    str stderr=None,
    uint64_t mark=0,
    int procs=-1,
    int n_files=0,
    *,
    bint keep_stderr=False,
    int channel=-1,
    str spaces="",
    bytes first_pid=b"1",
):
    """See the stub."""
    cdef Job job
    cdef int pid, pidfd = -1, flags = CLONE_VM | CLONE_VFORK | SIGCHLD
    cdef bytes files0 = encoded(stdin), files1 = encoded(stdout), files2 = encoded(stderr), folder = encoded(cwd)
    cdef bytes line = encoded(shell)
    cdef char **words
    cdef char *shell_words[4]
    memset(&job, 0, sizeof(job))
    job.files[0], job.files[1], job.files[2], job.cwd = text(files0), text(files1), text(files2), text(folder)
    job.candidates, job.envp = candidates, variables.with_more(more)
    if line is not None:
        shell_words[0], shell_words[1], shell_words[2], shell_words[3] = b"/bin/sh", b"-c", text(line), NULL
        job.shell = shell_words
    job.keep_stderr, job.channel, job.procs, job.mark, job.n_files = keep_stderr, channel, procs, mark, n_files
    if spaces:
        job.spaces = CLONE_NEWPID | CLONE_NEWNS | (CLONE_NEWUSER if spaces == "user" else 0)
        job.first_pid = first_pid
        snprintf(job.uid_map, LINE, "%u %u 1", geteuid(), geteuid())
        snprintf(job.gid_map, LINE, "%u %u 1", getegid(), getegid())
    if channel >= 0:
        flags |= CLONE_PIDFD
    cdef list kept = [encoded(word) for word in argv]
    words = <char **>malloc((len(kept) + 1) * sizeof(char *))
    if words == NULL:
        raise MemoryError
    try:
        fill(words, kept)
        job.argv = words if kept else job.shell
        pid = execute(&job, flags | job.spaces, &pidfd)
        if job.error:
            give_up(&job, pid, pidfd)
    finally:
        free(words)
    return pid, pidfd


cdef int execute(Job *job, int flags, int *pidfd) noexcept:
    """Make a child that does a job; its process id. What went wrong stands in the job."""
    cdef sigset_t every, before
    # No handler of the parent's may run in a child that shares its memory.
    sigfillset(&every)
    pthread_sigmask(SIG_BLOCK, &every, &before)
    cdef int pid = clone(begin, stack + STACK, flags, job, pidfd)
    if pid < 0:
        job.error = errno
    pthread_sigmask(SIG_SETMASK, &before, NULL)
    return pid


cdef int give_up(Job *job, int pid, int pidfd) except -1:
    """Take the child that could not do its job, and say why."""
    if pid > 0:
        wait4(pid, NULL, 0, NULL)
    if pidfd >= 0:
        close(pidfd)
    message = strerror(job.error).decode()
    if job.culprit == NULL:
        raise OSError(job.error, message)
    raise OSError(job.error, message, os.fsdecode(job.culprit))


cdef char *text(bytes path) except? NULL:
    """Some bytes as C has them, or NULL for None. Raises ValueError for a zero in them."""
    cdef char *start = NULL
    if path is not None:
        PyBytes_AsStringAndSize(path, &start, NULL)
    return start


cdef int begin(void *given) noexcept nogil:
    """What the child does: nothing is allocated, no lock is taken, nothing of the parent's changes but the job."""
    cdef Job *job = <Job *>given
    cdef const char *path = job.candidates
    cdef sigset_t none
    cdef int error = ENOENT
    if job.in_session:
        setpgid(0, 0)
    else:
        setsid()
    if job.spaces:
        enter_spaces(job)
    if job.procs >= 0 and write(job.procs, b"0", 1) < 0:
        fail(job, errno, b"cgroup.procs")
    open_files(job)
    if job.cwd != NULL and chdir(job.cwd) < 0:
        fail(job, errno, job.cwd)
    set_limits(job)
    sigemptyset(&none)
    pthread_sigmask(SIG_SETMASK, &none, NULL)
    if job.argv == NULL:
        _exit(0)
    while path[0]:
        # Looked at first: an exec that fails costs many times as much.
        if access(path, X_OK) == 0:
            execve(path, job.argv, job.envp)
        if errno != ENOENT and errno != ENOTDIR:
            error = errno
        path += strlen(path) + 1
    if job.shell != NULL:  # that the command is not found is for the shell to say, as it would
        execve(job.shell[0], job.shell, job.envp)
        error = errno
    fail(job, error, job.argv[0])
    return 0


cdef void fail(Job *job, int error, const char *culprit) noexcept nogil:
    job.error, job.culprit = error, culprit
    _exit(127)


cdef void enter_spaces(Job *job) noexcept nogil:
    """See to a /proc that shows the new process ids, and to the own user in a user namespace; mounts stay here."""
    if job.spaces & CLONE_NEWUSER:
        put(job, b"/proc/self/setgroups", b"deny")
        put(job, b"/proc/self/uid_map", job.uid_map)
        put(job, b"/proc/self/gid_map", job.gid_map)
    if mount(b"none", b"/", NULL, MS_REC | MS_SLAVE, NULL) < 0:
        fail(job, errno, b"/")
    if mount(b"proc", b"/proc", b"proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0:
        fail(job, errno, b"/proc")
    cdef int fd = open(b"/proc/sys/kernel/ns_last_pid", O_WRONLY | O_CLOEXEC, 0)
    if fd >= 0:  # not every kernel has it; then ids begin at 2, and are those of other namespaces too
        write(fd, job.first_pid, strlen(job.first_pid))
        close(fd)


cdef void put(Job *job, const char *path, const char *line) noexcept nogil:
    """Write a line to a file of /proc, or fail."""
    cdef int fd = open(path, O_WRONLY | O_CLOEXEC, 0)
    if fd < 0 or write(fd, line, strlen(line)) < 0:
        fail(job, errno, path)
    close(fd)


cdef void open_files(Job *job) noexcept nogil:
    """Stdin, stdout, stderr, and for an agent its channel and no other descriptor."""
    cdef int i, fd
    cdef int flags = O_RDONLY | O_CLOEXEC | O_NOCTTY
    for i in range(3):
        if job.held[i]:
            dup2(job.held[i], i)
        elif job.files[i] != NULL:
            fd = open(job.files[i], flags, 0o666)
            if fd < 0:
                fail(job, errno, job.files[i])
            dup2(fd, i)
        elif i == 2 and not job.keep_stderr:
            dup2(0, 2)
        flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOCTTY
    if job.channel >= 0:
        fcntl(job.channel, F_SETFD, 0)
        close_from(3, job.channel - 1)
        close_from(job.channel + 1, MOST_FILES)


cdef void close_from(unsigned int first, unsigned int last) noexcept nogil:
    cdef unsigned int fd
    if first <= last and syscall(SYS_close_range, first, last, 0) < 0:
        for fd in range(first, last + 1):  # before Linux 5.9
            close(fd)


cdef void set_limits(Job *job) noexcept nogil:
    """A signal that Python ignores as it should be, the mark, and the limit of descriptors."""
    cdef rlimit limit
    signal(SIGPIPE, SIG_DFL)
    if job.mark:
        limit.rlim_cur = limit.rlim_max = job.mark
        prlimit(0, RLIMIT_RTTIME, &limit, NULL)  # it is not set where a smaller one is in force
    if job.n_files and prlimit(0, RLIMIT_NOFILE, NULL, &limit) == 0:
        limit.rlim_cur = job.n_files
        prlimit(0, RLIMIT_NOFILE, &limit, NULL)


def reap(leaders):
    """See the stub."""
    cdef siginfo_t info
    cdef rusage usage
    cdef int status
    cdef pid_t pid
    ended = []
    while True:
        pid = next_ended(&info)
        if not pid:
            return ended
        if pid in leaders:
            kill(-pid, c.SIGKILL)
        wait4(pid, &status, 0, &usage)
        seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
        seconds += (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
        ended.append((pid, status, seconds, usage.ru_maxrss))


cdef pid_t next_ended(siginfo_t *info) noexcept nogil:
    """A child that has ended and is not taken yet, so that its number is still its own; 0: there is none."""
    info.si_pid = 0
    return 0 if waitid(P_ALL, 0, info, WEXITED | WNOHANG | WNOWAIT) < 0 else info.si_pid


def watch_signals():
    """See the stub."""
    cdef sigset_t watched
    sigemptyset(&watched)
    sigaddset(&watched, SIGCHLD)
    sigaddset(&watched, c.SIGTERM)
    sigaddset(&watched, SIGINT)
    pthread_sigmask(SIG_BLOCK, &watched, NULL)
    # Python ignores the first, and whoever started us may ignore the others: nobody would hear of children then, and
    # commands would inherit it.
    signal(SIGXFSZ, SIG_DFL)
    signal(SIGCHLD, SIG_DFL)
    signal(c.SIGTERM, SIG_DFL)
    signal(SIGINT, SIG_DFL)
    return checked(signalfd(-1, &watched, SFD_CLOEXEC | SFD_NONBLOCK))


def read_signals(int fd):
    """See the stub."""
    cdef signalfd_siginfo came[4]
    numbers = []
    cdef ssize_t size = read(fd, came, sizeof(came))
    for i in range(size // <ssize_t>sizeof(signalfd_siginfo) if size > 0 else 0):
        numbers.append(came[i].ssi_signo)
    return numbers


def look_at(int pid):
    """See the stub."""
    cdef unsigned long long start
    cdef int parent
    cdef char state
    if read_stat(pid, &parent, &state, &start) < 0:
        return None
    return parent, chr(state), start


cdef int read_stat(int pid, int *parent, char *state, unsigned long long *start) noexcept nogil:
    """Three fields of /proc/PID/stat; less than 0 where the process is not there."""
    cdef char path[32]
    cdef char line[1024]
    cdef char *rest
    cdef int n_threads
    snprintf(path, sizeof(path), "/proc/%d/stat", pid)
    cdef int fd = open(path, O_RDONLY | O_CLOEXEC, 0)
    if fd < 0:
        return -1
    cdef ssize_t size = read(fd, line, sizeof(line) - 1)
    close(fd)
    if size <= 0:
        return -1
    line[size] = 0
    rest = strrchr(line, b")")  # the name may hold anything
    if rest == NULL:
        return -1
    # State and parent are the 3rd and the 4th field, the number of threads is the 20th, when it began the 22nd.
    if sscanf(
        rest + 1,
        " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %d %*d %llu",
        state,
        parent,
        &n_threads,
        start,
    ) < 4:
        return -1
    if state[0] == b"Z" and n_threads > 1:
        state[0] = b"S"  # its first thread has ended, and others live
    return 0


def signal_exactly(int pid, unsigned long long start, int number):
    """See the stub."""
    cdef unsigned long long began
    cdef int parent
    cdef char state
    cdef bint sent = False
    cdef long pidfd = syscall(SYS_pidfd_open, pid, 0)
    if pidfd < 0:
        return False
    # What the handle stands for is what is looked at: as long as it lives its number is not given to others.
    if read_stat(pid, &parent, &state, &began) == 0 and began == start:
        sent = syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0
    close(<int>pidfd)
    return sent


def send_signal(int pidfd, int number):
    """See the stub."""
    return syscall(SYS_pidfd_send_signal, pidfd, number, NULL, 0) == 0


def mark_of(pid_t pid):
    """See the stub."""
    cdef rlimit limit
    return 0 if prlimit(pid, RLIMIT_RTTIME, NULL, &limit) < 0 else limit.rlim_max


def adopt_orphans():
    """See the stub."""
    checked(prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))


def punch(int fd, long offset, long length):
    """See the stub."""
    checked(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length))


cdef int checked(int answer) except -1:
    if answer < 0:
        raise OSError(errno, strerror(errno).decode())
    return answer


include "_lane.pxi"
