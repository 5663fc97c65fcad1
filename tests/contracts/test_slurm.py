"""The SLURM recipes on a real SLURM: submitted as they are, they run, and write the store."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
import yaml

from decametric.store import write
from decametric.superres.inference import sharpen
from slurm_node import NoSlurmError, fetch, running

RECIPES = Path(__file__).parents[2] / "cluster" / "slurm"
PIPELINE = str(Path(__file__).parents[2] / "pipeline")
PLACE = "oscd-brasilia-1"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def slurm(request, tmp_path_factory):
    """A SLURM of one node, in whose jobs this very package runs."""
    try:
        root = fetch(request.config.cache.mkdir("slurm"))
        with running(root, tmp_path_factory.mktemp("slurm")) as made:
            made.environment["PYTHONPATH"] = PIPELINE
            made.environment["PATH"] += f":{made.folder / 'bin'}"
            programs(made.folder / "bin")
            yield made
    except NoSlurmError as error:
        pytest.skip(str(error))


def programs(folder):
    """The commands of the recipes, as an installed package has them."""
    folder.mkdir()
    for name in ("decametric", "dask"):
        program = folder / name
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m {name} "$@"\n')
        program.chmod(0o755)


@pytest.fixture(scope="module")
def item(shared_data):
    return shared_data / "stac" / "sentinel-2-l1c" / PLACE / f"{PLACE}.json"


@pytest.fixture(scope="module")
def expected(real_scene, tmp_path_factory):
    """What the jobs must write, written here."""
    folder = tmp_path_factory.mktemp("expected")
    write(sharpen(real_scene(PLACE, chunk=120), "bicubic", bands=["B11"]), folder / "o.zarr")
    with xr.open_zarr(folder / "o.zarr", group="22LHH") as stored:
        return stored.load()


def same(store, expected):
    """Whether a store holds the expected numbers."""
    with xr.open_zarr(store, group="22LHH") as stored:
        return stored.load().drop_attrs().identical(expected.drop_attrs())


def newest(slurm, name):
    """Number of the last job of a name."""
    jobs = slurm.run("scontrol", "show", "jobs")
    return re.findall(rf"JobId=(\d+) JobName={name}", jobs)[-1]


ORDER = ("--bands", "B11", "--chunk", "120", "--predictor", "bicubic")
SMALL = ("--ntasks=2", "--cpus-per-task=1", "--mem-per-cpu=4G")


def test_the_job_of_the_recipe_writes_the_store(slurm, item, expected, tmp_path):
    script = RECIPES / "decametric.sbatch"
    told = slurm.run("sbatch", *SMALL, script, item, "o.zarr", *ORDER, cwd=tmp_path)
    job = re.search(r"Submitted batch job (\d+)", told)[1]
    slurm.wait(job, "COMPLETED")
    assert same(tmp_path / "o.zarr", expected)
    text = (tmp_path / f"slurm-{job}.out").read_text()
    assert "1 done, 0 skipped, 0 failed" in text, text
    assert not list(tmp_path.glob("scheduler-*.json"))


def test_a_cluster_of_jobs_writes_the_store(slurm, item, expected, tmp_path):
    """``--cluster jobqueue.yaml``: every worker is a job of its own, as small as this machine."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    settings = yaml.safe_load((RECIPES / "jobqueue.yaml").read_text())
    settings["decametric"]["adapt"] = {"minimum": 1, "maximum": 1}
    settings["jobqueue"]["slurm"] |= {"cores": 1, "memory": "4GiB"}
    settings["jobqueue"]["slurm"]["python"] = sys.executable
    (tmp_path / "jobqueue.yaml").write_text(yaml.safe_dump(settings))
    order = (item, "-o", "o.zarr", "--cluster", "jobqueue.yaml", *ORDER)
    subprocess.run(
        [slurm.folder / "bin" / "decametric", "sharpen", *order],
        env=slurm.environment,
        cwd=tmp_path,
        check=True,
        timeout=120,
    )
    assert same(tmp_path / "o.zarr", expected)
    slurm.wait(newest(slurm, "dask-worker"), "CANCELLED")  # nothing is left behind
