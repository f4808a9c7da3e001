"""The script for sbatch: what it asks for, that a shell can read it, and that it runs where Slurm is played."""

from __future__ import annotations

import os
import subprocess
import time

import pytest

from fastsched.cli import main
from fastsched.slurm import sbatch_script

SRUN = """#!/bin/sh
# One task on each of two nodes, as srun starts them.
echo called >>"$CALLED"
while [ "${1#--}" != "$1" ]; do shift; done
for node in n1 n2; do
    SLURMD_NODENAME=$node SLURM_CPUS_ON_NODE=1 "$@" &
done
trap 'kill $(jobs -p) 2>/dev/null' TERM
wait
"""
JOB = """
name = "two nodes"
[[tasks]]
task_id = "a"
command = "sleep 0.5; echo $FASTSCHED_WORKER"
duration = 0.5
[[tasks]]
task_id = "b"
command = "sleep 0.5; echo $FASTSCHED_WORKER"
duration = 0.5
[[tasks]]
task_id = "long"
command = "true"
duration = 600
dependencies = ["a", "b"]
"""


def script(**more):
    given = {"name": "x", "nodes": 3, "seconds": 5000, "python": "/usr/bin/python3", "run_dir": "runs/x"}
    return sbatch_script("my job.toml", **{**given, **more})


def test_it_asks_for_what_it_was_told():
    lines = script(cpus=4, memory_mb=2048, directives=["--partition=fast"]).splitlines()
    asked = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH ")]
    wanted = {"--nodes=3", "--cpus-per-task=4", "--mem=2048M", "--time=1:23:20", "--partition=fast"}
    assert wanted <= set(asked) and "--exclusive" not in asked
    assert "--exclusive" in script() and "--mem=0M" in script()
    assert lines[0] == "#!/bin/bash" and sum("srun " in line and not line.startswith("#") for line in lines) == 1


def test_a_shell_can_read_it_whatever_the_names():
    text = script(name="it's", run_dir="a b/$HOME", options=["--notify", "mail 'me'"])
    subprocess.run(["bash", "-n"], input=text.encode(), check=True)
    assert "'my job.toml'" in text and "'a b/$HOME'" in text


def test_what_is_wrong_is_said_before_it_waits_in_a_queue(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.toml").write_text('[[tasks]]\ntask_id = "a"\ncommand = "x"\ndependencies = ["b"]\n')
    assert main(["slurm-script", "bad.toml", "--time", "1h"]) == 2
    assert "b" in capsys.readouterr().err
    (tmp_path / "job.toml").write_text(JOB)
    for words in (["--time", "60s"], ["--time", "1h", "--run-options", "--retrys 3"], []):
        with pytest.raises(SystemExit) as left:
            main(["slurm-script", "job.toml", *words])
        assert left.value.code == 2


@pytest.fixture
def allocation(tmp_path, monkeypatch):
    """Runs the script as Slurm would, with so many seconds left; its exit code and output."""
    pytest.importorskip("distributed", reason="skipped: distributed is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "srun").write_text(SRUN)
    (tmp_path / "bin" / "srun").chmod(0o755)
    (tmp_path / "job.toml").write_text(JOB)

    def begin(text, left_s):
        (tmp_path / "job.sh").write_text(text)
        environment = {
            **os.environ,
            "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
            "CALLED": str(tmp_path / "called"),
            "SLURM_JOB_END_TIME": str(int(time.time()) + left_s),
        }
        return subprocess.Popen(["bash", "job.sh"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    return begin


def written(capsys):
    assert main(["slurm-script", "job.toml", "--time", "10m", "--nodes", "2", "--run-options=--quiet"]) == 0
    return capsys.readouterr().out


def test_it_runs_on_all_nodes_ends_in_time_and_goes_on(allocation, tmp_path, capsys):
    text = written(capsys)
    first = allocation(text, 180)
    said = first.communicate(timeout=60)[0].decode()
    assert first.returncode == 75 and "1 task would not have ended in the walltime" in said, said
    folder = tmp_path / ".fastsched" / "runs" / "slurm-two-nodes"
    assert sorted((folder / "logs" / f"{name}.1.out").read_text() for name in "ab") == ["n1\n", "n2\n"]
    second = allocation(text, 900)
    said = second.communicate(timeout=60)[0].decode()
    assert second.returncode == 0 and "3 completed" in said, said
    assert (tmp_path / "called").read_text() == "called\n" * 2, "one step an allocation, and none a task"
    assert not list(tmp_path.glob(".fastsched-slurm-*"))


def test_when_slurm_says_that_the_time_is_over_it_ends_in_good_order(allocation, tmp_path, capsys):
    text = written(capsys)
    (tmp_path / "job.toml").write_text(JOB.replace("sleep 0.5", "touch up; sleep 60"))
    process = allocation(text, 900)
    until = time.monotonic() + 30
    while not (tmp_path / "up").exists() and time.monotonic() < until:
        time.sleep(0.05)
    process.terminate()
    said = process.communicate(timeout=30)[0].decode()
    assert process.returncode == 130 and "interrupted" in said, said
    assert not list(tmp_path.glob(".fastsched-slurm-*"))


def test_without_time_left_nothing_is_begun(allocation, tmp_path, capsys):
    process = allocation(written(capsys), 30)
    process.communicate(timeout=60)
    assert process.returncode == 75 and not (tmp_path / ".fastsched").exists()
