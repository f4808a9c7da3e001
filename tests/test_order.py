"""Columns in order and in groups: the same as by plain comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from fastsched._order import number_rows, order_by
from fastsched.kinds import DemandClasses
from fastsched.ranks import urgency_order


def test_urgency_is_the_order_of_a_sort_by_comparisons():
    rng = np.random.default_rng(7)
    spans = (1, 2, 5, 255, 256, 257, 2**16, 2**31, 2**43, 2**62)
    for n in (0, 1, 2, 3, 100, 5000):
        for span in spans:
            for levels in (1, 2, 11, 2**32 - 2):
                key = rng.integers(-(span // 2), span - span // 2, n)
                priority = rng.integers(-(levels // 2), levels - levels // 2, n)
                for keys in (key, np.sort(key), np.sort(key)[::-1].copy()):
                    order = urgency_order(priority, keys)
                    assert order.dtype == np.int32 and (order == np.lexsort((keys, -priority))).all(), (n, span, levels)


def test_urgency_at_the_ends_of_the_range():
    least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
    for keys in ([most, least, 0, -1, least], [least + 1, most], [most] * 3):
        key = np.array(keys, dtype=np.int64)
        for priority in (np.zeros(len(key), dtype=np.int64), np.arange(len(key)) * (2**31 - 1) // len(key)):
            assert (urgency_order(priority, key) == np.lexsort((key, -priority))).all()


def test_keys_that_are_too_wide_are_left_alone():
    wide, narrow = np.array([0, 2**62]), np.array([0, 7])
    assert order_by(narrow, wide) is None and order_by(wide, narrow) is None
    assert order_by(np.array([0, 1]), wide).tolist() == [1, 0]
    with pytest.raises(ValueError, match="do not belong together"):
        order_by(wide, narrow[:1])


def test_rows_are_numbered_in_the_order_of_their_values():
    rng = np.random.default_rng(11)
    for n in (1, 2, 50, 2000):
        for n_columns in (1, 2, 3, 5):
            for values in (1, 2, 3, 2**31):
                rows = rng.integers(0, values, (n, n_columns)).astype(np.int32)
                for skipped in range(-1, n_columns):
                    kept = [r for r in range(n_columns) if r != skipped]
                    distinct = np.unique(rows[:, kept], axis=0)
                    numbered = number_rows(rows, skipped, 100)
                    if len(distinct) > 100:
                        assert numbered is None
                        continue
                    numbers, first = numbered
                    assert (distinct[numbers] == rows[:, kept]).all() and len(first) == len(distinct)
                    assert first.tolist() == [numbers.tolist().index(i) for i in range(len(first))]


def test_the_limit_of_numbers_is_sharp():
    rows = np.repeat(np.arange(10, dtype=np.int32), 3)[:, None]
    assert len(number_rows(rows, -1, 10)[1]) == 10 and number_rows(rows, -1, 9) is None
    assert number_rows(rows[:0], -1, 1)[0].tolist() == []


def test_classes_of_any_layout():
    demand = np.array([[1000, 5], [2000, 6], [1000, 7]], dtype=np.int32)
    for other in (demand.astype(np.int64), np.asfortranarray(demand)):
        classes = DemandClasses(other)
        assert classes.class_of.tolist() == [0, 2, 1]
        assert classes.class_demand.tolist() == [[1000, 5], [1000, 7], [2000, 6]]


def test_there_is_always_a_class():
    for n_resources in (2, 4):
        classes = DemandClasses(np.zeros((0, n_resources), dtype=np.int32))
        assert classes.class_demand.tolist() == [[0] * n_resources]
    for exact, n in ((True, 256), (False, 257)):
        demand = np.repeat(np.arange(n, dtype=np.int32), 2).reshape(n, 2)
        classes = DemandClasses(demand)
        assert (classes.class_demand[classes.class_of, 0] == demand[:, 0]).all() == exact
        assert (classes.class_demand[classes.class_of, 0] <= demand[:, 0]).all()
