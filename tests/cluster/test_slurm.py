"""The batch script for Slurm, with Slurm's commands faked: what it asks of them, and that a job runs."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster.machines import ROOT, children, until

SCRIPT = ROOT / "docs" / "slurm.sh"
FAKES = {
    "dask": 'exec {python} -P -m dask "$@"',
    "python": 'exec {python} "$@"',
    # Slurm would start the command in each task; here it runs once.
    "srun": 'printf "%s\\n" "$@" > {out}/srun; while [ "${{1#--}}" != "$1" ]; do shift; done; exec "$@"',
    "eggan": 'printf "%s\\n" "$@" > {out}/eggan; shift $(($# - 1)); '
    'exec {python} -m tests.cluster.one_job "$1" {out}',
}


@pytest.fixture
def slurm(tmp_path):
    """The environment of a batch job on a node called localhost."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, body in FAKES.items():
        path = programs / name
        path.write_text("#!/bin/bash\n" + body.format(python=sys.executable, out=tmp_path) + "\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "disk").mkdir()
    return {
        **os.environ,
        "PATH": f"{programs}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TMPDIR": str(tmp_path / "disk"),
        "USER": "me",
        "SLURMD_NODENAME": "localhost",
        "SLURM_NTASKS": "3",
        "SLURM_CPUS_PER_TASK": "4",
    }


def test_the_header_asks_for_tasks_cores_memory_time_and_a_warning():
    asked = dict(re.findall(r"^#SBATCH --([\w-]+)=(\S+)$", SCRIPT.read_text(), flags=re.MULTILINE))
    assert {"ntasks", "cpus-per-task", "mem-per-cpu", "time", "output"} <= set(asked)
    assert asked["signal"] == "B:TERM@180"  # to the script alone: it lets the client stop the cells


@pytest.mark.slow
def test_a_batch_job_starts_workers_runs_the_suite_and_ends(slurm, tmp_path):
    done = subprocess.run(
        ["bash", SCRIPT, "standard", "--offline"], env=slurm, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 3, done.stderr  # that of the client
    srun = (tmp_path / "srun").read_text().splitlines()
    assert srun[:5] == ["--ntasks=3", "--cpus-per-task=4", "--kill-on-bad-exit=0", "dask", "worker"]
    assert srun[5].startswith("tcp://127.0.0.1:")
    words = " ".join(srun[6:])
    assert "--preload eggan.cluster.worker" in words
    assert "--nthreads 1" in words
    assert "--resources threads=4 gpu=0" in words
    assert f"--local-directory {tmp_path}/disk/eggan-me" in words
    eggan = (tmp_path / "eggan").read_text().splitlines()
    assert eggan[:5] == ["bench", "run", "standard", "--offline", "--cluster"]
    job = json.loads((tmp_path / "outcome.json").read_text())
    assert job == {"status": 0, "number": 10}
    assert not Path(eggan[5]).parent.exists()  # the scheduler's file was for this job alone


@pytest.mark.slow
def test_a_batch_job_whose_time_is_up_lets_the_client_save(slurm, tmp_path):
    script = subprocess.Popen(
        ["bash", SCRIPT, "standard"], env={**slurm, "COUNT_UNTIL": "1000"}, stderr=subprocess.DEVNULL
    )
    until(lambda: len(list(tmp_path.glob("notes/*"))) > 0)
    script.terminate()
    assert script.wait(60) == 130
    assert not children(script.pid)
    assert json.loads((tmp_path / "cells" / "count" / "cell.json").read_text())["state"] == "interrupted"
