# Part of `_linux.pyx`: an agent's attempts from start to end, as long as nothing is out of the ordinary.
#
# A command that takes less than a millisecond is started and ended here without the interpreter, which would cost three
# times as much as all that is done: the caches are cold each time. What is not plain is left to the caller.

cdef extern from *:
    """
    #include <fcntl.h>
    #include <poll.h>
    #include <stdio.h>
    #include <sys/stat.h>
    #include <time.h>
    """
    struct pollfd:
        int fd
        short events
        short revents

    struct stat_t "stat":
        unsigned int st_mode, st_uid
        unsigned long st_nlink
        long st_size

    struct timespec:
        long tv_sec
        long tv_nsec

    const short POLLIN, POLLOUT
    const int CLOCK_MONOTONIC, EAGAIN, F_GETFL, O_NONBLOCK, SEEK_CUR
    int clock_gettime(int clock, timespec *now) nogil
    int fstat(int fd, stat_t *found) nogil
    int poll(pollfd *fds, unsigned long n, int timeout_ms) nogil
    long lseek(int fd, long offset, int whence) nogil
    ssize_t pread(int fd, void *data, size_t size, long offset) nogil
    int rename(const char *old, const char *new) nogil
    int stat_of "stat"(const char *path, stat_t *found) nogil
    int unlink(const char *path) nogil

cdef enum:
    AT_ONCE = 16  # starts between two looks at everything else
    CLEAN = 64  # ends that are reported between two looks at who is left behind
    POOLED = 128  # attempts at a time that write into files which are ready for the next one, where nothing was written
    READ = 1 << 14  # bytes at a time
    CHILDREN = 1 << 12  # bytes that list them, at a time
    TOGETHER = 20  # ends that are told, though something follows each
    RETURNED = -1  # the status of what is not going to be started; see `wire.py`
    SPARE_FILES = 32  # descriptors that are left to everything else, and to commands on their way
    PATH = 4096

cdef double TICK_S = 0.1  # what runs for longer is looked after by the caller
cdef double NEVER = float("inf")
cdef double HOLD_S = 0.01  # what is held is given back when the attempt before it takes longer
cdef double TELL_S = 0.006  # an end is told by then

cdef enum Stage:  # of the last attempt that a key stood for
    UNKNOWN = 0
    OPEN = 1  # it is held or runs
    OVER = 2  # it has ended
    GIVEN_BACK = 3

cdef struct Plain:
    # A start as it comes, followed by the id, the command, stdout and stderr, each with a zero. See `wire.py`.
    unsigned int size, key
    unsigned int after  # a key; 0: at once
    unsigned int attempt
    unsigned int n_words  # of a command that is a list, a zero after each; 0: it is a line
    unsigned int id_size, command_size, stdout_size, stderr_size
    double cpu_cores
    long memory_mb
    double timeout_s, grace_s
    long limit_mb

cdef struct End:
    # As it is reported.
    unsigned int key
    int status
    double cpu_seconds, peak_mb
    long long written[2]  # bytes on stdout and stderr

cdef struct Slot:
    # What is known of a key.
    Stage stage
    char *held  # a `Plain` that is to be started later; NULL: none
    unsigned int before, behind  # the keys of the attempt that it follows, while held, and of the one that follows it
    double until  # then it is given back

cdef struct Young:
    # An attempt whose leader runs, or has ended in `clean`.
    pid_t pid
    unsigned int key
    double began
    bint pooled  # it writes into the outlets of its key
    char *files[2]  # stdout and stderr, in one piece of memory; the first is NULL: they are dropped
    double timeout_s, grace_s
    long limit_mb
    double cpu_seconds
    long peak_kib

cdef bint plain_characters[256]


def _mark_plain(str syntax):
    """Which characters mean nothing to a shell."""
    cdef int i
    for i in range(256):
        plain_characters[i] = 32 <= i < 127 and chr(i) not in syntax


cdef double clock() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return now.tv_sec + now.tv_nsec / 1e9


cdef class FastLane:
    """See the stub."""

    cdef public bint asked_to_go, closed
    cdef readonly bint hung_up
    cdef readonly double heard
    cdef int _channel, _signals, _children
    cdef object _find, _name_variables
    cdef dict _leaders, _orphans, _candidates, _variables
    cdef frozenset _shell_words
    cdef bytes _mark_prefix, _outlet_prefix
    cdef uint64_t _mark
    cdef int _n_files
    cdef long _cap
    # The last amounts that were asked for.
    cdef double _cpu_cores
    cdef long _memory_mb
    cdef Variables _given
    # Who runs.
    cdef Young *_young
    cdef Py_ssize_t _n_young, _room_young
    cdef double _next_look
    cdef list _ended
    # Who is held, by key.
    cdef Slot *_slots
    cdef Py_ssize_t _n_slots
    cdef double _next_return
    # Files for outputs, by key; and the folder that they are in.
    cdef int _outlets[POOLED][2]
    cdef stat_t _as_made  # the last of them
    cdef Py_ssize_t _n_pooled  # keys that may have them
    cdef bytes _folder
    # What comes in, and what goes out.
    cdef char *_inbox
    cdef Py_ssize_t _at, _frame_end, _have, _room_in
    cdef char *_outbox
    cdef Py_ssize_t _n_out, _room_out
    cdef End *_ends
    cdef Py_ssize_t _n_ends, _room_ends
    cdef double _tell_at  # by then; 0: at once
    cdef char *_scratch
    cdef Py_ssize_t _room_scratch

    def __cinit__(
        self,
        int channel,
        int signals,
        int children,
        dict leaders,
        dict orphans,
        *,
        find,
        name_variables,
        frozenset shell_words,
        str shell_syntax,
        bytes mark_prefix,
        uint64_t mark,
        int n_files,
        long cap,
        str outlet_prefix,
    ):
        """See the stub."""
        self._channel, self._signals, self._children = channel, signals, children
        self._leaders, self._orphans, self._find, self._name_variables = leaders, orphans, find, name_variables
        self._shell_words, self._candidates, self._variables = shell_words, {}, {}
        self._mark_prefix, self._mark, self._n_files, self._cap = mark_prefix, mark, n_files, cap
        self._outlet_prefix, self._folder, self._ended = outlet_prefix.encode(), b"", []
        self._cpu_cores, self.heard = -1, clock()
        self._next_return = self._tell_at = NEVER
        _mark_plain(shell_syntax)
        memset(self._outlets, 0, sizeof(self._outlets))
        cdef rlimit limit
        limit.rlim_cur = 0
        prlimit(0, RLIMIT_NOFILE, NULL, &limit)
        self._n_pooled = min(POOLED, (max(limit.rlim_cur, SPARE_FILES) - SPARE_FILES) // 4)

    def __dealloc__(self):
        cdef Py_ssize_t key
        for key in range(self._n_slots):
            free(self._slots[key].held)
        free(self._slots)
        free(self._young)
        free(self._inbox)
        free(self._outbox)
        free(self._ends)
        free(self._scratch)

    # ------------------------------------------------------------ the caller's side

    def wait(self, double until):
        """See the stub."""
        cdef pollfd fds[2]
        cdef double now
        cdef bint pending
        cdef list bodies = []
        while True:
            pending = not self._ended and self._take_orders(bodies)
            now = clock()
            if now >= self._next_return:
                self._give_back_late(now)
            if self._n_out or (self._n_ends and (self._n_ends >= TOGETHER or now >= self._tell_at)):
                self._flush()
            if bodies or self._ended or self.asked_to_go or self.hung_up:
                break
            if self._n_young and now >= self._next_look:
                self._next_look = now + TICK_S
                if self._is_one_old(now):
                    break
            fds[0].fd, fds[0].events = self._signals, POLLIN
            fds[1].fd, fds[1].events = self._channel, POLLIN | (POLLOUT if self._n_out else 0)
            fds[0].revents = fds[1].revents = 0
            poll(fds, 2, 0 if pending or now >= until else self._patience_ms(until, now))
            if fds[0].revents:
                self._read_signals()
                self._reap()
            if fds[1].revents & ~POLLOUT:
                self._read()
            if now >= until:  # what is due may be so each time: what has come is seen before, or nobody would see it
                pending = not self._ended and self._take_orders(bodies)
                break
        ended, self._ended = self._ended, []
        return bodies, ended

    def say(self, bytes frame):
        """See the stub."""
        if self._channel < 0:
            return
        self._write_ends()
        self._n_out = append(&self._outbox, self._n_out, &self._room_out, <char *>frame, len(frame))
        self._flush()

    def note_start(self, unsigned int key):
        """See the stub."""
        self._open_slot(key).stage = OPEN

    def note_end(self, unsigned int key):
        """See the stub."""
        self._start_next(key)

    def give_back(self, unsigned int key):
        """See the stub."""
        if key >= <unsigned int>self._n_slots or self._slots[key].held == NULL:
            return False
        self._give_back(key)
        return True

    def recall(self):
        """See the stub."""
        self._give_back_late(NEVER)

    def adopt(self, double age):
        """See the stub."""
        cdef Young *one
        cdef Py_ssize_t i = self._n_young
        cdef double before = clock() - age
        adopted = []
        while i:
            i -= 1
            one = &self._young[i]
            if one.began > before:
                continue
            self._name_outlets(one)
            adopted.append((
                one.key,
                one.pid,
                one.began,
                None if one.files[0] == NULL else PyUnicode_DecodeFSDefault(one.files[0]),
                None if one.files[0] == NULL else PyUnicode_DecodeFSDefault(one.files[1]),
                one.timeout_s,
                one.grace_s,
                one.limit_mb,
            ))
            free(one.files[0])
            self._forget(i)
        return adopted

    def has_input(self):
        """See the stub."""
        cdef pollfd fd
        fd.fd, fd.events, fd.revents = self._channel, POLLIN, 0
        return self._channel >= 0 and poll(&fd, 1, 0) > 0

    def hang_up(self):
        """See the stub."""
        if self._channel >= 0:
            close(self._channel)
        self._channel, self._n_out, self._n_ends, self.hung_up = -1, 0, 0, False

    def close(self):
        """See the stub."""
        cdef int key, i
        for key in range(POOLED):
            for i in range(2):
                if self._outlets[key][i]:
                    self._drop(key, i)
        if self._channel >= 0:
            os.set_blocking(self._channel, True)
            self._flush()

    cdef int _patience_ms(self, double until, double now) noexcept:
        """How long to wait at most."""
        if self._n_young and self._next_look < until:
            until = self._next_look
        if self._next_return < until:
            until = self._next_return
        if self._n_ends and self._tell_at < until:
            until = self._tell_at
        return <int>min(max(0.0, (until - now) * 1000 + 1), 1e6)

    # ------------------------------------------------------------ what comes and goes

    cdef int _read(self) except -1:
        """Read what has come."""
        if self._at:
            memmove(self._inbox, self._inbox + self._at, self._have - self._at)
            self._have -= self._at
            self._frame_end -= self._at
            self._at = 0
        make_room(<void **>&self._inbox, &self._room_in, self._have + READ, 1)
        cdef ssize_t size = read(self._channel, self._inbox + self._have, READ)
        if size > 0:
            self._have += size
            self.heard = clock()
        elif size == 0 or errno != EAGAIN:
            self.hung_up = True
        return 0

    cdef int _write_ends(self) except -1:
        """Put the ends that are to be told into a frame."""
        cdef unsigned int size
        if self._n_ends:
            size = 1 + self._n_ends * sizeof(End)
            self._n_out = append(&self._outbox, self._n_out, &self._room_out, <char *>&size, 4)
            self._n_out = append(&self._outbox, self._n_out, &self._room_out, b"E", 1)
            self._n_out = append(&self._outbox, self._n_out, &self._room_out, <char *>self._ends, size - 1)
        self._n_ends, self._tell_at = 0, NEVER
        return 0

    cdef int _flush(self) except -1:
        """Send what fits. The agent never waits for its scheduler."""
        cdef ssize_t sent
        self._write_ends()
        if self._channel < 0 or not self._n_out:
            self._n_out = 0
            return 0
        sent = write(self._channel, self._outbox, self._n_out)
        if sent > 0:
            self._n_out -= sent
            memmove(self._outbox, self._outbox + sent, self._n_out)
        elif errno != EAGAIN:
            self.hung_up = True
        return 0

    cdef int _read_signals(self) except -1:
        cdef signalfd_siginfo came[4]
        cdef ssize_t i, size = read(self._signals, came, sizeof(came))
        for i in range(size // <ssize_t>sizeof(signalfd_siginfo) if size > 0 else 0):
            # The first process of a namespace hears nobody in it, as the system has it for signals that nobody awaits.
            if came[i].ssi_signo == c.SIGTERM and not (came[i].ssi_pid and getpid() == 1):
                self.asked_to_go = True
        return 0

    cdef bint _take_orders(self, list bodies) except -1:
        """Do what has come, up to the first that is for the caller; whether there may be more."""
        cdef unsigned int size
        cdef int n = 0
        while n < AT_ONCE:
            if self._at == self._frame_end:
                if self._have - self._at < 4:
                    return False
                memcpy(&size, self._inbox + self._at, 4)
                if self._have - self._at - 4 < <Py_ssize_t>size:
                    return False
                self._at += 4
                self._frame_end = self._at + size
                if not size or self._inbox[self._at] != b"S":
                    bodies.append(self._inbox[self._at : self._frame_end])
                    self._at = self._frame_end
                    return True
                self._at += 1
                continue
            memcpy(&size, self._inbox + self._at, 4)
            if not self.closed and not self._take_start(self._inbox + self._at):
                bodies.append(b"S" + self._inbox[self._at : self._at + size])
                self._at += size
                return True
            self._at += size
            n += 1
        return True

    # ------------------------------------------------------------ what is held

    cdef Slot *_open_slot(self, unsigned int key) except NULL:
        """The place of a key."""
        cdef Py_ssize_t had = self._n_slots
        if key >= <unsigned int>had:
            make_room(<void **>&self._slots, &self._n_slots, key + 1, sizeof(Slot))
            memset(self._slots + had, 0, (self._n_slots - had) * sizeof(Slot))
        return &self._slots[key]

    cdef bint _take_start(self, const char *record) except -1:
        """Start a command, or hold it until another has ended; False: it is for the caller."""
        cdef Plain plain
        cdef Slot *slot
        cdef Slot *before
        memcpy(&plain, record, sizeof(Plain))
        self._open_slot(max(plain.key, plain.after))
        slot, before = &self._slots[plain.key], &self._slots[plain.after]
        slot.stage, slot.before, slot.behind = OPEN, 0, 0
        if plain.after and before.stage == GIVEN_BACK:
            self._give_back(plain.key)
            return True
        if not plain.after or before.stage != OPEN:
            return self._start(record)
        slot.held = <char *>malloc(plain.size)
        if slot.held == NULL:
            raise MemoryError
        memcpy(slot.held, record, plain.size)
        slot.before, before.behind = plain.after, plain.key
        if before.held == NULL:
            self._wait_for_turn(slot)
        return True

    cdef void _wait_for_turn(self, Slot *slot) noexcept:
        """What is held is the next to be started, unless that takes long."""
        slot.until = clock() + HOLD_S
        self._next_return = min(self._next_return, slot.until)

    cdef int _start_next(self, unsigned int key) except -1:
        """An attempt has ended, and that is not told yet: start what follows it, or give it back."""
        cdef Slot *slot = self._open_slot(key)
        cdef Slot *behind = &self._slots[slot.behind]
        cdef char *record = behind.held
        slot.stage = OVER
        if not slot.behind or self.closed:
            self._tell_at = 0  # it is waited for
            return 0
        slot.behind = 0
        if not self._start(record):  # nobody here would find out why before the end is told
            self._give_back((<Plain *>record).key)
            return 0
        behind.held, behind.before = NULL, 0
        free(record)
        if behind.behind:
            self._wait_for_turn(&self._slots[behind.behind])
        else:
            self._tell_at = 0  # more is needed
        return 0

    cdef int _give_back(self, unsigned int key) except -1:
        """Say of an attempt that is not started, and before that of those which follow it, that they are not going to
        be."""
        cdef unsigned int last = key
        cdef Slot *slot
        while self._slots[last].behind:
            last = self._slots[last].behind
        while True:
            slot = &self._slots[last]
            free(slot.held)
            slot.held, slot.stage, slot.behind = NULL, GIVEN_BACK, 0
            self._add_end(last).status = RETURNED
            if last == key:
                break
            last = slot.before
        if slot.before:
            self._slots[slot.before].behind = 0
        slot.before, self._tell_at = 0, 0
        return 0

    cdef int _give_back_late(self, double now) except -1:
        """Give back all that has waited for its turn until now."""
        cdef Py_ssize_t key
        cdef Slot *slot
        self._next_return = NEVER
        for key in range(self._n_slots):
            slot = &self._slots[key]
            if slot.held != NULL and self._slots[slot.before].held == NULL:
                if slot.until <= now:
                    self._give_back(key)
                else:
                    self._next_return = min(self._next_return, slot.until)
        return 0

    cdef End *_add_end(self, unsigned int key) except NULL:
        """An end that is to be told, of nothing yet."""
        make_room(<void **>&self._ends, &self._room_ends, self._n_ends + 1, sizeof(End))
        cdef End *end = &self._ends[self._n_ends]
        memset(end, 0, sizeof(End))
        end.key = key
        if not self._n_ends:
            self._tell_at = min(self._tell_at, clock() + TELL_S)
        self._n_ends += 1
        return end

    # ------------------------------------------------------------ start

    cdef bint _start(self, const char *record) except -1:
        """Start a command; False: it is for the caller, who also finds out why it cannot be started."""
        cdef Plain plain
        cdef Job job
        cdef Variables variables
        cdef Young *one
        cdef char **argv
        cdef char *shell[4]
        cdef char *more
        cdef char *words
        cdef bytes program
        cdef int pid, n_shown
        memcpy(&plain, record, sizeof(Plain))
        cdef const char *task_id = record + sizeof(Plain)
        cdef const char *command = task_id + plain.id_size + 1
        cdef const char *stdout = command + plain.command_size + 1
        cdef const char *stderr = stdout + plain.stdout_size + 1
        variables = self._variables_of(plain.cpu_cores, plain.memory_mb)
        # In the scratch: the words, the pointers to them, and the variables of this attempt.
        cdef Py_ssize_t for_words = (plain.command_size + 8) & ~<Py_ssize_t>7
        cdef Py_ssize_t for_pointers = (plain.command_size // 2 + plain.n_words + 3) * sizeof(char *)
        cdef Py_ssize_t for_more = plain.id_size + len(self._mark_prefix) + 128
        make_room(<void **>&self._scratch, &self._room_scratch, for_words + for_pointers + for_more, 1)
        words, argv = self._scratch, <char **>(self._scratch + for_words)
        more = self._scratch + for_words + for_pointers
        memcpy(words, command, plain.command_size + 1)
        memset(&job, 0, sizeof(job))
        job.candidates, job.channel, job.procs, job.n_files = b"", -1, -1, self._n_files
        # A session is an autogroup of the kernel, made and taken away for every processor: too dear for what is quick.
        job.in_session = plain.after != 0
        if plain.n_words:
            point_to(words, plain.n_words, argv)
            job.argv = argv
        else:
            shell[0], shell[1], shell[2], shell[3] = b"/bin/sh", b"-c", <char *>command, NULL
            job.argv = job.shell = shell
            if split(words, argv) and <bytes>argv[0] not in self._shell_words:
                job.argv = argv
        if job.argv == argv:
            program = argv[0]
            candidates = self._candidates.get(program)
            if candidates is None:
                if len(self._candidates) > 1000:
                    self._candidates.clear()
                self._candidates[program] = candidates = self._find(program)
            job.candidates = <bytes>candidates
        n_shown = snprintf(more, 64, "FASTSCHED_ATTEMPT=%u", plain.attempt) + 1
        variables._words[variables._n] = more
        variables._words[variables._n + 1] = more + n_shown
        n_shown += snprintf(
            more + n_shown, len(self._mark_prefix) + 16, "%s%u", <const char *>self._mark_prefix, plain.key
        ) + 1
        variables._words[variables._n + 2] = more + n_shown
        snprintf(more + n_shown, plain.id_size + 20, "FASTSCHED_TASK_ID=%s", task_id)
        variables._words[variables._n + 3] = NULL
        job.envp = variables._words
        job.mark = self._mark + plain.key if self._mark else 0
        make_room(<void **>&self._young, &self._room_young, self._n_young + 1, sizeof(Young))
        one = &self._young[self._n_young]
        memset(one, 0, sizeof(Young))
        if plain.stdout_size:
            if self._take_outlets(plain.key, stdout, stderr):
                one.pooled = True
                job.held[1], job.held[2] = self._outlets[plain.key][0], self._outlets[plain.key][1]
            else:
                job.files[1], job.files[2] = stdout, stderr
            one.files[0] = <char *>malloc(plain.stdout_size + plain.stderr_size + 2)
            if one.files[0] == NULL:
                raise MemoryError
            memcpy(one.files[0], stdout, plain.stdout_size + plain.stderr_size + 2)
            one.files[1] = one.files[0] + plain.stdout_size + 1
        pid = execute(&job, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL)
        if job.error:
            free(one.files[0])
            if pid > 0:
                wait4(pid, NULL, 0, NULL)
            return False
        one.pid, one.key, one.began = pid, plain.key, clock()
        one.timeout_s, one.grace_s, one.limit_mb = plain.timeout_s, plain.grace_s, plain.limit_mb
        if not self._n_young:
            self._next_look = one.began + TICK_S
        self._n_young += 1
        return True

    cdef Variables _variables_of(self, double cpu_cores, long memory_mb):
        """What every attempt is given that has so much."""
        if cpu_cores != self._cpu_cores or memory_mb != self._memory_mb:
            found = self._variables.get((cpu_cores, memory_mb))
            if found is None:
                if len(self._variables) > 1000:
                    self._variables.clear()
                found = self._variables[cpu_cores, memory_mb] = Variables(self._name_variables(cpu_cores, memory_mb), 3)
            self._given, self._cpu_cores, self._memory_mb = found, cpu_cores, memory_mb
        return self._given

    # ------------------------------------------------------------ outputs

    cdef bint _take_outlets(self, unsigned int key, const char *stdout, const char *stderr) except -1:
        """See to it that the outlets of a key are open; False: the command opens its files itself."""
        cdef char path[PATH]
        cdef int i, fd
        cdef const char *slash = strrchr(stdout, b"/")
        if key >= self._n_pooled or slash == NULL:
            return False
        cdef Py_ssize_t n = slash - stdout
        if len(self._folder) != n or memcmp(<char *>self._folder, stdout, n):
            if self._folder:
                return False
            self._folder = stdout[:n]
        if memcmp(stdout, stderr, n + 1) or strrchr(stderr, b"/") != stderr + n:
            return False
        for i in range(2):
            if not self._outlets[key][i]:
                if not self._name_outlet(path, key, i):
                    return False
                fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0o666)
                if fd < 0:
                    return False
                self._outlets[key][i] = fd
                fstat(fd, &self._as_made)
        return True

    cdef bint _name_outlet(self, char *path, unsigned int key, int i) noexcept:
        """The path of an outlet; False: it is too long."""
        return snprintf(
            path,
            PATH,
            "%s/%s.%u.%s",
            <const char *>self._folder,
            <const char *>self._outlet_prefix,
            key,
            <const char *>(b"err" if i else b"out"),
        ) < PATH

    cdef void _name_outlets(self, Young *one) noexcept:
        """Give the outputs of an attempt their names."""
        cdef int i
        if one.pooled:
            for i in range(2):
                self._let_go(one, i)
            one.pooled = False

    cdef void _let_go(self, Young *one, int i) noexcept:
        """Give an outlet the name of the output that is in it."""
        cdef char path[PATH]
        self._name_outlet(path, one.key, i)
        rename(path, one.files[i])
        close(self._outlets[one.key][i])
        self._outlets[one.key][i] = 0

    cdef bint _is_short(self, Young *one) noexcept:
        """Whether its outputs are within the cap."""
        cdef stat_t found
        cdef int i
        for i in range(2 if one.files[0] != NULL else 0):
            if self._look_at(one, i, &found) and found.st_size > self._cap:
                return False
        return True

    cdef void _keep_outputs(self, Young *one, End *end) noexcept:
        """Name what it has written. Where that is nothing there is no file, and an outlet serves the next attempt."""
        cdef stat_t found
        cdef int i
        end.written[0] = end.written[1] = 0
        for i in range(2 if one.files[0] != NULL else 0):
            if not self._look_at(one, i, &found):
                continue  # it was taken away
            end.written[i] = found.st_size
            if one.pooled:
                if found.st_size or found.st_nlink != 1:
                    self._let_go(one, i)
                elif not self._is_as_made(self._outlets[one.key][i], &found):
                    self._drop(one.key, i)
            elif not found.st_size:
                unlink(one.files[i])

    cdef bint _is_as_made(self, int fd, stat_t *found) noexcept:
        """Whether an outlet in which nothing is can serve the next attempt: a command may change more than its content."""
        return (
            found.st_mode == self._as_made.st_mode
            and found.st_uid == self._as_made.st_uid
            and lseek(fd, 0, SEEK_CUR) == 0
            and fcntl(fd, F_GETFL, 0) & (O_APPEND | O_NONBLOCK) == O_APPEND
        )

    cdef void _drop(self, int key, int i) noexcept:
        """Take an outlet away."""
        cdef char path[PATH]
        self._name_outlet(path, key, i)
        unlink(path)
        close(self._outlets[key][i])
        self._outlets[key][i] = 0

    cdef bint _look_at(self, Young *one, int i, stat_t *found) noexcept:
        if one.pooled:
            return fstat(self._outlets[one.key][i], found) == 0
        return stat_of(one.files[i], found) == 0

    # ------------------------------------------------------------ end

    cdef Py_ssize_t _index_of(self, pid_t pid) noexcept:
        cdef Py_ssize_t i
        for i in range(self._n_young):
            if self._young[i].pid == pid:
                return i
        return -1

    cdef void _forget(self, Py_ssize_t i) noexcept:
        self._n_young -= 1
        self._young[i] = self._young[self._n_young]

    cdef bint _is_one_old(self, double now) noexcept:
        cdef Py_ssize_t i
        for i in range(self._n_young):
            if now - self._young[i].began >= TICK_S:
                return True
        return False

    cdef int _reap(self) except -1:
        """Take the children that have ended. Those of which all is well are reported, the others are the caller's."""
        cdef siginfo_t info
        cdef rusage usage
        cdef Young clean[CLEAN]
        cdef Young one
        cdef End *end
        cdef int status, n_clean = 0
        cdef Py_ssize_t i
        cdef pid_t pid
        cdef double seconds
        while True:
            pid = next_ended(&info)
            if not pid:
                break
            i = self._index_of(pid)
            if i >= 0 or pid in self._leaders:
                kill(-pid, c.SIGKILL)  # what is left in its group, before its number can be given to others
            wait4(pid, &status, 0, &usage)
            seconds = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
            seconds += (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6
            if i >= 0:
                self._young[i].cpu_seconds, self._young[i].peak_kib = seconds, usage.ru_maxrss
            if i >= 0 and not status and n_clean < CLEAN and self._is_short(&self._young[i]):
                clean[n_clean] = self._young[i]
                n_clean += 1
                self._forget(i)
            else:
                self._ended.append((pid, status, seconds, usage.ru_maxrss))
        if n_clean and self._n_children() != self._n_young + len(self._leaders) + len(self._orphans) - len(self._ended):
            for i in range(n_clean):  # somebody was left behind
                one = clean[i]
                self._ended.append((one.pid, 0, one.cpu_seconds, one.peak_kib))
                self._young[self._n_young] = one
                self._n_young += 1
            n_clean = 0
        for i in range(n_clean):
            self._start_next(clean[i].key)
        for i in range(n_clean):
            end = self._add_end(clean[i].key)
            self._keep_outputs(&clean[i], end)
            free(clean[i].files[0])
            end.cpu_seconds, end.peak_mb = clean[i].cpu_seconds, clean[i].peak_kib / 1024.0
        return 0

    cdef Py_ssize_t _n_children(self) noexcept:
        """How many children there are; -1: that cannot be told."""
        cdef char listed[CHILDREN]
        cdef ssize_t i, size = 1
        cdef Py_ssize_t n = 0
        cdef long at = 0
        while size > 0:  # what the kernel gives at a time is a page
            size = pread(self._children, listed, CHILDREN, at)
            at += size
            for i in range(size):
                n += listed[i] == b" "
        return n if size == 0 else -1


cdef int make_room(void **memory, Py_ssize_t *room, Py_ssize_t n, size_t each) except -1:
    """See to it that there is room for n. Raises MemoryError."""
    cdef void *larger
    if n > room[0] or memory[0] == NULL:
        n = max(n + (n >> 1), 64)
        larger = realloc(memory[0], n * each)
        if larger == NULL:
            raise MemoryError
        memory[0], room[0] = larger, n
    return 0


cdef Py_ssize_t append(char **memory, Py_ssize_t used, Py_ssize_t *room, const char *data, Py_ssize_t n) except -1:
    """Add bytes to some; how many there are then. Raises MemoryError."""
    make_room(<void **>memory, room, used + n, 1)
    memcpy(memory[0] + used, data, n)
    return used + n


cdef void point_to(char *words, unsigned int n, char **argv) noexcept:
    """Pointers to n words, a zero after each, and NULL."""
    cdef unsigned int i
    for i in range(n):
        argv[i] = words
        words += strlen(words) + 1
    argv[n] = NULL


cdef bint split(char *line, char **argv) noexcept:
    """The words of a line that means the same without a shell; False where it might not. See `commands.split_plain`."""
    cdef Py_ssize_t i = 0, n = 0
    cdef bint between = True  # words
    while line[i]:
        if not plain_characters[<unsigned char>line[i]] or (line[i] == b" " and between):
            return False
        if line[i] == b" ":
            line[i], between = 0, True
        elif between:
            argv[n], between = line + i, False
            n += 1
        i += 1
    argv[n] = NULL
    return not between
