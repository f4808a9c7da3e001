"""Planted bugs of what answers "what if": see `table.py` for what an entry is."""

from __future__ import annotations

from .entry import Mutation

__all__ = ["WHATIF_MUTATIONS"]

WHATIF_MUTATIONS = (
    # time lines that are played again
    Mutation(
        "rewound-with-old-missing",
        "_facts.pyx",
        "            row.missing = missing[task]\n            if row.state >= FAILED:\n                continue\n",
        "            if row.state >= FAILED:\n                continue\n            row.missing = missing[task]\n",
        "what a task that fits nobody waits for is not counted anew",
    ),
    Mutation(
        "rewound-while-running",
        "_facts.pyx",
        "self._book_end(task)\n            elif row.state == READY:\n",
        "pass\n            elif row.state == READY:\n",
        "a time line that was given up leaves its workers full",
    ),
    Mutation(
        "replay-gives-up-early",
        "_replay.pyx",
        "if now > limit - max(self.tail[task], self.duration[task]):",
        "if now >= limit - max(self.tail[task], self.duration[task]):",
        "a set of workers that meets the deadline to the ns is refused",
    ),
    Mutation(
        "chain-prefers-the-last-dependency",
        "_replay.pyx",
        "(earlier < 0 or task < earlier)",
        "(earlier < 0 or task > earlier)",
        "another critical chain is told than is said",
    ),
    Mutation(
        "chain-without-workers",
        "_replay.pyx",
        "if earlier < 0 and self.before[last] >= 0 and",
        "if earlier < 0 and self.before[last] >= self.core.n_tasks and",
        "a task that waited for room is taken for the beginning of the critical chain",
    ),
    Mutation(
        "durations-of-another-sample",
        "_replay.pyx",
        "self._draw(first + i, sigma, half_variance, seed)",
        "self._draw(i, sigma, half_variance, seed)",
        "every chunk of samples draws the same",
    ),
    Mutation(
        "replay-without-held-back",
        "_replay.pyx",
        "now = min(now, self.core.wake_time[0])",
        "now = now",
        "who is held back in a plan starts when something else ends",
    ),
    Mutation(
        "risk-of-a-list",
        "planner.py",
        "rank=RANK_OF_THE_REST, fit=FITS[0], route=route(varies))",
        "rank=RANK_OF_THE_REST, fit=FITS[0])",
        "the risk of a plan that a search found is that of a rank",
    ),
    Mutation(
        "held-back-as-for-a-run",
        "planner.py",
        "exactly=True)",
        "exactly=False)",
        "without spread the risk of a plan may be shorter than the plan",
    ),
    Mutation(
        "normal-without-far-parts",
        "_chance.pxd",
        "for i in range(k * (k - 1) if k else 0):",
        "for i in range(k if k else 0):",
        "durations are not lognormal",
    ),
    Mutation(
        "exponential-overflows",
        "_chance.pxd",
        "+ ((<uint64_t>(amount & 0x7FFFFFFF) * <uint64_t>power) >> 32)",
        "+ <uint64_t>(((amount & 0x7FFFFFFF) * power) >> 32)",
        "some durations are a little shorter than was drawn",
    ),
    # risk
    Mutation(
        "quantile-one-less",
        "risk.py",
        "at = max(0, math.ceil(round(share * count, 6)) - 1)",
        "at = max(0, int(share * count) - 1)",
        "a quantile is exceeded by more samples than it says",
    ),
    Mutation(
        "spread-is-sigma",
        "risk.py",
        "(1 + Decimal(float(spread)) ** 2).ln().sqrt()",
        "Decimal(float(spread))",
        "durations vary by more than was asked for",
    ),
    # size
    Mutation(
        "bound-rounded-up",
        "covering.py",
        "more = max(more, (need - offered) * best[0] // best[1])",
        "more = max(more, -(-(need - offered) * best[0] // best[1]) + 1)",
        "a set that would be the cheapest is never tried",
    ),
    Mutation(
        "bound-without-what-is-added",
        "covering.py",
        "widest = offered + (-(-more * best[1] // best[0]) if best else 0)",
        "widest = offered",
        "a bound is above what a set costs",
    ),
    Mutation(
        "areas-that-can-leave",
        "covering.py",
        "within = ~(kinds & ~shapes).any(axis=1)",
        "within = (kinds & shapes).any(axis=1)",
        "tasks are asked of shapes that they need not run on",
    ),
    Mutation(
        "billing-rounded-down",
        "covering.py",
        "return -(-makespan // self.unit) * self.unit",
        "return makespan // self.unit * self.unit",
        "a unit that was started is not paid",
    ),
    Mutation(
        "search-stops-at-the-first",
        "sizing.py",
        "                self._try(counts, self.best_key)\n",
        "                pass\n",
        "sets that could be cheaper are told to have been tried",
    ),
    # vary, compare
    Mutation(
        "knee-above-the-chord",
        "vary.py",
        "return below.index(best) if best > 0 else None",
        "return below.index(min(below))",
        "the knee is where more workers do not help",
    ),
    Mutation(
        "best-by-price",
        "compare.py",
        "(o.n_failed, o.makespan, math.inf if o.price_per_hour is None else o.price_per_hour)",
        "(o.n_failed, math.inf if o.price_per_hour is None else o.price_per_hour, o.makespan)",
        "the cheapest plan is told to be the best, however long it takes",
    ),
    # plans as files
    Mutation(
        "order-of-a-file-ignored",
        "saved.py",
        "for task_id in document.order]",
        "for task_id in sorted(document.order, key=lambda name: place[name])]",
        "a plan that was kept is followed by its starts",
    ),
    Mutation(
        "planned-anew-taken-for-planned",
        "runtime/view.py",
        "            if fact.behind_ns is None and not fact.is_loosened:\n",
        "            if fact:\n",
        "a run that was behind is held beside the plan that was made on the way",
    ),
    Mutation(
        "ignored-option",
        "planning.py",
        "given.isdisjoint(wanted)",
        "given.issuperset(wanted)",
        "--samples without --spread does nothing, and says nothing",
    ),
)
