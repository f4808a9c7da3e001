"""A few real faults of each kind; `python -m faults` makes as many as are promised."""

from __future__ import annotations

import shutil
import sys

import pytest
from faults.__main__ import problems
from faults.agents import kill_agents, stop_agents
from faults.clients import submit_from_everywhere
from faults.clusters import break_dask, break_ray
from faults.outputs import bad_commands
from faults.schedulers import fill_disks, kill_schedulers

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("flock") is None, reason="skipped: the evidence needs Linux and flock"
)


def test_killed_agents_lose_and_double_nothing(tmp_path):
    counted = kill_agents(tmp_path / "faults", 8, 160, seed=1)
    assert not problems(counted), counted


def test_killed_schedulers_are_resumed_and_nothing_that_completed_is_run_again(tmp_path):
    counted = kill_schedulers(tmp_path / "faults", 4, 40, seed=1)
    assert counted["schedulers killed"] >= 1 and not problems(counted), counted


def test_what_a_stopped_agent_says_after_its_lease_is_rejected(tmp_path):
    counted = stop_agents(tmp_path / "faults", 2, seed=1)
    assert counted["stale reports"] == 2 and not problems(counted), counted


def test_what_was_acknowledged_on_a_disk_that_filled_up_is_kept(tmp_path):
    counted = fill_disks(tmp_path / "faults", 2)
    if counted is None:
        pytest.skip("skipped: there is no disk of our own to be had here")
    assert counted["acknowledged"] and not problems(counted), counted


def test_clients_of_all_kinds_while_workers_come_and_go(tmp_path):
    counted = submit_from_everywhere(tmp_path / "faults", 600, seed=1)
    assert counted["workers left"] and not problems(counted), counted


def test_bad_commands_leave_nothing_and_take_no_memory(tmp_path):
    counted = bad_commands(tmp_path / "faults", 300)
    assert counted["the bomb"] == "TIMEOUT" and not problems(counted), counted


def test_a_dask_cluster_of_which_a_process_a_link_and_a_worker_come_and_go(tmp_path):
    counted = break_dask(tmp_path / "faults", 300)
    if counted is None:
        pytest.skip("skipped: there is no network of our own to be had here, or distributed is not installed")
    assert counted["losses"] >= 2 and counted["workers in the end"] == 4 and not problems(counted), counted


def test_a_ray_cluster_of_which_an_actor_and_a_node_are_killed_and_a_node_joins(tmp_path):
    counted = break_ray(tmp_path / "faults", 300)
    if counted is None:
        pytest.skip("skipped: ray is not installed")
    assert counted["losses"] >= 2 and counted["workers in the end"] == 2 and not problems(counted), counted
