"""A client process: sharpen ITEMS into STORE on the cluster of SCHEDULER_FILE, slowly."""

from __future__ import annotations

import sys

import run_fakes
from distributed import Client

from decametric.runs.series import run_series


def main(items: str, store: str, scheduler_file: str, log: str, pause: str) -> None:
    """Run the series and print its report."""
    with Client(scheduler_file=scheduler_file):
        report = run_series(
            items,
            store,
            predictor=run_fakes.Watched(log, float(pause)),
            bands=("B04", "B11", "SCL"),
            chunk=36,
            window=36,
        )
    print(report)  # noqa: T201
    sys.exit(not report.ok)


if __name__ == "__main__":
    main(*sys.argv[1:])
