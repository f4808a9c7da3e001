"""`run()` with commands that do nothing: what the runtime itself costs, beside xargs and ninja where they are."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from fastsched import Task, Worker, run

N = 500


def bench_run_true(benchmark, tmp_path, monkeypatch):
    benchmark.group = f"run {N} times true, two at a time"
    monkeypatch.chdir(tmp_path)
    tasks = [Task(f"t{i}", "/bin/true") for i in range(N)]
    result = benchmark.pedantic(lambda: run(tasks, [Worker("w", 2, 1024)]), rounds=3, warmup_rounds=1)
    assert result.all_completed and len(result.attempts) == N


def bench_xargs_true(benchmark):
    benchmark.group = f"run {N} times true, two at a time"
    if not shutil.which("xargs"):
        pytest.skip("skipped: there is no xargs")
    lines = "\n".join(map(str, range(N)))
    done = benchmark.pedantic(
        lambda: subprocess.run(["xargs", "-P", "2", "-n", "1", "true"], input=lines, text=True), rounds=3
    )
    assert done.returncode == 0


def bench_ninja_true(benchmark, tmp_path):
    benchmark.group = f"run {N} times true, two at a time"
    if not shutil.which("ninja"):
        pytest.skip("skipped: there is no ninja")
    lines = ["rule t", "  command = true", *(f"build o{i}: t" for i in range(N))]
    (tmp_path / "build.ninja").write_text("\n".join(lines) + "\n")
    done = benchmark.pedantic(
        lambda: subprocess.run(["ninja", "-j", "2", "-C", str(tmp_path)], capture_output=True), rounds=3
    )
    assert done.returncode == 0
