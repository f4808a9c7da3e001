"""The typed face of the native search. Times are int64 units, amounts int32; see _search.pyx for how it works."""

import numpy as np
import numpy.typing as npt

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]

GRID_UNITS: int
"""So many units all durations together may take for the quick way in which what is free on one worker is kept."""

class Search:
    """A search for a short schedule of n tasks on W workers with K resources.

    What it generates depends on its arguments and on how many schedules it may generate, and on nothing else, unless
    `stop` is called. Not for two threads at once, but for `stop` and the numbers, which may be read at any time.

    Attributes:
        n_tasks, n_workers: n and W.
        size: members of each of the two populations.
        bound: no schedule is shorter, in units; the search is over when one is as short.
        n_schedules: generated so far, passes in either direction: n tasks that were placed count as one, and what is
            begun as a whole.
        best: the shortest makespan so far, in units; 2**63 - 1 as long as there is none.
        stopped: whether `stop` was called.
    """

    n_tasks: int
    n_workers: int
    size: int
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
        size: int,
        seed: int,
        bound: int = 0,
        fixed: Int32s | None = None,
    ) -> None:
        """A search on which nothing was generated yet.

        order (n,): the tasks, those first that others depend on. succ_ptr (n + 1,), succ; dep_ptr (n + 1,), deps: who
        depends on whom, as CSR in both directions. duration (n,) in units, demand (n, K), capacity (W, K). Every
        task has to fit on some worker, and who takes no time must need nothing: else `advance` has no meaning.
        fixed (n,): the worker on which a task runs already, from 0 on; -1: it does not. What is fixed depends on
        nothing, and has room together; a schedule that is added has it start at 0.

        Raises ValueError for a size below 2, or where what is fixed has no room.
        """

    def add(self, start: Int64s, n_schedules: int) -> None:
        """Take a schedule that is known into the first population, by its starts (n,) in units, justified.

        That takes two schedules, of `n_schedules` in all. To be called before `advance`. Where these are not there, the
        population is full, or the bound met, it is without effect.
        """

    def advance(self, n_schedules: int) -> bool:
        """Generate schedules until there are so many in all, the bound is met or it is stopped; without the GIL.

        True as long as the bound is not met.
        """

    def stop(self) -> None:
        """Have `advance`, in another thread, return soon. The best so far is kept; nothing is generated any more."""

    def schedule(self) -> tuple[Int64s, Int32s]:
        """The best schedule so far: start (n,) in units and worker (n,). Not to be asked while `best` is 2**63 - 1."""
