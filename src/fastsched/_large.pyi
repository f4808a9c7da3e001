"""The typed face of the native search on large graphs. Times are int64 units, amounts int32; see _large.pyx for how
it works."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

class Large:
    """A search for a shorter schedule of n tasks on W workers with K resources than one that is known.

    What it finds depends on its arguments, the known schedule and how many schedules it may generate, and on nothing
    else, unless `stop` is called. Not for two threads at once, but for `stop` and the numbers, which may be read at any
    time.

    Attributes:
        n_tasks, n_workers: n and W.
        bound: no schedule is shorter, in units; the search is over when one is as short.
        n_schedules: generated so far; n tasks that were placed count as one, and what is begun as a whole.
        best: the shortest makespan so far, in units; 2**63 - 1 as long as there is none.
        stopped: whether `stop` was called, or there was no memory.
    """

    n_tasks: int
    n_workers: int
    bound: int
    n_schedules: int
    best: int
    stopped: bool

    def __init__(
        self,
        *,
        order: Int32s,
        succ_ptr: Int64s,
        succ: Int32s,
        dep_ptr: Int64s,
        deps: Int32s,
        duration: Int64s,
        demand: Int32s,
        capacity: Int32s,
        seed: int,
        bound: int = 0,
    ) -> None:
        """A search that has no schedule yet.

        order (n,): the tasks, those first that others depend on. succ_ptr (n + 1,), succ; dep_ptr (n + 1,), deps: who
        depends on whom, as CSR in both directions. duration (n,) in units, demand (n, K), capacity (W, K). Who
        takes no time must need nothing: else `advance` has no meaning.
        """

    def add(self, start: Int64s, worker: Int32s, n_schedules: int) -> None:
        """Begin with the schedule that starts the tasks so (n,) in units, on these workers (n,).

        Each task is placed anew on its worker, in the order of the starts, as early as it can be there: so what was
        possible but for tasks that take a unit more now is possible again. That takes one schedule, of `n_schedules` in
        all. To be called before `advance`; a second time it is without effect. Every task has to fit on its worker.
        """

    def advance(self, n_schedules: int) -> bool:
        """Plan parts anew until there are so many schedules in all, the bound is met or it is stopped; without the GIL.

        True as long as the bound is not met. Without a schedule to begin with, nothing is done.
        """

    def stop(self) -> None:
        """Have `advance`, in another thread, return soon. The best so far is kept; nothing is placed any more."""

    def schedule(self) -> tuple[Int64s, Int32s]:
        """The best schedule so far: start (n,) in units and worker (n,). Not to be asked while `best` is 2**63 - 1."""
