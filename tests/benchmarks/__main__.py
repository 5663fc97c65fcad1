"""Speed and memory as ratios in one run; `make bench` prints the tables and writes BENCHMARKS.md.

Every part runs in a process of its own, one after the other, so that none inherits the memory or
the threads of another. Times are wall-clock; run it on a machine that does nothing else.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

PARTS = ("windows", "pipeline", "precision", "memory", "tasks", "series", "metrics", "imports")
ROOT = Path(__file__).parents[2]


def machine() -> str:
    """Processor and number of cores."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.split(":")[1] for line in info.read_text().splitlines() if "model name" in line
        ]
        cpu = names[0].strip() if names else cpu
    return f"{cpu}, {os.cpu_count()} cores"


def run(part: str, folder: Path, *arguments: str) -> dict:
    """Run one part in a process of its own."""
    out = folder / f"{part}.json"
    command = [sys.executable, "-m", f"tests.benchmarks.{part}", str(folder), str(out), *arguments]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return json.loads(out.read_text())


def main() -> None:
    """Run the parts that are named on the command line, or all, and write what they tell."""
    chosen = sys.argv[1:] or PARTS
    report = [
        "# Benchmarks",
        "",
        f"Written by `make bench` on {datetime.now(UTC):%Y-%m-%d}: {machine()},",
        f"Python {platform.python_version()}. Ratios are taken within one run; random weights, on",
        "which speed does not depend; synthetic scenes.",
        "",
    ]
    with tempfile.TemporaryDirectory() as name:
        for part in chosen:
            lines = run(part, Path(name))["report"]
            print("\n".join(lines), flush=True)
            report += [*lines, ""]
    if set(chosen) == set(PARTS):
        (ROOT / "BENCHMARKS.md").write_text("\n".join(report))


if __name__ == "__main__":
    main()
