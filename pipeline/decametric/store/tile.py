"""A tile's group while one run writes it: opened under a lease, grown date by date, closed.

Strategy. (1) The lease makes the run the only one. (2) For each dataset that is added the manifest
is written: what will be here. The template follows: groups, empty arrays, coordinates; each step is
idempotent, so a run that finds half a template just goes through it again. Readers keep seeing the
tile as it was until the template is whole. (3) Every unfinished block is one Dask task (see
`decametric.store.blocks`). (4) When no mark is missing at the end, the group is called complete.
"""

from __future__ import annotations

import math
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from decametric.errors import StoreError
from decametric.store.blocks import Job
from decametric.store.lease import Lease, leased
from decametric.store.levels import FINEST
from decametric.store.manifest import Manifest
from decametric.store.moving import DONE, finish, move, moves
from decametric.store.series import claim, publish, put_tile, remove_tile
from decametric.store.stac import publish_stac
from decametric.store.target import (
    keys,
    locate,
    names,
    put_document,
    read_document,
    remove_strays,
    writing,
)

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray
    from zarr.abc.store import Store

    from decametric.store.layout import Layout, Plan
    from decametric.store.target import Target

# Level 1 of zstd: 1 % larger than level 3 on reflectance, in less than half of its time.
_LEVEL = 1


@contextmanager
def open_tile(
    store: str | os.PathLike[str],
    tile: str,
    *,
    resume: bool = True,
    overwrite: bool = False,
    multiscale: bool = False,
    storage_options: Mapping[str, Any] | None = None,
) -> Iterator[Tile]:
    """Hold a tile of a store for writing, in the block.

    Parameters
    ----------
    store : path or URL
        Root of the series.
    tile : str
        Name of the tile's group.
    resume, overwrite, multiscale, storage_options
        As for `decametric.write`.

    Yields
    ------
    Tile

    Raises
    ------
    StoreError
        If another run holds it, or it is not ours, or cannot be written.
    """
    target = locate(store, tile, storage_options)
    with ExitStack() as stack:
        with writing(target):
            root = target.open()
            claim(root, target)
            opened = Tile(root, target, stack.enter_context(leased(root, target)))
            wanted = replace(target, level=FINEST if multiscale else "")
            opened.begin(wanted, resume=resume, overwrite=overwrite)
        try:
            yield opened
        finally:
            with writing(target):
                opened.settle()


def missing(
    planned: Plan, store: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None
) -> int:
    """How many blocks of a dataset a store does not have; nothing is written.

    Raises
    ------
    StoreError
        If the tile was made with another configuration or from other items.
    """
    target = locate(store, planned.tile, storage_options)
    with writing(target), suppress(FileNotFoundError):
        root = target.open(read_only=True)
        target = as_found(root, target)
        seen = Tile(root, target, Lease("", inherited=False))
        seen.manifest = Manifest.read(seen.root, target)
        if seen.manifest is not None:
            grown = seen.grown(planned.manifest)
            if grown.scenes == seen.manifest.scenes:
                return len(seen.job(planned).pending)
    rows, columns = planned.blocks
    return rows * columns * len(planned.manifest.scenes)


def as_found(root: Store, target: Target) -> Target:
    """The target as it is in the store, with or without levels; as it was given if it is not."""
    for level in (FINEST, ""):
        known = replace(target, level=level)
        if Manifest.read(root, known) is not None:
            return known
    return target


class Tile:
    """A tile's group that this process alone may write."""

    def __init__(self, root: Store, target: Target, lease: Lease) -> None:
        self.root = root
        self.target = target
        self.lease = lease
        self.manifest: Manifest | None = None
        self._times: set[str] = set()
        """Times of the dates that this run added, or found and goes on with."""
        self._published = False

    def begin(self, wanted: Target, *, resume: bool, overwrite: bool) -> None:
        """Look at what is there; refuse what is not ours, or has no levels if they are wanted."""
        self.target = as_found(self.root, wanted)
        if Manifest.read(self.root, self.target) is None:
            if set(names(self.root, self.target.tile)) - {"manifest", FINEST}:
                message = (
                    f"{self.target.shown} exists and was not written by decametric; give another "
                    "path."
                )
                raise StoreError(message)
        elif overwrite:
            self.lease.settle()
            remove_tile(self.root, self.target)
            self.target = wanted
        elif not resume:
            ways = "resume=True goes on with it, overwrite=True replaces it"
            message = f"{self.target.shown} exists already; {ways}."
            raise StoreError(message)
        elif wanted.level and not self.target.level:
            message = (
                f"{self.target.shown} was written without coarser levels; use --overwrite "
                "(overwrite=True) to replace it, or another path."
            )
            raise StoreError(message)
        self._sweep()
        finish(self.root, self.target, self.lease)
        self.manifest = Manifest.read(self.root, self.target)

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands of the series."""
        return tuple(self._known.configuration["bands"])

    def finished(self, scene: Mapping[str, Any]) -> int:
        """Number of blocks of a date (its record in a manifest); 0 unless all are finished.

        Raises
        ------
        StoreError
            If the date is there from other items.
        """
        with writing(self.target):
            known = self._yielding([scene])
            if not known.holds(scene, self.target) or known != self._known:
                return 0
            (position,) = self._positions([scene["time"]])
            marks = self._marks(position, self._blocks())
            return marks.size if marks.all() else 0

    def precedes(self, scene: Mapping[str, Any]) -> bool:
        """Whether a date is earlier than the last one in the store, and not there."""
        if self.manifest is None or scene["time"] > self.manifest.scenes[-1]["time"]:
            return False
        with suppress(StoreError):  # to be told when its turn comes
            return not self.manifest.holds(scene, self.target)
        return False

    def reserve(self, planned: Plan, scenes: Sequence[Mapping[str, Any]]) -> None:
        """Put dates in their places among those that are there.

        To be called before anything is added, since blocks that are being written cannot move.

        Parameters
        ----------
        planned : Plan
            A dataset of the configuration to come.
        scenes : sequence of mapping
            Records of dates that will be added.
        """
        with writing(self.target):
            if self.manifest is not None:
                late = [dict(scene) for scene in scenes]
                self._grow(Manifest(planned.manifest.configuration, late))

    def add(self, planned: Plan) -> Job:
        """Make the dates of a dataset part of the series.

        Returns
        -------
        Job
            What is still to be written of them.

        Raises
        ------
        StoreError
            If the tile was made with another configuration or from other items.
        """
        with writing(self.target):
            if self.manifest is None:
                self.manifest = planned.manifest
            else:
                self._grow(planned.manifest)
            self._times.update(scene["time"] for scene in planned.manifest.scenes)
            job = self.job(planned)
            document = read_document(self.root, self.target.group)
            whole = document is not None and document["attributes"].get("complete")
            if job.pending or not whole or not all(self._blocks()):
                self._template(planned, document)
        return job

    def job(self, planned: Plan) -> Job:
        """What is still to be written of a dataset whose dates are part of the series."""
        positions = self._positions([scene["time"] for scene in planned.manifest.scenes])
        pending = [
            (date, int(row), int(column))
            for date, position in enumerate(positions)
            for row, column in np.argwhere(~self._marks(position, planned.blocks))
        ]
        dates = len(self._known.scenes)
        return Job(planned, self.target, self.lease.key, positions, tuple(pending), dates)

    def settle(self) -> None:
        """Let the tile's group say whether it is whole, and the root show it."""
        self._sweep()
        document = read_document(self.root, self.target.group)
        manifest = Manifest.read(self.root, self.target)
        blocks = math.prod(self._blocks())
        if not (document and manifest and blocks and "consolidated_metadata" in document):
            return
        found = Counter(key.split("/")[0] for key in self._marked())
        unfinished = [
            scene["time"]
            for position, scene in enumerate(manifest.scenes)
            if found[str(position)] < blocks
        ]
        told = {**document["attributes"], "complete": not unfinished}
        told.pop("unfinished", None)
        if unfinished:
            told["unfinished"] = unfinished
        if told != document["attributes"]:
            put_document(self.root, self.target.group, {**document, "attributes": told})
        publish(self.root, self.target)
        publish_stac(self.root, self.target)

    def grown(self, new: Manifest) -> Manifest:
        """The manifest with the dates of `new`.

        Raises
        ------
        StoreError
            If `new` has another configuration, or a date that is there from other items.
        """
        return self._yielding(new.scenes).grown(new, self.target)

    def _yielding(self, scenes: Iterable[Mapping[str, Any]]) -> Manifest:
        """The manifest, dates without a finished block yielding to others of the same day.

        Such a date is what a run left whose files could not be read. Dates of this run stay.
        """
        known = self._known
        for scene in scenes:
            rivals = known.rivals(scene)
            if len(rivals) == 1 and not self._taken(*rivals):
                changed = list(known.scenes)
                changed[rivals[0]] = dict(scene)
                known = Manifest(known.configuration, changed)
        return known

    def _taken(self, position: int) -> bool:
        """Whether a date has a finished block, or this run is about to write one."""
        return self._known.scenes[position]["time"] in self._times or bool(
            self._marked(str(position))
        )

    def _grow(self, new: Manifest) -> None:
        """Admit further dates, and move those that are there if they must."""
        grown = self.grown(new)
        self.manifest = self._yielding(new.scenes)
        if moves(self._known, grown):
            if self._times:
                message = (
                    f"{self.target.shown} cannot take an earlier date while later ones are being "
                    "written; run the same call again."
                )
                raise StoreError(message)
            move(self.root, self.target, self.lease, self._known, grown)
        self.manifest = grown

    @property
    def _known(self) -> Manifest:
        """The manifest, where there must be one."""
        assert self.manifest is not None  # noqa: S101  (something was added, or found)
        return self.manifest

    def _positions(self, times: Sequence[str]) -> tuple[int, ...]:
        """Index in the store of dates."""
        known = [scene["time"] for scene in self._known.scenes]
        return tuple(known.index(time) for time in times)

    def _marks(self, position: int, blocks: tuple[int, int]) -> NDArray[np.bool_]:
        """Which of the blocks of a date, over (row, column), are finished."""
        marks = np.zeros(blocks, bool)
        for key in self._marked(str(position)):
            row, column = key.split("/")
            marks[int(row), int(column)] = True
        return marks

    def _marked(self, *date: str) -> list[str]:
        """Marks as ``"date/row/column"``, or of one date. They are chunks: a listing is enough."""
        prefix = self.target.key(DONE, "c", *date)
        return [key.removeprefix(f"{prefix}/") for key in keys(self.root, prefix)]

    def _blocks(self) -> tuple[int, int]:
        """Rows and columns of blocks; none where a run was killed before there was a template."""
        document = read_document(self.root, self.target.key(DONE))
        if document is None:
            return 0, 0
        _, rows, columns = document["shape"]
        return rows, columns

    def _template(self, planned: Plan, document: Mapping[str, Any] | None) -> None:
        """Bring groups, arrays and coordinates to the dates of the manifest; idempotent."""
        manifest = self._known
        manifest.write(self.root, self.target)
        attributes = planned.attributes(manifest, complete=False)
        if document is None:
            put_tile(self.root, self.target, attributes)
        for path, layout in planned.arrays(manifest).items():
            array = ensure(self.root, self.target.key(path), layout)
            if layout.values is not None:
                array[...] = layout.values
        put_tile(self.root, self.target, attributes, planned.shown(manifest))
        if not self._published:
            # Once is enough while many dates come: the root's readers see the series as it was.
            publish(self.root, self.target)
            self._published = True

    def _sweep(self) -> None:
        """Delete what killed processes left behind."""
        remove_strays(self.target.local and self.target.local / self.target.tile, deep=True)


def ensure(root: Store, path: str, layout: Layout) -> zarr.Array[Any]:
    """The array at `path`, created if it is not there, grown if it is shorter."""
    try:
        array = zarr.open_array(root, path=path, mode="r+")
    except FileNotFoundError:
        return zarr.create_array(
            root,
            name=path,
            shape=layout.shape,
            chunks=layout.chunks,
            dtype=layout.dtype,
            fill_value=0,
            filters=None,
            compressors=ZstdCodec(level=_LEVEL),
            dimension_names=layout.dims,
            attributes=dict(layout.attributes),
        )
    if array.shape != layout.shape:
        array.resize(layout.shape)
    return array
