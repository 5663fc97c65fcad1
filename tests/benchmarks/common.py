"""What the parts share: networks of full size with random weights, and a clock."""

from __future__ import annotations

import json
import sys
import time
from contextlib import contextmanager
from pathlib import Path


def arguments() -> tuple[Path, Path]:
    """Working folder and result file, from the command line."""
    return Path(sys.argv[1]), Path(sys.argv[2])


def preset(folder: Path, name: str = "dsen2", blocks: int = 6, features: int = 128) -> Path:
    """A dsen2 preset with random weights, 2x and 6x."""
    from decametric.superres import networks
    from decametric.superres.presets import BANDS_OF_RATIO, save_bundle

    path = folder / name
    if not path.exists():
        for ratio, bands in BANDS_OF_RATIO.items():
            model = networks.dsen2(*bands, blocks=blocks, features=features)
            save_bundle(
                model, path / f"{ratio}x", name=f"{name}-{ratio}x", ratio=ratio, level="L2A"
            )
    return path


@contextmanager
def clock(times: dict[str, float], name: str):
    """Store the wall-clock seconds of a block under `name`."""
    start = time.perf_counter()
    yield
    times[name] = time.perf_counter() - start
    print(f"  {name}: {times[name]:.1f} s", file=sys.stderr, flush=True)


def finish(result: dict) -> None:
    """Hand the result to the parent process."""
    arguments()[1].write_text(json.dumps(result))
