"""How good plans have to be: the one place of the limits, for whole sets (`quality.py`) and for `bench_auto.py`."""

from __future__ import annotations

from typing import NamedTuple

OVER, LATE_S = 1.02, 0.002  # how much later than it was to a search may end


class Target(NamedTuple):
    """A set (and a cluster), what deviations are above, what a plan may cost, and how much they may be at most; of what
    is given no seconds, how many a plan may take."""

    what: str
    cluster: str
    above: str
    budget: float | int | str
    """Seconds as a float, schedules as an int, or `auto`."""
    limit: float
    seconds: float = float("inf")

    @property
    def most_seconds(self) -> float:
        """What a plan may take on average."""
        return OVER * self.budget + LATE_S if isinstance(self.budget, float) else self.seconds

    @property
    def name(self) -> str:
        return f"{self.what} on {self.cluster or 'its own workers'}" if self.above == "bound" else self.what

    @property
    def cost(self) -> str:
        if isinstance(self.budget, str):
            return self.budget
        if isinstance(self.budget, int):
            return f"{self.budget:,} schedules"
        return f"{self.budget:g} s" if self.budget >= 1 else f"{1000 * self.budget:g} ms"


TARGETS = (
    *(Target("j120", "", "best known", *rest) for rest in ((1000, 3.0), (5000, 2.1), (50_000, 1.3))),
    *(
        Target("j120", "", "critical path", *rest)
        for rest in (("auto", 38.5, 0.001), (0.02, 34.0), (0.1, 32.3), (2.0, 30.6))
    ),
    *(Target("j30", "", "best known", *rest) for rest in ((1000, 0.12), (5000, 0.04), (50_000, 0.01))),
    *(Target("j60", "", "critical path", *rest) for rest in ((1000, 11.2), (5000, 10.85), (50_000, 10.55))),
    Target("RG300", "", "best known", "auto", float("inf"), 0.005),
    *(Target("RG300", "", "best known", *rest) for rest in ((0.15, 3.0), (1.0, 1.5), (6.0, 0.9))),
    *(Target("wfinstances", "het4", "bound", *rest) for rest in (("auto", 6.9), (0.1, 6.2))),
    *(Target("wfinstances", "het10", "bound", *rest) for rest in (("auto", 4.95), (0.1, 4.4))),
    *(Target("wfinstances", "het30", "bound", *rest) for rest in (("auto", 0.89), (0.1, 0.85))),
    *(Target("tpch", "het10", "bound", *rest) for rest in (("auto", 2.85), (0.1, 2.4))),
    *(Target("tpch", "het30", "bound", *rest) for rest in (("auto", 2.05), (0.1, 1.8))),
    *(Target("hybrid", "", "bound", *rest) for rest in (("auto", 14.6), (1.0, 13.4))),
    *(Target("openb", "openb64", "bound", *rest) for rest in (("auto", 6.5), (10.0, 2.5))),
)
