"""The typed face of the reader of Arrow arrays; `columns.py` calls it."""

from typing import Any

import numpy as np
import numpy.typing as npt

DTYPES: dict[bytes, np.dtype[Any]]

def is_arrow(value: object) -> bool:
    """Whether the value offers `__arrow_c_stream__` or `__arrow_c_array__`."""

def read_arrow(value: Any, what: str, limit: int, why: str) -> tuple[list[str] | None, list[npt.NDArray[Any]]]:
    """Copy an Arrow array, a stream of them, or a table into arrays that nobody else holds.

    Answers (names, columns): for whole numbers or floats None and one array (n,); for lists of the fixed size K
    None and one array (n, K); for a struct or a record batch its field names and an array (n,) each. The chunks of
    a stream are joined. `what` names the argument in messages; more than `limit` rows are refused unread, with
    `why` as the reason.

    Raises TypeError for any other type, dictionaries included; ValueError for nulls, for too many rows, and where
    the value breaks the interface.
    """
