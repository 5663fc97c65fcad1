"""`explain` against hand computation and against what really runs."""

from __future__ import annotations

from dataclasses import dataclass

import dask
import dask.array as da
import pytest
from dask.callbacks import Callback

import made_scenes as made
from decametric.bands import BANDS, BANDS_10M, BANDS_20M, BANDS_60M, SHARPENED
from decametric.errors import SceneError, UsageError
from decametric.scenes.reader import load
from decametric.store import write
from decametric.superres.inference import sharpen
from decametric.superres.plan import Plan, explain
from decametric.superres.predictor import Interpolation
from decametric.superres.presets import load_predictor
from decametric.testing import lazy_scene, synthetic_scene


def untouchable_scene(rows, cols, chunk, *, dates=1, scl=False):
    """A scene that fails if a single pixel is computed."""
    bands = {
        band: made.untouchable(
            (dates, rows * 10 // BANDS[band].resolution, cols * 10 // BANDS[band].resolution),
            chunk * 10 // BANDS[band].resolution,
        )
        for band in (*BANDS_10M, *SHARPENED)
    }
    if scl:
        bands["SCL"] = da.zeros((dates, rows // 2, cols // 2), chunks=(1, -1, -1), dtype="uint8")
    return made.scene_of(bands, chunk)


def test_the_numbers_of_interpolation_are_those_of_hand_computation():
    plan = explain(untouchable_scene(120, 90, 60, dates=2, scl=True), "bicubic", window=60)
    pixels = 120 * 90
    assert plan.predictor == "bicubic"
    assert (plan.dates, plan.shape) == (2, (120, 90))
    assert plan.bands == (*sorted(BANDS_10M), *SHARPENED, "SCL")
    assert plan.blocks == 2 * 2 * 2
    # 90 pixels in windows of at most 60: two of 48, the last one ragged.
    assert (plan.window, plan.windows, plan.halo) == ((60, 48), 2 * 2 * 2, 12)
    read = 2 * (4 * pixels + 6 * pixels // 4 + 2 * pixels // 36) + pixels // 4
    assert plan.bytes_read == 2 * read
    assert plan.bytes_written == 2 * pixels * (12 * 2 + 1)
    assert plan.flops == 0
    assert plan.tasks_per_block == plan.tasks / plan.blocks


def test_the_numbers_of_a_network_are_those_of_hand_computation(tiny):
    plan = explain(untouchable_scene(120, 90, 60), tiny, window=60, bands=["B11", "B04"])
    predictor = load_predictor(tiny)
    (part, _) = predictor.parts
    pixels, halo = 120 * 90, part.halo
    per_pixel = 2 * 9 * (10 * 16 + 4 * 16 * 16 + 16 * 6)
    assert part.flops == per_pixel
    assert (plan.predictor, plan.bands, plan.halo) == ("tiny", ("B04", "B11"), halo)
    assert plan.windows == 4
    assert plan.flops == 4 * (60 + 2 * halo) * (48 + 2 * halo) * per_pixel
    assert plan.bytes_read == 2 * (4 * pixels + 6 * pixels // 4)
    assert plan.bytes_written == 2 * 2 * pixels
    # Blocks of 60 x 90 with their halo: 4 + 6/4 values come in, twice; 6 bands go out, twice.
    # Beside them three layers of 16 channels of a window.
    carried = (60 + 2 * halo) * (90 + 2 * halo) * (2 * (4 + 6 / 4) + 2 * 6)
    assert plan.memory == 4 * (carried + (60 + 2 * halo) * (48 + 2 * halo) * 3 * 16)


def test_native_bands_alone_cost_no_window():
    plan = explain(untouchable_scene(60, 60, 60), "bicubic", bands=["B04"])
    assert (plan.bands, plan.flops) == (("B04",), 0)
    assert plan.bytes_read == plan.bytes_written == 2 * 3600


def test_nothing_is_computed(tiny):
    def computing(*_args, **_options):
        message = "explain computed something"
        raise AssertionError(message)

    with dask.config.set(scheduler=computing):
        explain(untouchable_scene(120, 120, 60, dates=2, scl=True), tiny)


def test_errors_are_those_of_sharpen(tiny):
    scene = untouchable_scene(60, 60, 60)
    with pytest.raises(UsageError, match="B10 cannot be returned"):
        explain(scene, "bicubic", bands=["B10"])
    scene.attrs["level"] = "L2A"
    with pytest.raises(SceneError, match="any_level"):
        explain(scene, tiny)
    assert explain(scene, tiny, any_level=True).predictor == "tiny"


@pytest.fixture(scope="module")
def some_plan():
    return Plan(
        predictor="x<y", dates=2, shape=(120, 90), bands=("B04", "B11"), blocks=8, window=(60, 48),
        windows=8, halo=12, tasks=99, tasks_per_block=12.375, bytes_read=1_500_000_000,
        bytes_written=20_000_000, flops=1_234_000_000_000, memory=3_000_000_000,
    )  # fmt: skip


def fact(line):
    """Label and value of a line."""
    label, _, value = line.partition("  ")
    return label, value.strip()


def test_the_terminal_gets_a_line_for_each_fact(some_plan):
    lines = dict(map(fact, str(some_plan).splitlines()))
    assert lines["shape"] == "120 x 90"
    assert lines["bands"] == "B04, B11"
    assert lines["tasks per block"] == "12.4"
    assert lines["bytes read"] == "1.50 GB"
    assert lines["bytes written"] == "20.0 MB"
    assert lines["flops"] == "1.23 TFLOP"
    assert lines["memory"] == "3.00 GB"
    assert len(lines) == 14


def test_the_notebook_gets_a_table(some_plan):
    html = some_plan._repr_html_()
    assert html.count("<tr>") == 14
    assert ">120 x 90</td>" in html
    assert "x&lt;y" in html


class Executed(Callback):
    """Counts the tasks that really run."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def _pretask(self, *_arguments):
        self.count += 1


@dataclass(frozen=True)
class Fake(Interpolation):
    """Reads all bands, as a network does, and interpolates: any halo, no cost."""

    halo: int = 36
    bands_in: tuple[str, ...] = (*BANDS_10M, *BANDS_20M, *BANDS_60M)


@pytest.mark.parametrize("source", ["files", "lazy"])
def test_a_block_costs_at_most_thirty_tasks(source, tmp_path):
    """100 blocks, 64 of them inside; read, sharpen all, write all."""
    if source == "files":
        scene = load(str(synthetic_scene(tmp_path / "scene", size=600, dates=1)), chunk=60)
    else:
        scene = lazy_scene(600, chunk=60)
    predictor = Fake("bilinear")
    plan = explain(scene, predictor, window=60)
    assert (plan.blocks, plan.windows) == (100, 100)
    assert plan.tasks_per_block <= 30
    with Executed() as executed:
        written = write(sharpen(scene, predictor, window=60), tmp_path / "out.zarr")
    assert written.blocks_written == 100
    assert executed.count / 100 <= 30
    # What was promised is what runs, but for the few tasks that blocks share.
    assert executed.count == pytest.approx(plan.tasks, rel=0.02)
