"""From anybody's arrays to columns of ours: types, shapes and ranges, checked a whole array at a time.

A value may be a numpy array, an Arrow array, anything with the buffer protocol, or a list. Its length
is looked at before it is converted, so that what claims to be huge is refused and not allocated; what
fits is used as it is, without a copy. What is no such array, or has the wrong shape, raises at once
and names the argument; what is wrong *in* an array is gathered as problems that name the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from ._arrow import is_arrow, read_arrow
from .errors import Problem
from .model import AMOUNT_LIMIT, PRIORITY_LIMIT, RESERVED_RESOURCES, SECONDS_LIMIT, Findings

__all__ = ["ArrayLike", "Columns"]

NS = 1_000_000_000
UNKNOWN_DURATION_NS = NS
TASK_LIMIT = 2**31
EDGE_LIMIT = 2**36  # far beyond what fits into memory; any lower claim is held against the array itself
EXACT = 2**53  # whole numbers below it are what they seem to be, in a float too
SHOWN_ROWS = 20  # of each kind of problem
KINDS = "iufO"  # of numpy types: whole numbers, floats, and Python's own numbers where they are too large for these

Array = npt.NDArray[Any]
Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]


class _ArrowArray(Protocol):
    def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]: ...


class _ArrowStream(Protocol):
    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


ArrayLike: TypeAlias = npt.ArrayLike | _ArrowArray | _ArrowStream


class Columns:
    """The arguments of `TaskGraph.from_arrays`, read. A column in which a problem was found is not to be used.

    Attributes:
        n: how many tasks. names: K names of resources. ids: n plain strings, or None.
        has_unique_ids: True where it is known that no two ids are the same.
        dep_ptr (n + 1,) int64, or None where the dependencies cannot be used. deps int32.
        demand (n, K) int32. duration (n,) int64 ns. priority (n,) int64. max_retries (n,) int32.
        problems: what is wrong with single values. Cycles are not looked for.

    Raises:
        TypeError, ValueError: for what is no array of numbers, or has not the length or shape that is wanted.
    """

    def __init__(
        self,
        indptr: ArrayLike,
        indices: ArrayLike,
        demand: ArrayLike,
        duration: ArrayLike | None,
        priority: ArrayLike | None,
        max_retries: ArrayLike | None,
        ids: Iterable[str] | None,
        resources: Sequence[str],
    ) -> None:
        self.problems: list[Problem] = []
        self.has_unique_ids = False
        self.names = _read_names(resources)
        _check_claim(indptr, demand)
        rows = _read_array("indptr", indptr, TASK_LIMIT, f"fewer than {TASK_LIMIT} tasks are possible")
        if rows.ndim != 1 or not len(rows):
            raise ValueError(f"indptr has shape {rows.shape}; (n + 1,) is wanted for n tasks, [0] for none")
        self.n = len(rows) - 1
        self.ids = None if ids is None else self._read_ids(ids)
        self.dep_ptr = self._read_rows(rows)
        self.deps = self._read_dependencies(rows, indices)
        self.demand = self._read_demand(demand)
        self.duration = self._read_duration(duration)
        self.priority: Int64s = self._read_whole("priority", priority, 0, 1 - PRIORITY_LIMIT, PRIORITY_LIMIT, np.int64)
        self.max_retries: Int32s = self._read_whole("max_retries", max_retries, -1, -1, AMOUNT_LIMIT, np.int32)

    def name_of(self, task: int) -> str:
        """What messages call the task: its id, or its index where it has none that is fit to be shown."""
        known = self.ids[task] if self.ids is not None else None
        return known if isinstance(known, str) and known else str(task)

    # ------------------------------------------------------------ one argument each

    def _read_ids(self, ids: Iterable[str]) -> list[str]:
        if isinstance(ids, (str, bytes, Mapping)) or not isinstance(ids, Iterable):
            raise TypeError(f"ids is {_kind_of(ids)}; a sequence of strings is wanted, or None")
        given = ids.tolist() if hasattr(ids, "tolist") else list(ids)
        if not isinstance(given, list):
            raise TypeError("ids has no dimension; a sequence of strings is wanted, or None")
        read: list[Any] = given
        _check_length("ids", len(read), self.n)
        if set(map(type, read)) <= {str}:
            distinct = set(read)
            self.has_unique_ids = len(distinct) == self.n
            if "" not in distinct:
                return read
        read = [str.__str__(item) if isinstance(item, str) else item for item in read]
        wrong = [i for i, item in enumerate(read) if not isinstance(item, str) or not item]
        for i in wrong[:SHOWN_ROWS]:
            found = Findings(f"ids[{i}]")
            found.check_id("ids", read[i])
            self.problems += found.problems
        self._note_more("ids", len(wrong))
        return read

    def _read_rows(self, rows: Array) -> Int64s | None:
        """The beginnings of the rows, or None where they are none. That they end rightly is seen in the indices."""
        before = len(self.problems)
        dep_ptr: Int64s = self._whole("indptr", rows, 0, EXACT, np.int64, lambda at: (f"indptr[{at}]", f"indptr[{at}]"))
        if len(self.problems) > before:
            return None
        if dep_ptr[0] != 0:
            self._note("indptr[0]", f"indptr begins with {dep_ptr[0]}; it begins with 0", "indptr", int(dep_ptr[0]))
        if not (dep_ptr[1:] >= dep_ptr[:-1]).all():
            falls = np.flatnonzero(dep_ptr[1:] < dep_ptr[:-1]).tolist()
            for row in falls[:SHOWN_ROWS]:
                from_, to = dep_ptr[row : row + 2].tolist()
                message = f"indptr falls from {from_} to {to} at row {row}; it must never fall"
                self._note(self.name_of(row), message, "indptr", to)
            self._note_more("indptr", len(falls))
        return dep_ptr if len(self.problems) == before else None

    def _read_dependencies(self, rows: Array, indices: ArrayLike) -> Int32s:
        claimed = int(rows[-1]) if rows.dtype.kind in "iu" or self.dep_ptr is not None else -1
        if 0 <= claimed <= EDGE_LIMIT:
            edges = _read_array("indices", indices, claimed, f"indptr ends at {claimed}, and they must be as many")
        else:
            edges = _read_array("indices", indices, EDGE_LIMIT, f"more than {EDGE_LIMIT} edges are not possible")
        if edges.ndim != 1 or len(edges) != claimed >= 0:
            wanted = claimed if claimed >= 0 else "edges"
            raise ValueError(f"indices has shape {edges.shape}; ({wanted},) is wanted, as indptr ends at {rows[-1]}")

        def place(at: int) -> tuple[str, str]:
            if self.dep_ptr is None:
                return f"indices[{at}]", f"indices[{at}]"
            row = int(np.searchsorted(self.dep_ptr, at, side="right")) - 1
            return self.name_of(row), f"indices[{at}], in row {row},"

        before = len(self.problems)
        deps: Int32s = self._whole("indices", edges, 0, self.n, np.int32, place)
        if len(self.problems) > before:
            self.dep_ptr = None
        return deps

    def _read_demand(self, demand: ArrayLike) -> Int32s:
        if is_arrow(demand):
            fields, columns = read_arrow(demand, "demand", self.n, f"there are {_tasks(self.n)}")
            if fields is not None:
                return self._read_demand_columns(fields, columns)
            amounts = columns[0]
        else:
            amounts = _read_array("demand", demand, self.n, f"there are {_tasks(self.n)}")
        wanted = (self.n, len(self.names))
        if amounts.shape != wanted:
            if self.n or amounts.size:
                raise ValueError(
                    f"demand has shape {amounts.shape}; {wanted} is wanted, a row for each task and "
                    f"a column for each of {', '.join(self.names)}"
                )
            amounts = amounts.reshape(wanted)
        whole: Int32s = self._whole("demand", amounts, 0, AMOUNT_LIMIT, np.int32, self._place_demand_at)
        return whole if whole.flags.writeable else whole.copy()  # the core takes no array that cannot be written

    def _read_demand_columns(self, fields: list[str], columns: list[Array]) -> Int32s:
        """The columns of a table. A column with the name of a resource must stand where that resource does."""
        astray = [field for field, name in zip(fields, self.names) if field != name and field in self.names]
        if len(fields) != len(self.names) or astray:
            raise ValueError(
                f"demand has the columns {', '.join(fields) or '(none)'}; "
                f"{', '.join(self.names)} are wanted, in this order"
            )
        _check_length("demand", len(columns[0]), self.n)
        whole: Int32s = np.empty((self.n, len(columns)), dtype=np.int32)
        for r, column in enumerate(columns):
            before = len(self.problems)
            amounts = self._whole("demand", column, 0, AMOUNT_LIMIT, np.int32, partial(self._place_demand, r))
            if len(self.problems) == before:
                whole[:, r] = amounts
        return whole

    def _place_demand_at(self, at: int) -> tuple[str, str]:
        row, r = divmod(at, len(self.names))
        return self._place_demand(r, row)

    def _place_demand(self, r: int, row: int) -> tuple[str, str]:
        return self.name_of(row), f"demand[{row}, {r}] ({self.names[r]})"

    def _read_duration(self, duration: ArrayLike | None) -> Int64s:
        if duration is None:
            return np.full(self.n, UNKNOWN_DURATION_NS, dtype=np.int64)
        seconds = _read_column("duration", duration, self.n)
        wrong = _find_outside(seconds, 0, SECONDS_LIMIT, whole=False)
        if len(wrong):
            self._note_outside("duration", seconds, wrong, 0, SECONDS_LIMIT, self._place_in("duration"))
            return np.zeros(0, dtype=np.int64)
        ns: npt.NDArray[np.float64] = seconds.astype(np.float64) * NS
        return np.rint(ns, out=ns).astype(np.int64)

    def _read_whole(
        self, field: str, value: ArrayLike | None, missing: int, low: int, limit: int, dtype: npt.DTypeLike
    ) -> Array:
        """A column of whole numbers in [low, limit), one for each task; `missing` everywhere where there is none."""
        if value is None:
            return np.full(self.n, missing, dtype=dtype)
        return self._whole(field, _read_column(field, value, self.n), low, limit, dtype, self._place_in(field))

    # ------------------------------------------------------------ values

    def _whole(
        self,
        field: str,
        values: Array,
        low: int,
        limit: int,
        dtype: npt.DTypeLike,
        place: Callable[[int], tuple[str, str]],
    ) -> Array:
        """The values as whole numbers in [low, limit), copied only if they must be; problems for all others.

        `place` says of a position whose it is, and what messages call it.
        """
        wrong = _find_outside(values, low, limit - 1, whole=True)
        if len(wrong):
            self._note_outside(field, values, wrong, low, limit - 1, place)
            return np.zeros(0, dtype=dtype)
        return np.require(values.astype(dtype, copy=False), requirements=["C_CONTIGUOUS", "ALIGNED"])

    def _note_outside(
        self,
        field: str,
        values: Array,
        wrong: npt.NDArray[np.intp],
        low: int,
        most: int,
        place: Callable[[int], tuple[str, str]],
    ) -> None:
        for at in wrong[:SHOWN_ROWS].tolist():
            value = values.flat[at]
            value = value.item() if isinstance(value, np.generic) else value
            where, called = place(at)
            if low <= value <= most:
                self._note(where, f"{called} is {value!r}; a whole number is wanted", field, value)
            elif most < low:
                self._note(where, f"{called} is {value!r}; there are no tasks", field, value)
            else:
                self._note(where, f"{called} is {value!r}; it must be between {low} and {most}", field, value)
        self._note_more(field, len(wrong))

    def _place_in(self, field: str) -> Callable[[int], tuple[str, str]]:
        return lambda at: (self.name_of(at), f"{field}[{at}]")

    def _note(self, where: str, message: str, field: str, value: Any) -> None:
        self.problems.append(Problem("bad_value", where, message, field, value))

    def _note_more(self, field: str, count: int) -> None:
        if count > SHOWN_ROWS:
            self._note(field, f"{count - SHOWN_ROWS} more values of {field} are wrong in this way", field, None)


# ---------------------------------------------------------------- arrays as such


def _read_names(resources: Sequence[str]) -> tuple[str, ...]:
    names = (resources,) if isinstance(resources, str) else tuple(resources)
    if not all(isinstance(name, str) and name for name in names):
        raise TypeError(f"resources is {resources!r}; names are wanted, strings that are not empty")
    names = tuple(map(str.__str__, names))
    if names[:2] != RESERVED_RESOURCES:
        raise ValueError(f"resources is {resources!r}; its first two names are 'cpu_millicores' and 'memory_mb'")
    if len(set(names)) != len(names):
        raise ValueError(f"resources is {resources!r}; every name may be there once")
    return names


def _read_array(field: str, value: Any, most: int, why: str) -> Array:
    """The value as an array of numbers with at most so many rows; numpy arrays and buffers are not copied."""
    if is_arrow(value):
        fields, columns = read_arrow(value, field, most, why)
        if fields is not None:
            raise TypeError(f"{field} is a table with the columns {', '.join(fields)}; one column is wanted")
        return columns[0]
    if not _is_array(value):
        alike = "a numpy array, an Arrow array, anything with the buffer protocol, or a list"
        raise TypeError(f"{field} is {_kind_of(value)}; numbers are wanted, in {alike}")
    if isinstance(value, np.ndarray) and np.any(getattr(value, "mask", False)):
        raise ValueError(f"{field} has masked values; fill them first")
    try:
        length = len(value)
    except TypeError:  # of no dimension
        length = 0
    if length > most:
        raise ValueError(f"{field} has {length} entries; {why}")
    try:
        read = np.asarray(value)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{field} cannot be read as an array: {error}") from None
    if read.dtype.kind not in KINDS:
        raise TypeError(f"{field} holds values of type {read.dtype}; cast it to integers or floats")
    if read.dtype.kind == "O":
        odd = [item for item in read.flat if type(item) not in (int, float)]
        if odd:
            raise TypeError(f"{field} holds {odd[0]!r}; numbers are wanted")
    return read


def _check_claim(indptr: object, demand: object) -> None:
    """What claims numbers that it does not hold, as a range does, is not made an array that nothing else fits."""
    if isinstance(indptr, range) and isinstance(demand, Sequence):
        _check_length("demand", len(demand), len(indptr) - 1)


def _is_array(value: object) -> bool:
    if isinstance(value, (str, bytes, Mapping)):
        return False
    try:
        memoryview(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        return hasattr(value, "__array__") or isinstance(value, Sequence)
    return True


def _read_column(field: str, value: ArrayLike, n: int) -> Array:
    """An array with one number for each of n tasks."""
    read = _read_array(field, value, n, f"there are {_tasks(n)}")
    if read.shape != (n,):
        raise ValueError(f"{field} has shape {read.shape}; ({n},) is wanted, one number for each task")
    return read


def _find_outside(values: Array, low: int, most: int, whole: bool) -> npt.NDArray[np.intp]:
    """The positions, as if there were one dimension, of the values outside [low, most], or not whole."""
    kind = values.dtype.kind
    if kind == "O":
        wrong = (not low <= x <= most or (whole and x % 1 != 0) for x in values.flat)
        return np.flatnonzero(np.fromiter(wrong, dtype=bool, count=values.size))
    if kind == "f" and values.dtype.itemsize < 8:
        values = values.astype(np.float64)  # where the limits are exact
    with np.errstate(invalid="ignore"):
        inside = not values.size or bool(values.min() >= low and values.max() <= most)
        if inside and (kind != "f" or not whole or bool((np.rint(values) == values).all())):
            return np.zeros(0, dtype=np.intp)
        right = (values >= low) & (values <= most)
        if kind == "f" and whole:
            right &= np.rint(values) == values
    return np.flatnonzero(~right)


def _check_length(field: str, length: int, n: int) -> None:
    if length != n:
        raise ValueError(f"{field} has {length} {'entry' if length == 1 else 'entries'}; there are {_tasks(n)}")


def _tasks(n: int) -> str:
    return f"{n} task{'' if n == 1 else 's'}, as indptr has {n + 1} {'entries' if n else 'entry'}"


def _kind_of(value: object) -> str:
    return f"of type {type(value).__name__}"
