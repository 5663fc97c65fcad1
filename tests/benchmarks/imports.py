"""Seconds to import the package and to print the help, the median of five fresh processes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from tests.benchmarks.common import finish


def seconds(*command: str) -> float:
    """Median wall-clock time of a command."""
    found = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def main() -> None:
    """Time both."""
    found = {
        "`import decametric`": seconds("-c", "import decametric"),
        "`decametric --help`": seconds("-m", "decametric", "--help"),
        "Python itself": seconds("-c", ""),
    }
    lines = ["## Start", "", *(f"- {name}: {value:.2f} s" for name, value in found.items())]
    finish({"report": lines})


if __name__ == "__main__":
    main()
