"""The tiles of a run: each is held from its first scene that can be begun until its last ends."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from decametric.errors import StoreError
from decametric.store.pyramid import coarsen
from decametric.store.tile import open_tile

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping

    from decametric.runs.grouping import Scene
    from decametric.store.layout import Plan
    from decametric.store.tile import Tile


class Tiles:
    """Tiles of one store; scenes enter from one thread and leave from any."""

    def __init__(
        self,
        store: str | os.PathLike[str],
        scenes: Iterable[Scene],
        *,
        overwrite: bool,
        multiscale: bool,
        storage_options: Mapping[str, Any] | None,
    ) -> None:
        self._store = store
        self._scenes = list(scenes)
        self._options: dict[str, Any] = {
            "overwrite": overwrite,
            "multiscale": multiscale,
            "storage_options": storage_options,
        }
        self._left = Counter(scene.tile for scene in self._scenes)
        self._held: dict[str, tuple[Tile, ExitStack]] = {}
        self._refused: dict[str, StoreError] = {}
        self._lock = threading.Lock()

    def held(self, scene: Scene) -> Tile | None:
        """The tile of a scene, if a scene before it opened it.

        Raises
        ------
        StoreError
            If it could not be opened then.
        """
        if scene.tile in self._refused:
            raise self._refused[scene.tile]
        return self._held[scene.tile][0] if scene.tile in self._held else None

    def hold(self, planned: Plan, builds: Callable[[Scene], bool]) -> Tile:
        """Open the tile of a dataset, and make room for all late dates of the run at once.

        Parameters
        ----------
        planned : Plan
            Of the first scene of the tile that could be built.
        builds : callable
            Tells whether a scene can be built: only then its date gets a place.

        Raises
        ------
        StoreError
            If another run holds it, or it is of another configuration, or cannot be written.
        """
        stack = ExitStack()
        try:
            tile = stack.enter_context(open_tile(self._store, planned.tile, **self._options))
            scenes = [s for s in self._scenes if s.tile == planned.tile and s.error is None]
            late = [s.record for s in scenes if tile.precedes(s.record) and builds(s)]
            tile.reserve(planned, late)
        except StoreError as error:
            stack.close()
            self._refused[planned.tile] = error
            raise
        self._held[planned.tile] = tile, stack
        return tile

    def leave(self, scene: Scene) -> None:
        """Tell that a scene has ended; after the last of a tile, make its levels and let it go."""
        with self._lock:
            self._left[scene.tile] -= 1
            last = not self._left[scene.tile]
            held = self._held.pop(scene.tile, None) if last else None
        if held is not None:
            tile, stack = held
            with stack:
                coarsen(tile)

    def close(self) -> None:
        """Let go what a run that was stopped holds."""
        while self._held:
            _, (_, stack) = self._held.popitem()
            stack.close()
