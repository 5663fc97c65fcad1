"""`sharpen`: a scene and a predictor become a lazy 10 m dataset, without seams.

Strategy. The bands of the three resolutions are packed onto the 60 m grid (a 60 m pixel carries
36 values of each 10 m band, 9 of each 20 m band, 1 of each 60 m band), so that *one* array goes
through *one* `dask.array.map_overlap`, halos stay aligned by construction, and a block costs 8 halo
tasks instead of 24. Inside a block the predictor sees windows of one shape whose corners lie on a
grid anchored at the scene's corner. The computing blocks are unions of such windows whatever the
chunks of the scene are, so every chunking computes the very same windows: the result cannot depend
on it, down to the last bit. Beyond the scene's edges the window is mirrored about the raster edge.

This module never imports Keras; it takes `Predictor` objects.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
import xarray as xr
from odc.geo.xr import xr_coords

from decametric import __version__
from decametric.bands import BANDS, BANDS_10M, RESOLUTIONS, SHARPENED, band_name, group, listed
from decametric.errors import SceneError, UsageError
from decametric.grid import DEFAULT_CHUNK, NEST, block_edges, check_chunk, window_edge
from decametric.superres.blocks import Job, block, factor, pack
from decametric.superres.predictor import Interpolation, of_resolution, parts, provenance
from decametric.superres.presets import predictor_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from decametric.superres.predictor import Predictor

    Array = NDArray[np.float32]


def sharpen(
    scene: xr.DataTree,
    predictor: Predictor | str | Path | None = None,
    *,
    bands: Sequence[str] | None = None,
    window: int = DEFAULT_CHUNK,
    any_level: bool = False,
) -> xr.Dataset:
    """Raise the bands of a scene to 10 m, lazily.

    Parameters
    ----------
    scene : xarray.DataTree
        Nodes ``r10m``, ``r20m``, ``r60m``; variables over (time, y, x); reflectance, float32, NaN
        where there is no data. What `decametric.load` returns.
    predictor : Predictor, str or Path, optional
        What sharpens: an object, or a name or path for `load_predictor`. Default: the preset of
        the level of the scene.
    bands : sequence of str, optional
        Bands to return; nothing that only others need is computed. Default: every 10 m band of the
        scene and every band that the predictor returns.
    window : int
        Largest edge of the windows in which the predictor runs, in 10 m pixels, a multiple of 6.
        Larger windows waste less on halos and need more memory. The result depends on it by
        rounding only (about 1e-6), but for a trace beside pixels without data, which are filled
        from the window around them (0.003 of reflectance was seen); never on the chunks.
    any_level : bool
        Accept a scene of another level than the predictor was trained for.

    Returns
    -------
    xarray.Dataset
        One variable per band over (time, y, x) at 10 m, reflectance, float32, lazy, chunked like
        the scene's 10 m bands. Native 10 m bands are the scene's own arrays. ``SCL``, where the
        scene has it, by nearest neighbour.

    Raises
    ------
    SceneError
        If the scene lacks a band that is needed, or is of another level.
    UsageError
        If `scene` is none, a band cannot be returned, or `window` does not fit.
    """
    if not hasattr(scene, "children"):
        message = f"A {type(scene).__name__} is no scene; give what load or from_bands returned."
        raise UsageError(message)
    predictor = predictor_for([scene.attrs.get("level")], predictor)
    _check_level(scene, predictor, any_level=any_level)
    native, wanted = _wanted(scene, predictor, bands)
    data: dict[str, Any] = {band: scene[group(10)][band].variable for band in native}
    if wanted:
        job = plan(scene, predictor, wanted, window)
        sharpened = _build(scene, job)
        for band in wanted:
            array = _take(sharpened, job.bands_out.index(band), job.chunks)
            attrs = {**_attrs(scene, band), "sharpened_by": provenance(predictor)["name"]}
            data[band] = (("time", "y", "x"), array, attrs)
    if group(20) in scene.children and "SCL" in scene[group(20)]:
        data["SCL"] = _nearest(scene[group(20)].to_dataset()["SCL"])
    coords = {"time": scene[_some_child(scene)].time, **xr_coords(_fine_geobox(scene))}
    return xr.Dataset(data, coords, _dataset_attrs(scene, predictor, list(data), window))


def _wanted(
    scene: xr.DataTree, predictor: Predictor, bands: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Native 10 m bands to pass through, and bands to sharpen."""
    present = {name for child in scene.children.values() for name in child.data_vars}
    if bands is None:
        native = [band for band in BANDS_10M if band in present]
        everything = [band for band in SHARPENED if band in predictor.bands_out]
        if isinstance(predictor, Interpolation):  # needs no other band, so takes what is there
            everything = [band for band in everything if band in present]
        return sorted(native), everything
    names = list(dict.fromkeys(band_name(band) for band in listed(bands)))
    possible = set(BANDS_10M) | set(predictor.bands_out)
    if impossible := [name for name in names if name not in possible]:
        message = (
            f"{', '.join(impossible)} cannot be returned at 10 m by this predictor; choose from "
            f"{', '.join(sorted(possible))}."
        )
        raise UsageError(message)
    if missing := [name for name in names if name not in present]:
        message = f"The scene has no band {', '.join(missing)}; load it too."
        raise SceneError(message)
    return [b for b in names if b in BANDS_10M], [b for b in names if b not in BANDS_10M]


def _needed_parts(predictor: Predictor, wanted: Sequence[str]) -> tuple[Predictor, ...]:
    """The members that return a wanted band; interpolation is cut down to those bands."""
    needed: list[Predictor] = []
    for part in parts(predictor):
        hits = tuple(band for band in part.bands_out if band in wanted)
        if hits:
            needed.append(
                replace(part, bands_out=hits) if isinstance(part, Interpolation) else part
            )
    return tuple(needed)


def _check_level(scene: xr.DataTree, predictor: Predictor, *, any_level: bool) -> None:
    trained, level = getattr(predictor, "level", None), scene.attrs.get("level")
    if trained and level and trained != level and not any_level:
        message = (
            f"The scene is {level}, but {provenance(predictor)['name']} was trained on {trained} "
            "and may be far off; choose another predictor, or say any_level=True (--any-level)."
        )
        raise SceneError(message)


def plan(scene: xr.DataTree, predictor: Predictor, wanted: Sequence[str], window: int) -> Job:
    """Choose parts, windows and blocks for the bands `wanted`, and check that everything fits."""
    members, limit = _needed_parts(predictor, wanted), check_chunk(window, "window")
    # A band that is returned is read too: its own pixels tell where the output is valid.
    read = {band for part in members for band in (*part.bands_in, *part.bands_out)}
    present = {name for child in scene.children.values() for name in child.data_vars}
    if missing := sorted(read - present):
        names = ", ".join(str(provenance(part)["name"]) for part in members)
        message = f"The scene has no band {', '.join(missing)}, which {names} reads; load it too."
        raise SceneError(message)
    chunks = _fine_chunks(scene)
    sizes = [sum(edges) for edges in chunks]
    steps = (window_edge(sizes[0], limit), window_edge(sizes[1], limit))
    blocks = tuple(
        block_edges(size, step, max(edges))
        for size, step, edges in zip(sizes, steps, chunks, strict=True)
    )
    halo = max((part.halo for part in members), default=0)
    if any(len(edges) > 1 and step < halo for edges, step in zip(blocks, steps, strict=True)):
        message = (
            f"window={limit} is too small for the halo of {halo} pixels that the predictor needs; "
            f"use {2 * halo} or more."
        )
        raise UsageError(message)
    ordered = tuple(b for res in RESOLUTIONS for b in of_resolution(BANDS, res) if b in read)
    return Job(members, ordered, halo, steps, (blocks[0], blocks[1]), chunks)


def _build(scene: xr.DataTree, job: Job) -> da.Array:
    """The lazy (time, band, y, x) array of the sharpened bands, in computing blocks."""
    times = scene[_some_child(scene)].sizes["time"]
    packed = _pack_lazily(scene, job, times)
    depth = {axis + 2: job.halo // NEST if len(job.blocks[axis]) > 1 else 0 for axis in (0, 1)}
    result: da.Array = da.map_overlap(
        block,
        packed,
        job=job,
        depth={0: 0, 1: 0, **depth},
        boundary="none",
        trim=False,
        allow_rechunk=False,
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
        chunks=((1,) * times, (len(job.bands_out),), *job.blocks),
    )
    return result


def _pack_lazily(scene: xr.DataTree, job: Job, times: int) -> da.Array:
    """All input bands as one (time, value, y, x) array on the 60 m grid."""
    arguments: list[Any] = []
    factors = tuple(factor(band) for band in job.bands_in)
    for band, step in zip(job.bands_in, factors, strict=True):
        array = da.asarray(scene[group(step * 10)][band].data)
        edges = [tuple(edge // step for edge in blocks) for blocks in job.blocks]
        arguments += [array.rechunk(((1,) * times, *edges)), "tyx"]
    packed: da.Array = da.blockwise(
        pack,
        "tvyx",
        *arguments,
        factors=factors,
        new_axes={"v": sum((NEST // step) ** 2 for step in factors)},
        adjust_chunks={
            axis: tuple(edge // NEST for edge in blocks)
            for axis, blocks in zip("yx", job.blocks, strict=True)
        },
        align_arrays=False,
        dtype=np.float32,
        meta=np.empty((0, 0, 0, 0), np.float32),
    )
    return packed


def _take(
    sharpened: da.Array, index: int, chunks: tuple[tuple[int, ...], tuple[int, ...]]
) -> da.Array:
    """One band of the sharpened array, in the scene's chunks."""
    # Blockwise and not a slice, and without `concatenate`: so Dask fuses it into whatever reads it.
    band: da.Array = da.blockwise(
        _pick,
        "tyx",
        sharpened,
        "tvyx",
        index=index,
        dtype=np.float32,
        meta=np.empty((0, 0, 0), np.float32),
    )
    rechunked: da.Array = band.rechunk((band.chunks[0], *chunks))
    return rechunked


def _pick(arrays: list[Array], index: int) -> Array:
    """One band of the only block along the band axis, which comes in a list."""
    return arrays[0][:, index]


def _nearest(classes: xr.DataArray) -> tuple[tuple[str, ...], da.Array, dict[str, Any]]:
    """A 20 m classification at 10 m: every pixel becomes four."""
    array = da.asarray(classes.data)
    chunks = (array.chunks[0], *(tuple(2 * edge for edge in edges) for edges in array.chunks[1:]))
    fine = array.map_blocks(_twice, dtype=array.dtype, chunks=chunks)
    return ("time", "y", "x"), fine, dict(classes.attrs)


def _twice(block: NDArray[Any]) -> NDArray[Any]:
    return block.repeat(2, axis=-2).repeat(2, axis=-1)


def _some_child(scene: xr.DataTree) -> str:
    """Name of the finest child that holds a band."""
    for resolution in RESOLUTIONS:
        name = group(resolution)
        if name in scene.children and any(band in BANDS for band in scene[name].data_vars):
            return name
    message = "The scene holds no Sentinel-2 band under r10m, r20m or r60m."
    raise SceneError(message)


def _fine_geobox(scene: xr.DataTree) -> GeoBox:
    """The 10 m grid of the scene, told from its finest child."""
    name = _some_child(scene)
    box: GeoBox = scene[name].to_dataset().odc.geobox
    step = int(name[1:-1]) // 10
    return box if step == 1 else box.zoom_to(shape=(box.shape.y * step, box.shape.x * step))


def _fine_chunks(scene: xr.DataTree) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Chunk edges of the scene at 10 m, told from its finest child."""
    name = _some_child(scene)
    step = int(name[1:-1]) // 10
    band = next(array for key, array in scene[name].data_vars.items() if key in BANDS)
    rows, cols = da.asarray(band.data).chunks[1:]
    for edge in (sum(rows), sum(cols)):
        if edge * step % NEST:
            message = f"The scene measures {edge * step} pixels of 10 m, not whole 60 m pixels."
            raise SceneError(message)
    return tuple(step * edge for edge in rows), tuple(step * edge for edge in cols)


def _attrs(scene: xr.DataTree, band: str) -> dict[str, Any]:
    return dict(scene[group(BANDS[band].resolution)][band].attrs)


def _dataset_attrs(
    scene: xr.DataTree, predictor: Predictor, names: list[str], window: int
) -> dict[str, Any]:
    """Level, tile and provenance of the result."""
    before = dict(scene.attrs.get("provenance", {}))
    facts = {
        "package": f"decametric {__version__}",
        **before,
        "predictor": provenance(predictor),
        "parameters": {"bands": names, "window": window},
    }
    return {str(key): value for key, value in scene.attrs.items()} | {"provenance": facts}
