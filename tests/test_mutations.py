"""The table of planted bugs is true to the source, and planting works. `./dev mutants` plants them all."""

from __future__ import annotations

from pathlib import Path

import pytest
from mutations import run
from mutations.combine import PROLOGUE, combine
from mutations.table import MUTATIONS

import fastsched

INSTALLED = Path(fastsched.__file__).resolve().parent

needs_source = pytest.mark.skipif(not run.SOURCE.is_dir(), reason="skipped: the source tree is not here")


@needs_source
def test_every_snippet_occurs_once_and_is_replaced():
    stale = []
    for mutation in MUTATIONS:
        try:
            run.mutate((run.SOURCE / mutation.file).read_text(), mutation)
        except run.PlantError as error:
            stale.append(str(error))
    assert stale == []


def test_the_table_is_a_table():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS) >= 45
    assert len({(mutation.file, mutation.old, mutation.new) for mutation in MUTATIONS}) == len(MUTATIONS)
    assert all(mutation.meaning for mutation in MUTATIONS)
    assert not [mutation for mutation in MUTATIONS if mutation.file == "recount.py"], "blindness is no bug to be caught"


def test_a_snippet_that_is_gone_or_is_there_twice_is_an_error():
    mutation = MUTATIONS[0]
    for text in ("", 2 * mutation.old):
        with pytest.raises(run.PlantError, match="renew it in the table"):
            run.mutate(text, mutation)


ROOM = """\
cdef class Room:
    cdef int f(
        self, int a
    ) noexcept nogil:
        # Why.
        cdef int b = max(
            1, a)
        if a < b:
            return 1

        return 0

    def g(self):
        return 2
"""


def test_bugs_of_a_room_are_asleep_together():
    bugs = {1: ("a < b", "a <= b"), 2: ("return 0", "return 3"), 3: ("1, a)", "2, a)"), 7: ("return 2", "return 4\n")}
    combined, asleep = combine(ROOM, {number: ROOM.replace(*bug) for number, bug in bugs.items()})
    assert asleep == {1, 2, 7}, "a declaration cannot be chosen"
    head = PROLOGUE + ROOM[: ROOM.index("        if a < b")]
    assert combined.startswith(head), "what comes before the body is as it was"
    assert [line.strip() for line in combined[len(head) :].splitlines() if line.strip()] == [
        "if PLANTED_NUMBER == 1:", "if a <= b:", "return 1", "return 0",
        "elif PLANTED_NUMBER == 2:", "if a < b:", "return 1", "return 3",
        "else:", "if a < b:", "return 1", "return 0",
        "def g(self):", "if PLANTED_NUMBER == 7:", "return 4", "else:", "return 2",
    ]  # fmt: skip
    assert combine(ROOM, {}) == (PROLOGUE + ROOM, set())
    assert combine("cdef extern from *:\n    int f(int a)\n", {}) == ("cdef extern from *:\n    int f(int a)\n", set())


@needs_source
def test_what_is_compiled_into_what():
    assert run.rooms_to_build("ranks.py") == []
    assert run.rooms_to_build("_facts.pyx") == ["_facts"]
    assert run.rooms_to_build("_chance.pxd") == ["_facts", "_large", "_replay", "_search", "_timeline"]
    assert {"_core", "_tables"} <= set(run.rooms_to_build("_grid.pxd"))


def test_what_is_shown_to_which_tests():
    assert run.files_of("journal") == ["tests/test_journal.py"]
    assert run.files_of("conformance/loss") == ["tests/conformance/test_loss.py"]
    assert set(run.files_of("conformance")) > set(run.files_of("conformance/loss"))
    assert run.files_of("faults") == ["tests/test_faults.py"], "beside it is a folder in which no test is"
    assert run.suite_for("_core.pyx")[0] == "tests/test_core.py"
    shown = run.suite_for("engines/local.py")
    assert shown[:2] == ["tests/test_local.py", "tests/conformance/test_loss.py"] and len(set(shown)) == len(shown)
    assert [name for names in (*run.NEAREST.values(), run.SUITE) for name in names if not run.files_of(name)] == []


def test_every_bug_of_a_run_is_shown_to_the_tests_of_its_room():
    """Those of the journal were shown to everything but the tests of the journal."""
    rooms = {Path(mutation.file).stem for mutation in MUTATIONS if mutation.file.startswith(("runtime/", "engines/"))}
    assert [room for room in sorted(rooms) if not run.files_of(room) and room not in run.NEAREST] == []


@pytest.mark.parametrize(
    ("name", "tests"), [("lease-one-short", "test_liveness.py"), ("urgency-priority-reversed", "test_order.py")]
)
def test_a_planted_bug_is_caught_and_without_it_the_copy_passes(tmp_path, name, tests):
    (mutation,) = [mutation for mutation in MUTATIONS if mutation.name == name]
    path = run.copy_package(INSTALLED, tmp_path) / mutation.file
    text = path.read_text()
    path.write_text(run.mutate(text, mutation))
    verdict = run.judge(tmp_path, [f"tests/{tests}"])
    assert verdict.caught and verdict.by.startswith(f"{tests}::test_"), verdict
    path.write_text(text)
    assert not run.judge(tmp_path, [f"tests/{tests}"]).caught


def test_tests_that_do_not_meet_the_copy_are_an_error(tmp_path):
    with pytest.raises(run.PlantError, match="is imported from"):
        run.judge(tmp_path, ["tests/test_liveness.py"])


def test_a_test_that_hangs_is_a_catch_and_its_log_says_where(tmp_path):
    run.copy_package(INSTALLED, tmp_path)
    hanging = tmp_path / "test_hanging.py"
    hanging.write_text("def test_it():\n    sum(iter(int, 1))\n")
    verdict = run.judge(tmp_path, [str(hanging)], hang=1.0)
    assert verdict.caught and verdict.by.startswith("hang: ") and verdict.by.endswith("test_hanging.py::test_it")
    assert "in test_it" in (tmp_path / "log.txt").read_text() and verdict.seconds < 20
