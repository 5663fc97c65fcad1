"""A real SLURM of one node on the loopback interface, from Debian's packages.

Nothing is installed and no right is needed: the packages are fetched and unpacked into a folder,
and daemons of our own run from there, on ports of our own, as whoever runs the tests.
"""

from __future__ import annotations

import getpass
import os
import re
import secrets
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WANTED = ("slurmctld", "slurmd", "slurm-client", "slurm-wlm-basic-plugins", "munge", "libmunge2")

CONF = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
PluginDir={plugins}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=64 RealMemory=512000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""
# The node claims more cores and memory than it has, so that the recipes are taken as they are.


class NoSlurmError(Exception):
    """SLURM cannot be had here; the text says why."""


@dataclass(frozen=True)
class Slurm:
    """A running SLURM."""

    folder: Path
    """Logs and state."""
    environment: dict[str, str]
    """Variables of processes that talk to it."""

    def run(self, *words: object, **options: object) -> str:
        """Standard output of one of its programs, ``run("squeue")``."""
        path = self.environment["PATH"].split(":")[0]
        done = subprocess.run(
            [f"{path}/{words[0]}", *map(str, words[1:])],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            **options,
        )
        if done.returncode:
            message = f"{words}: {done.stdout}{done.stderr}{self.logs()}"
            raise AssertionError(message)
        return done.stdout

    def wait(self, job: str, state: str, seconds: float = 120) -> str:
        """Wait until a job is in a state; what SLURM says of the job then."""
        deadline = time.monotonic() + seconds
        while f"JobState={state}" not in (told := self.run("scontrol", "show", "job", job)):
            if time.monotonic() > deadline:
                message = f"job {job} is not {state}: {told}{self.logs()}"
                raise AssertionError(message)
            time.sleep(0.2)
        return told

    def logs(self) -> str:
        """What the daemons have written."""
        return "".join(f"\n{p.name}:\n{p.read_text()}" for p in self.folder.glob("*.log"))


def fetch(folder: Path) -> Path:
    """Unpack SLURM and munge with what they need into ``folder/root``, unless they are there.

    Raises
    ------
    NoSlurmError
        If this is no Debian, or no mirror answers.
    """
    root = folder / "root"
    if root.is_dir():
        return root
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        message = "SLURM is unpacked from Debian's packages, and there is no apt-get here"
        raise NoSlurmError(message)
    own = [f"-o=Dir::State::lists={folder}/lists", f"-o=Dir::Cache={folder}/cache"]
    quick = ["-o=Acquire::Retries=1", "-o=Acquire::http::Timeout=10", "-o=APT::Sandbox::User="]
    for name in ("lists/partial", "cache/archives/partial", "packages"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", *own, *quick]
    _got(*apt, "update")
    plan = _got(*apt, "install", "--simulate", "--no-install-recommends", *WANTED)
    names = {*WANTED, *re.findall(r"^Inst (\S+)", plan, re.MULTILINE)}
    _got(*apt, "download", *sorted(names), cwd=folder / "packages")
    for package in (folder / "packages").glob("*.deb"):
        _got("dpkg", "--extract", str(package), str(folder / "unpacked"))
    return (folder / "unpacked").rename(root)


def _got(*words: str, cwd: Path | None = None) -> str:
    """Standard output of a program that must succeed."""
    try:
        done = subprocess.run(
            words, cwd=cwd, capture_output=True, text=True, check=True, timeout=90
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or b"") if isinstance(error.stderr, str) else ""
        message = f"SLURM cannot be fetched here: {' '.join(words[:1])} failed {said[-200:]}"
        raise NoSlurmError(message) from error
    return done.stdout


@contextmanager
def running(root: Path, folder: Path) -> Iterator[Slurm]:
    """Run munge and SLURM in the block.

    Parameters
    ----------
    root : path
        Where `fetch` has unpacked them.
    folder : path
        For state, sockets and logs; its path must be short.
    """
    (plugins,) = root.glob("usr/lib/*/slurm-wlm")
    slurm = Slurm(folder, _environment(root, plugins, folder))
    host = socket.gethostname().partition(".")[0]
    names = {"host": host, "user": getpass.getuser(), "plugins": plugins, "folder": folder}
    (folder / "slurm.conf").write_text(CONF.format(**names, ports=(_port(), _port())))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
    (folder / "munge.key").chmod(0o400)
    try:
        with _daemons(slurm, root):
            yield slurm
    finally:
        (folder / "munge.key").unlink()


@contextmanager
def _daemons(slurm: Slurm, root: Path) -> Iterator[None]:
    """The three daemons in the foreground, as processes of ours."""
    sbin, folder = root / "usr" / "sbin", slurm.folder
    files = [f"--{n}-file={folder}/munged.{n}" for n in ("pid", "seed", "log")]
    munge = [f"--key-file={folder}/munge.key", f"--socket={folder}/munge.socket", *files]
    started = []
    try:
        for words in (
            [sbin / "munged", "--foreground", "--force", *munge],
            [sbin / "slurmctld-wlm", "-D"],
            [sbin / "slurmd-wlm", "-D", "-d", sbin / "slurmstepd-wlm"],
        ):
            with (folder / f"{words[0].name}.out.log").open("w") as log:
                started.append(
                    subprocess.Popen(words, env=slurm.environment, stdout=log, stderr=log)
                )
            if len(started) == 1:
                _until((folder / "munge.socket").exists, slurm)
        _until(lambda: "idle" in slurm.run("sinfo", "--noheader", "--format=%T"), slurm)
        yield
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait(timeout=30)


def _environment(root: Path, plugins: Path, folder: Path) -> dict[str, str]:
    """Variables with which the unpacked programs find each other."""
    return {
        **os.environ,
        "LD_LIBRARY_PATH": f"{plugins}:{plugins.parent}",
        "SLURM_CONF": f"{folder}/slurm.conf",
        "PATH": f"{root}/usr/bin:{os.environ['PATH']}",
    }


def _until(true: Callable[[], object], slurm: Slurm, seconds: float = 30) -> None:
    """Wait for something."""
    deadline = time.monotonic() + seconds
    while not _tried(true):
        if time.monotonic() > deadline:
            message = f"SLURM does not start: {slurm.logs()}"
            raise NoSlurmError(message)
        time.sleep(0.1)


def _tried(true: Callable[[], object]) -> bool:
    try:
        return bool(true())
    except AssertionError:  # the daemon is not up yet
        return False


def _port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
