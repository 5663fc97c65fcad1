"""The recipes in ``cluster/`` are what their readers take them for; nothing in them is run here."""

from __future__ import annotations

import re
import shlex
import tomllib
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

import click
import dask
import pytest
import yaml
from distributed.cli.dask_scheduler import main as dask_scheduler
from distributed.cli.dask_worker import main as dask_worker

from decametric.cli import cli
from decametric.runs import clients

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
README = (CLUSTER / "README.md").read_text()
RECIPES = sorted(path for path in CLUSTER.rglob("*") if path.is_file() and path.suffix != ".md")
YAML = [path for path in RECIPES if path.suffix == ".yaml"]
SHELL = [path for path in RECIPES if path.suffix == ".sbatch"]
PROGRAMS = {"decametric": cli, "dask scheduler": dask_scheduler, "dask worker": dask_worker}


def documents(path):
    return list(yaml.safe_load_all(path.read_text()))


def leaves(value, path=()):
    """Every scalar and list of scalars in a document, with the keys that lead to it."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from leaves(each, (*path, key))
    elif isinstance(value, list) and any(isinstance(each, (dict, list)) for each in value):
        for each in value:
            yield from leaves(each, path)
    else:
        yield path, value


def spoken(path):
    """Texts of a recipe that may hold command lines."""
    text = path.read_text()
    yield "\n".join(re.findall(r"^#  +(.*)", text, re.MULTILINE))  # examples in comments
    if path in YAML:
        for document in documents(path):
            for _, value in leaves(document):
                words = list(map(str, value)) if isinstance(value, list) else [str(value)]
                # A list is one command line, or holds one for a shell.
                whole = len(words) == 1 or any(" " in word for word in words)
                yield from words if whole else [shlex.join(words)]
    elif path in SHELL:
        yield re.sub(r"^\s*#.*", "", text.replace("\\\n", " "), flags=re.MULTILINE)


def lines(text):
    """Command lines of our programs in a text: name and words."""
    start, names = r"(?:^|\||&&|^srun [^|\n]*?)\s*", "|".join(PROGRAMS)
    for name, rest in re.findall(rf"{start}({names}) ([^\n|&]+)", text, re.MULTILINE):
        words = shlex.split(rest.partition(" > ")[0])
        yield name, [word for word in words if word != "$@"]


def fenced(text):
    """Lines of the code blocks of a Markdown text."""
    return "\n".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))


COMMANDS = [
    pytest.param(name, words, id=f"{path.relative_to(CLUSTER)}: {name} {' '.join(words)}"[:90])
    for path, texts in [
        *((path, list(spoken(path))) for path in RECIPES),
        (CLUSTER / "README.md", [fenced(README)]),
    ]
    for text in texts
    for name, words in lines(text)
]


def parse(command, words):
    """What the real parser makes of a command line; it raises for an option that is not there."""
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    return command.make_context("recipe", words, resilient_parsing=False)


@pytest.mark.parametrize(("name", "words"), COMMANDS)
def test_every_command_line_parses(name, words):
    # Numbers that a shell variable holds when the recipe runs.
    words = ["4" if word == "$SLURM_CPUS_PER_TASK" else word for word in words]
    parse(PROGRAMS[name], words)


def test_the_command_lines_are_found():
    found = [(param.values[0], param.values[1][:1]) for param in COMMANDS]
    assert found.count(("decametric", ["sharpen"])) >= 8
    assert found.count(("decametric", ["search"])) >= 3
    names = [name for name, _ in found]
    assert names.count("dask worker") == 4
    assert names.count("dask scheduler") == 2


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_every_recipe_has_its_line_in_the_readme(path):
    (line,) = [line for line in README.splitlines() if f"]({path.relative_to(CLUSTER)})" in line]
    assert line.startswith("| ")


def test_the_readme_tells_hardware_memory_and_speed():
    rows = [line.split("|") for line in README.splitlines() if line.startswith("| [")]
    assert len(rows) == len(RECIPES)
    header = next(line for line in README.splitlines() if line.startswith("| recipe"))
    columns = [cell.strip() for cell in header.split("|")[3:6]]
    assert columns == ["hardware", "memory of a worker", "tiles per hour"]
    assert all(cell.strip() for row in rows for cell in row[1:6])


def test_dask_knows_every_setting():
    import distributed  # noqa: F401  (brings its defaults)

    (document,) = documents(CLUSTER / "dask.yaml")
    for path, value in leaves(document):
        known = dask.config.get(".".join(path), default=LookupError)
        assert known is not LookupError, path
        assert type(known) is type(value) or isinstance(value, (int, float)), path


# Image and compose.


def instructions():
    """Instructions of the Dockerfile: stage, word, rest."""
    stage, found = "", []
    text = re.sub(r"^#.*\n", "", (CLUSTER / "Dockerfile").read_text(), flags=re.MULTILINE)
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            word, _, rest = line.partition(" ")
            if word == "FROM":
                stage = rest.partition(" AS ")[2]
            found.append((stage, word, rest))
    return found


def test_the_image_is_built_from_what_is_there():
    found = instructions()
    assert {word for _, word, _ in found} <= {"FROM", "RUN", "WORKDIR", "COPY", "USER", "CMD"}
    for _, word, rest in found:
        if word == "COPY":
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = re.findall(r"\"\.\[([a-z,]+)\]\"", (CLUSTER / "Dockerfile").read_text())
    assert {e for each in extras for e in each.split(",")} <= set(project["optional-dependencies"])
    needed = {"pyproject.toml", "README.md", "LICENSE", "pipeline"}
    assert needed == {s for _, w, r in found if w == "COPY" for s in r.split()[:-1]}


def test_the_image_does_not_run_as_root():
    for stage in ("cpu", "gpu"):
        users = [rest for at, word, rest in instructions() if (at, word) == (stage, "USER")]
        assert users[-1] == "worker"


def test_compose_builds_stages_that_exist_and_mounts_files_that_exist():
    (document,) = documents(CLUSTER / "compose.yaml")
    stages = {stage for stage, _, _ in instructions()}
    services = document["services"]
    assert set(services) == {"scheduler", "worker", "run", "run-gpu"}
    for service in services.values():
        assert service["build"]["target"] in stages
        assert service["image"] == f"decametric:{service['build']['target']}"
        assert (CLUSTER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
        assert set(service.get("depends_on", ())) <= set(services)
    assert (CLUSTER / document["configs"]["dask"]["file"]).is_file()


# Kubernetes.


def strangers(value, schema, path="$"):
    """Fields of a document that its schema does not know."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, list):
        for each in value:
            yield from strangers(each, schema.get("items", {}), f"{path}[]")
    elif isinstance(value, dict) and "properties" in schema:
        for key, each in value.items():
            if key not in schema["properties"]:
                yield f"{path}.{key}"
            else:
                yield from strangers(each, schema["properties"][key], f"{path}.{key}")


def test_the_operator_accepts_its_resources():
    if find_spec("dask_kubernetes") is None:
        pytest.skip("dask-kubernetes, which brings the operator's schemas, is not installed")
    jsonschema = pytest.importorskip("jsonschema")
    files = distribution("dask-kubernetes").files
    schemas = {}
    for file in (f for f in files if f.parent.name == "crds" and f.suffix == ".yaml"):
        definition = yaml.safe_load(file.read_text())["spec"]
        version = definition["versions"][0]
        schemas[definition["names"]["kind"]] = version["schema"]["openAPIV3Schema"]
    found = documents(CLUSTER / "kubernetes" / "cluster.yaml")
    assert [document["kind"] for document in found] == ["DaskCluster", "DaskAutoscaler"]
    for document in found:
        schema = schemas[document["kind"]]
        jsonschema.validate(document, schema)
        assert list(strangers(document["spec"], schema["properties"]["spec"])) == []


def test_the_job_and_the_autoscaler_lead_to_the_cluster():
    cluster, scaler = documents(CLUSTER / "kubernetes" / "cluster.yaml")
    name = cluster["metadata"]["name"]
    assert scaler["spec"]["cluster"] == name
    service = cluster["spec"]["scheduler"]["service"]
    assert service["selector"]["dask.org/cluster-name"] == name
    ports = {port["name"]: port["port"] for port in service["ports"]}
    # The operator names the service after the cluster.
    address = f"--scheduler tcp://{name}-scheduler:{ports['tcp-comm']}"
    assert address in (CLUSTER / "kubernetes" / "run.yaml").read_text()


@pytest.mark.parametrize("name", ["run.yaml", "gpu.yaml"])
def test_a_job_runs_again_after_a_failure(name):
    (document,) = documents(CLUSTER / "kubernetes" / name)
    pod = document["spec"]["template"]["spec"]
    assert (document["apiVersion"], document["kind"]) == ("batch/v1", "Job")
    assert document["spec"]["backoffLimit"] > 1
    assert pod["restartPolicy"] == "OnFailure"
    (container,) = pod["containers"]
    assert container["command"] == ["/bin/sh", "-c"]
    assert container["image"] in {"decametric:cpu", "decametric:gpu"}


# Clusters that `--cluster` starts.


@pytest.mark.parametrize("name", ["slurm/jobqueue.yaml", "kubernetes/kubecluster.yaml"])
def test_the_command_line_reads_a_cluster_file(name):
    import inspect

    ours = clients._read(CLUSTER / name)["decametric"]
    module, _, short = ours["cluster"].rpartition(".")
    cluster = getattr(pytest.importorskip(module), short)
    assert set(ours.get("options", ())) <= set(inspect.signature(cluster).parameters)
    assert ours["adapt"]["minimum"] <= ours["adapt"]["maximum"]


def test_a_job_of_the_jobqueue_asks_for_what_the_recipe_says():
    slurm = pytest.importorskip("dask_jobqueue.slurm")
    document = clients._read(CLUSTER / "slurm" / "jobqueue.yaml")
    settings = document["jobqueue"]["slurm"]
    defaults = dask.config.get("jobqueue.slurm")
    assert set(settings) <= set(defaults)
    with dask.config.set(dask.config.merge(dask.config.config, document)):
        script = slurm.SLURMJob(
            "tcp://127.0.0.1:8786", name="one", config_name="slurm"
        ).job_script()
    assert "#SBATCH --cpus-per-task=4" in script
    assert "#SBATCH --mem=8G" in script
    assert "#SBATCH -t 04:00:00" in script
    (line,) = [line for line in script.splitlines() if "distributed.cli.dask_worker" in line]
    worker = shlex.split(line)
    parse(dask_worker, worker[worker.index("distributed.cli.dask_worker") + 1 :])


# SLURM scripts.


@pytest.mark.parametrize("path", SHELL, ids=lambda path: path.name)
def test_a_batch_script_is_one(path):
    import subprocess

    text = path.read_text()
    assert text.startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", path], check=True)
    body = text.index("\nset -euo pipefail\n")
    directives = [m.start() for m in re.finditer(r"^#SBATCH ", text, re.MULTILINE)]
    # SLURM reads no directive below the first command.
    assert max(directives) < body
    assert {"--job-name", "--time", "--requeue", "--cpus-per-task"} <= set(
        re.findall(r"^#SBATCH (--[a-z-]+)", text, re.MULTILINE)
    )


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(CLUSTER)))
def test_no_recipe_names_a_machine_or_a_registry(path):
    assert not re.search(r"https?://|/home/|/work/|\d+\.\d+\.\d+\.\d+", path.read_text())


def test_every_worker_has_the_memory_that_the_readme_says():
    limits = [
        words[words.index("--memory-limit") + 1]
        for name, words in (param.values for param in COMMANDS)
        if name == "dask worker"
    ]
    assert [limit for limit in limits if limit.endswith("GiB")] == ["8GiB"] * 3
    # SLURM tells it in the script, from what the job asks for.
    assert len(limits) == 4
    text = (CLUSTER / "slurm" / "decametric.sbatch").read_text()
    cores = int(re.search(r"--cpus-per-task=(\d+)", text)[1])
    assert cores * int(re.search(r"--mem-per-cpu=(\d+)G", text)[1]) == 8
