"""What became of each scene of a series."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from decametric.superres.plan import Plan

State = Literal["done", "skipped", "failed"]

HEADER = ("tile", "time", "state", "blocks written", "kept", "seconds", "why")
"""Columns of `Report.rows`."""


@dataclass(frozen=True, kw_only=True)
class SceneReport:
    """One scene: a tile and a day."""

    tile: str
    """Name of the tile's group in the store."""
    time: str
    """Time of its first item (UTC)."""
    items: tuple[str, ...]
    """Ids of its items."""
    state: State
    """``"done"``, ``"skipped"`` if it was finished before, or ``"failed"``."""
    path: str = ""
    """The tile's group, without credentials."""
    bands: tuple[str, ...] = ()
    """Bands of the result, as far as it was opened."""
    blocks_written: int = 0
    """Blocks that this run stored; of a failed scene they are kept for the next run."""
    blocks_skipped: int = 0
    """Blocks that were finished before."""
    pixels: int = 0
    """Pixels of 10 m in the blocks of this run."""
    seconds: float = 0.0
    """From the first look at it to its end; scenes overlap."""
    error: Exception | None = field(default=None, repr=False, compare=False)
    """Why it failed."""

    @property
    def why(self) -> str:
        """Why it failed, in words."""
        if self.error is None:
            return ""
        text = next(iter(str(self.error).splitlines()), "")
        own = type(self.error).__module__.startswith("decametric")
        return text if own else f"{type(self.error).__name__}: {text}".removesuffix(": ")

    def as_json(self) -> dict[str, Any]:
        """Its facts, ready for JSON."""
        names = ("time", "items", "state", "blocks_written", "blocks_skipped", "why")
        return {name: getattr(self, name) for name in names} | {"seconds": round(self.seconds, 3)}


@dataclass(frozen=True)
class Report:
    """What a run did: a table of its scenes, in the order of tile and time."""

    scenes: tuple[SceneReport, ...]
    """Every scene of the items."""
    seconds: float
    """Of the whole run."""
    predictor: dict[str, Any] = field(default_factory=dict)
    """Facts of the predictor."""

    def of(self, state: State) -> tuple[SceneReport, ...]:
        """The scenes in one state."""
        return tuple(scene for scene in self.scenes if scene.state == state)

    @property
    def ok(self) -> bool:
        """Whether no scene failed."""
        return not self.of("failed")

    @property
    def pixels_per_second(self) -> float:
        """Pixels of 10 m, all their bands together, that the run stored in a second."""
        return sum(scene.pixels for scene in self.scenes) / max(self.seconds, 1e-9)

    @property
    def summary(self) -> str:
        """The run in one line."""
        counts = ", ".join(f"{len(self.of(s))} {s}" for s in ("done", "skipped", "failed"))
        rate = f"{self.pixels_per_second:,.0f} pixels per second"
        return f"{counts}; {self.seconds:.1f} s, {rate}"

    def rows(self) -> list[tuple[object, ...]]:
        """The table, below `HEADER`."""
        return [
            (s.tile, s.time, s.state, s.blocks_written, s.blocks_skipped, f"{s.seconds:.1f}", s.why)
            for s in self.scenes
        ]

    def __str__(self) -> str:
        """The table and the summary as text."""
        table = [[str(cell) for cell in row] for row in (HEADER, *self.rows())]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in table]
        return "\n".join([*lines, self.summary])

    def as_json(self) -> dict[str, Any]:
        """The run by tiles, ready for JSON."""
        tiles = dict.fromkeys(scene.tile for scene in self.scenes)
        return {
            "tiles": [self._tile(name) for name in tiles],
            "seconds": round(self.seconds, 3),
            "pixels_per_second": round(self.pixels_per_second),
        }

    def _tile(self, name: str) -> dict[str, Any]:
        scenes = [scene for scene in self.scenes if scene.tile == name]
        return {
            "tile": name,
            "path": next((scene.path for scene in scenes if scene.path), None),
            "bands": next((list(scene.bands) for scene in scenes if scene.bands), []),
            "predictor": self.predictor,
            "blocks_written": sum(scene.blocks_written for scene in scenes),
            "blocks_skipped": sum(scene.blocks_skipped for scene in scenes),
            "scenes": [scene.as_json() for scene in scenes],
        }


@dataclass(frozen=True, kw_only=True)
class Planned:
    """What a run would do with one scene."""

    tile: str
    """Name of the tile's group in the store."""
    time: str
    """Time of its first item (UTC)."""
    items: tuple[str, ...]
    """Ids of its items."""
    state: Literal["new", "begun", "finished", "refused"]
    """What the store has of it; ``"refused"`` if it would fail before a pixel is read."""
    pending: int = 0
    """Blocks to write."""
    plan: Plan | None = None
    """Blocks, tasks, bytes and memory of the whole scene; None if it is refused."""
    why: str = ""
    """Why it is refused."""

    def as_json(self) -> dict[str, Any]:
        """Its facts, ready for JSON."""
        return asdict(self)

    def row(self) -> tuple[object, ...]:
        """Its line below `PLAN_HEADER`."""
        size = (self.plan.blocks, self.plan.tasks) if self.plan else ("", "")
        memory = f"{self.plan.memory / 1e9:.2f}" if self.plan else ""
        return (self.tile, self.time, self.state, *size, self.pending, memory, self.why)


PLAN_HEADER = ("tile", "time", "state", "blocks", "tasks", "to write", "GB per task", "why")
"""Columns of `Planned.row`."""
