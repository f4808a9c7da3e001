"""Projects as files: PSPLIB's and Patterson's, as they are and spoilt."""

from __future__ import annotations

import csv
import io
import tarfile

import pytest

from fastsched import FormatError, TaskGraph, ValidationError, schedule
from fastsched.cli import main
from fastsched.formats import load, load_workers

SM = """\
************************************************************************
file with basedata            : made.bas
************************************************************************
projects                      :  1
jobs (incl. supersource/sink ):  5
horizon                       :  12
RESOURCES
  - renewable                 :  2   R
  - nonrenewable              :  0   N
  - doubly constrained        :  0   D
************************************************************************
PROJECT INFORMATION:
pronr.  #jobs rel.date duedate tardcost  MPM-Time
    1      3      0        9        1        7
************************************************************************
PRECEDENCE RELATIONS:
jobnr.    #modes  #successors   successors
   1        1          2           2   3
   2        1          1           4
   3        1          1           5
   4        1          1           5
   5        1          0
************************************************************************
REQUESTS/DURATIONS:
jobnr. mode duration  R 1  R 2
------------------------------------------------------------------------
  1      1     0       0    0
  2      1     3       2    0
  3      1     4       2    1
  4      1     2       0    3
  5      1     0       0    0
************************************************************************
RESOURCEAVAILABILITIES:
  R 1  R 2
    3    3
************************************************************************
"""
RCP = """
5   2
3 3

0 0 0  2 2 3
3 2 0  1
4
4 2 1  1 5
2 0 3  1 5
0 0 0  0
"""
BOTH = {"project.sm": SM, "project.rcp": RCP, "PROJECT.RCP": RCP.replace("\n", "\r\n")}


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize("name", BOTH)
def test_both_formats_say_the_same(tmp_path, name):
    path = write(tmp_path, name, BOTH[name])
    job = load(path)
    assert job.recorded and job.name == path.stem
    graph = TaskGraph(job.tasks)
    assert graph.ids == ["1", "2", "3", "4", "5"]
    assert graph.resources == ("cpu_millicores", "memory_mb", "R1", "R2")
    assert graph.demand.tolist() == [[0, 0, 0, 0], [0, 0, 2, 0], [0, 0, 2, 1], [0, 0, 0, 3], [0, 0, 0, 0]]
    assert graph.duration.tolist() == [0, 3 * 10**9, 4 * 10**9, 2 * 10**9, 0]
    assert [task.dependencies for task in job.tasks] == [[], ["1"], ["1"], ["2"], ["3", "4"]]
    (worker,) = load_workers(path)
    assert (worker.cpu_cores_available, worker.memory_available_mb) == (0, 0)
    assert worker.resources == {"R1": 3, "R2": 3}
    assert schedule(job.tasks, job.workers).makespan == 9  # 2 and 3 exclude each other, and so do 3 and 4


def test_the_command_line_plans_them_and_does_not_run_them(tmp_path, capsys):
    for name, text in BOTH.items():
        path = str(write(tmp_path, name, text))
        assert main(["plan", path, "--width", "80"]) == 0
        out = capsys.readouterr().out
        assert "5 tasks on 1 worker (3 R1, 3 R2)" in out and "makespan      9.00 s" in out
        assert "critical path 5.00 s, R1 4.67 s, R2 3.33 s" in " ".join(out.split())
        assert main(["run", path]) == 2
        assert "can be planned" in capsys.readouterr().err
        assert main(["plan", path, "--workers", path]) == 0
        capsys.readouterr()


def test_a_chart_of_many_shows_what_they_ask_for(tmp_path, capsys):
    jobs = "\n".join(f"2 1 {job % 2} 0" for job in range(40))
    assert main(["plan", str(write(tmp_path, "many.rcp", f"40 2\n4 4\n{jobs}\n")), "--width", "60"]) == 0
    assert any(line.startswith("project │███") for line in capsys.readouterr().out.splitlines())


def spoil(text, old, new):
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("   3        1          1           5\n", "   3        1          2           5\n",
         "line 20: job 3 says 2 successors and names 1"),
        ("   3        1          1           5\n", "   3        1          1           6\n",
         "line 20: job 3 has the successor 6, which is not a job; there are 1 to 5"),
        ("   3        1          1           5\n", "   3        1          1           x\n",
         "line 20: a successor of job 3 is 'x'; a whole number is wanted"),
        ("   3        1          1           5\n", "   3        2          1           5\n",
         "line 20: job 3 has 2 modes; only files with one mode can be planned"),
        ("   3        1          1           5\n", "", "line 20: this is about job 4; job 3 is wanted here"),
        ("   5        1          0\n", "", "line 21: the section PRECEDENCE RELATIONS ends after 4 of 5 jobs"),
        ("   5        1          0\n", "   5 1 0\n   6 1 0\n",
         "line 23: this is about job 6; there are 5 jobs, and all have been named"),
        ("   5        1          0\n", "   5\n",
         "line 22: job 5 wants its number, modes, number of successors and these"),
        ("  4      1     2       0    3\n", "  4      1     2       0\n",
         "line 30: job 4 has 4 numbers; its number, mode, duration and 2 demands are wanted"),
        ("  4      1     2       0    3\n", "  4      1     2       -1   3\n",
         "line 30: what job 4 needs of R1 is '-1'; a whole number is wanted"),
        ("  4      1     2       0    3\n", "  4      1     2       0    2147483648\n",
         "line 30: what job 4 needs of R2 is '2147483648'; it must be between 0 and 2147483647"),
        ("  4      1     2       0    3\n", "  4      1     1000000001 0  3\n",
         "line 30: the duration of job 4 is '1000000001'; it must be between 0 and 1000000000"),
        ("  4      1     2       0    3\n", "note\n", "line 30: 'note'; a row of numbers is wanted"),
        ("    3    3\n", "    3\n", "line 35: 2 amounts are wanted, and there are 1"),
        ("    3    3\n", "", "one row with the amounts of the resources is wanted, and there are 0"),
        ("nonrenewable              :  0", "nonrenewable              :  2",
         "it has 2 nonrenewable resources; only renewable ones can be planned"),
        ("jobs (incl. supersource/sink ):  5", "jobs (incl. supersource/sink ):  five",
         "line 5: the number of jobs is 'five'; a whole number is wanted"),
        ("jobs (incl. supersource/sink ):  5\n", "",
         "line 35: the file ends, and no line says 'jobs: N'; it is no PSPLIB file"),
        ("REQUESTS/DURATIONS:\n", "",
         "line 35: the file ends, and there is no section 'REQUESTS/DURATIONS:'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_psplib_file_is_told_with_its_line(tmp_path, old, new, said):
    path = write(tmp_path, "a.sm", spoil(SM, old, new))
    with pytest.raises(FormatError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {said}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("4 2 1  1 5\n", "4 2 1  1 6\n", "line 8: job 3 has the successor 6, which is not a job; there are 1 to 5"),
        ("4 2 1  1 5\n", "4 2 1  1 0\n", "line 8: job 3 has the successor 0, which is not a job; there are 1 to 5"),
        ("4 2 1  1 5\n", "4 2 1.5  1 5\n", "line 8: what job 3 needs of R2 is '1.5'; a whole number is wanted"),
        ("0 0 0  0\n", "0 0 0\n", "line 10: the file ends where the number of successors of job 5 is wanted"),
        ("0 0 0  0\n", "0 0 0  2 1\n", "line 10: the file ends where a successor of job 5 is wanted"),
        ("0 0 0  0\n", "0 0 0  0\n7\n", "line 11: '7' stands behind the last of 5 jobs"),
        ("5   2\n", "5   x\n", "line 2: the number of resources is 'x'; a whole number is wanted"),
        ("3 3\n", "3 -3\n", "line 3: the amount of R2 is '-3'; a whole number is wanted"),
    ],
)
def test_what_is_wrong_with_a_patterson_file_is_told_with_its_line(tmp_path, old, new, said):
    path = write(tmp_path, "a.rcp", spoil(RCP, old, new))
    with pytest.raises(FormatError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {said}"


@pytest.mark.parametrize("name", ["a.sm", "a.rcp"])
def test_what_is_no_project_at_all(tmp_path, name):
    for text in ("", "\n\n", "{}", "hello there\n"):
        with pytest.raises(FormatError, match=r"line 1"):
            load(write(tmp_path, name, text.strip("\n") or text[:1]))
    (tmp_path / name).write_bytes(SM.encode("utf-16"))
    with pytest.raises(FormatError, match="UTF-16"):
        load(tmp_path / name)
    (tmp_path / name).write_bytes(bytes(range(256)))
    with pytest.raises(FormatError, match="line"):
        load(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        load(tmp_path / f"missing-{name}")


def test_a_circle_of_jobs_is_named(tmp_path):
    job = load(write(tmp_path, "a.rcp", spoil(RCP, "2 0 3  1 5\n", "2 0 3  1 2\n")))
    with pytest.raises(ValidationError, match=r"2.*4"):
        schedule(job.tasks, job.workers)


def test_every_instance_of_the_sets_is_read_as_its_reference_says(data_folder, tmp_path):
    with open(data_folder / "rcpsp" / "rcpsp_reference.csv") as file:
        known = {(row["set"], row["instance"].lower()): row for row in csv.DictReader(file)}
    checked = 0
    for archive in sorted((data_folder / "rcpsp").glob("*.tar.gz")):
        with tarfile.open(archive) as files:
            for member in files:
                if not member.isfile():
                    continue
                name = member.name.split("/")[-1]
                (tmp_path / name).write_bytes(io.BufferedReader(files.extractfile(member)).read())
                row = known.get((archive.name.split(".")[0], name.rsplit(".", 1)[0].lower()))
                job = load(tmp_path / name)
                graph = TaskGraph(job.tasks)
                assert graph.has_durations and len(job.workers[0].resources) == int(row["resources"]), name
                assert len(graph) - 2 == int(row["n_tasks"]), name
                checked += 1
    assert checked == 3982
