"""A script for `sbatch` that runs a job file on the nodes of an allocation, through Dask: text in, text out.

It starts a Dask scheduler and, by one `srun`, a Dask worker on every node; then the run, in the midst of them. No task
is a step of Slurm's. What does not fit into the time of the allocation is not begun, and the same script, submitted
again, goes on with it.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

__all__ = ["MARGIN_S", "sbatch_script"]

MARGIN_S = 60  # before the end of the allocation, for ending in good order

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --nodes={nodes}
#SBATCH --ntasks-per-node=1
{amounts}
#SBATCH --time={time}
#SBATCH --output=fastsched-%j.log
#SBATCH --signal=B:TERM@{margin}
{others}
# Runs {file} on the nodes of this allocation. Submitted again, it goes on where it ended.
# Exit codes: 0 all completed, 1 some task failed, 75 out of time (submit it again), 130 interrupted.

set -u
cd "${{SLURM_SUBMIT_DIR:-$PWD}}" || exit 2
python={python}
run_dir={run_dir}
folder=$(mktemp -d "$PWD/.fastsched-slurm-XXXXXX") || exit 2
file=$folder/scheduler.json

"$python" -m distributed.cli.dask_scheduler --port 0 --no-dashboard --scheduler-file "$file" \\
    >"$folder/scheduler.log" 2>&1 &
scheduler=$!
# One worker a node, by one step; each takes what Slurm gives it there.
export SRUN_CPUS_PER_TASK="${{SLURM_CPUS_PER_TASK:-${{SLURM_CPUS_ON_NODE:-1}}}}"
srun --kill-on-bad-exit=0 --cpu-bind=none sh -c 'exec "$0" -m distributed.cli.dask_worker --scheduler-file "$1" \\
    --name "${{SLURMD_NODENAME:-$(hostname)}}" --nworkers 1 --nthreads "${{SLURM_CPUS_ON_NODE:-$(nproc)}}" \\
    --memory-limit "${{SLURM_MEM_PER_NODE:-0}}MiB" --no-dashboard --death-timeout 120 \\
    --local-directory "${{TMPDIR:-/tmp}}"' "$python" "$file" >"$folder/workers.log" 2>&1 &
workers=$!

finish() {{
    kill "$workers" "$scheduler" 2>/dev/null
    wait "$workers" "$scheduler" 2>/dev/null
    [ "$1" = 2 ] && cat "$folder"/*.log >&2
    rm -rf "$folder"
    exit "$1"
}}
trap 'finish 130' INT TERM
until [ -s "$file" ]; do
    kill -0 "$scheduler" 2>/dev/null || finish 2
    sleep 0.2
done

now=$(date +%s)
left=$((${{SLURM_JOB_END_TIME:-$((now + {seconds}))}} - now - {margin}))
[ "$left" -gt 0 ] || finish 75
if [ -e "$run_dir" ]; then
    "$python" -m fastsched resume "$run_dir" --engine "dask://$file" --walltime "${{left}}s" {watching} &
else
    "$python" -m fastsched run {quoted} --run-dir "$run_dir" \\
        --engine "dask://$file" --walltime "${{left}}s" {options} &
fi
run=$!
trap 'kill -TERM "$run" 2>/dev/null' INT TERM
code=0
wait "$run" || code=$?
while kill -0 "$run" 2>/dev/null; do  # a signal has ended the waiting, and not the run
    code=0
    wait "$run" || code=$?
done
# What Slurm has ended since its time was over, and not somebody, is to go on.
[ "$code" = 130 ] && [ "$(date +%s)" -ge $((now + left)) ] && code=75
finish "$code"
"""


def sbatch_script(
    file: str,
    *,
    name: str,
    nodes: int,
    seconds: int,
    python: str,
    run_dir: str,
    cpus: int | None = None,
    memory_mb: int | None = None,
    directives: Sequence[str] = (),
    options: Sequence[str] = (),
) -> str:
    """The script.

    Args:
        file: the job file, as seen from where it is submitted.
        seconds: of the allocation.
        python: the interpreter, which every node has to see.
        run_dir: where outputs and journal go.
        cpus, memory_mb: of each node; None: all of it.
        directives: further words for `#SBATCH`. options: further ones for `fastsched run`.
    """
    amounts = [f"--cpus-per-task={cpus}" if cpus else "--exclusive", f"--mem={memory_mb or 0}M"]
    hours, rest = divmod(seconds, 3600)
    return SCRIPT.format(
        name=shlex.quote(name),
        nodes=nodes,
        amounts="\n".join(f"#SBATCH {word}" for word in amounts),
        time=f"{hours}:{rest // 60:02}:{rest % 60:02}",
        margin=MARGIN_S,
        others="".join(f"#SBATCH {word}\n" for word in directives),
        file=file,
        python=shlex.quote(python),
        run_dir=shlex.quote(run_dir),
        seconds=seconds,
        quoted=shlex.quote(file),
        options=shlex.join(options),
        watching="--quiet" if "--quiet" in options or "-q" in options else "",
    )
