"""ITEMS: everything that stands for a list of STAC items, turned into that list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path
from typing import IO, Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import url2pathname

import pystac
from pystac.stac_io import DefaultStacIO

from decametric.errors import SceneError, UsageError
from decametric.scenes.access import is_url
from decametric.scenes.eopf import eopf_item, from_catalog, is_eopf
from decametric.scenes.safe import is_safe, safe_item

Items: TypeAlias = (
    "str | PathLike[str] | IO[str] | Mapping[str, Any] | pystac.Item | Iterable[Items]"
)
"""What `read_items` takes; a `pystac.ItemCollection` is an iterable of items."""

# What pystac raises on documents that are not what they seem.
_INVALID = (
    pystac.STACError,
    pystac.STACTypeError,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
    OSError,
)


class _NetworkIO(DefaultStacIO):
    """Reads the documents that a catalog from the network links to, never a local file."""

    def read_text_from_href(self, href: str) -> str:
        if not is_url(href):
            message = "A catalog from the network links to a local file; it is not followed."
            raise SceneError(message)
        return str(super().read_text_from_href(href))


def read_items(source: Items) -> list[pystac.Item]:
    """Items that a source stands for.

    Parameters
    ----------
    source : str, path, text stream, dict, pystac.Item, pystac.ItemCollection, or a list of them
        A STAC item, item collection (GeoJSON FeatureCollection), static catalog or collection, by
        path or URL; a SAFE folder or zip; an EOPF product (``.zarr``, by path or URL, or
        ``.zarr.zip``); an open stream or parsed dict of such a document.

    Returns
    -------
    list of pystac.Item
        Every item with a truthful self link: where it was read from. That link decides whether its
        files may be local (see `decametric.scenes.access`).

    Raises
    ------
    SceneError
        If a document cannot be read, or holds no item.
    UsageError
        If the source is nothing of that kind.
    """
    if isinstance(source, pystac.Item):
        return [from_catalog(source)]
    if isinstance(source, (str, PathLike)):
        return _from_href(str(source))
    if hasattr(source, "read"):
        return _from_document(_parse(source.read(), "the stream"), None)
    if isinstance(source, Mapping):
        return _from_document(dict(source), None)
    try:
        parts = list(source)
    except TypeError:
        message = f"{source!r} is neither a STAC document nor a SAFE product, path or URL."
        raise UsageError(message) from None
    return [item for part in parts for item in read_items(part)]


def _from_href(href: str) -> list[pystac.Item]:
    """Items behind a path or URL."""
    if href.startswith("file:"):
        href = url2pathname(urlsplit(href).path)
    if is_eopf(href):
        return [eopf_item(href)]
    if not is_url(href) and is_safe(Path(href)):
        return [safe_item(Path(href))]
    # An absolute path, so that relative assets stay found wherever the work goes on.
    href = href if is_url(href) else str(Path(href).absolute())
    shown = href.partition("?")[0] if is_url(href) else href
    try:
        # Not by pystac: it takes # and ? in the name of a folder for parts of a URL.
        local = None if is_url(href) else Path(href).read_text(encoding="utf-8")
        text = DefaultStacIO().read_text_from_href(href) if local is None else local
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        message = f"Cannot read {shown}: {reason}; give a STAC document or SAFE product."
        raise SceneError(message) from None
    return _from_document(_parse(text, shown), href)


def _parse(text: str, where: str) -> dict[str, Any]:
    """The JSON object in a text."""
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        message = f"{where} is not a JSON object; give a STAC item, collection or catalog."
        raise SceneError(message)
    return document


def _from_document(document: dict[str, Any], href: str | None) -> list[pystac.Item]:
    """Items in a parsed document that was read from `href` (None: from memory)."""
    try:
        items = list(_members(document, href))
    except _INVALID as error:
        if isinstance(error.__cause__, SceneError):
            raise error.__cause__ from None
        where = (href or "The document").partition("?")[0]
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error).rstrip(".")
        message = f"{where} is no valid STAC document ({reason}); give an item or a catalog."
        raise SceneError(message) from None
    if not items:
        message = (
            f"{href or 'The document'} holds no STAC item; search for a larger area or period, or "
            "give another document."
        )
        raise SceneError(message)
    return [from_catalog(_settled(item, href)) for item in items]


def _members(document: dict[str, Any], href: str | None) -> Iterable[pystac.Item]:
    """Items of an item, a feature collection, or a catalog with all below it."""
    if document.get("type") == "FeatureCollection":
        return [pystac.Item.from_dict(feature) for feature in document.get("features", [])]
    reader = _NetworkIO() if href is not None and is_url(href) else DefaultStacIO()
    thing = reader.stac_object_from_dict(document, href=href, preserve_dict=False)
    if isinstance(thing, pystac.Catalog):
        # Its own root, so that its reader follows every link below, whatever root it names.
        thing.set_root(thing)
        return thing.get_items(recursive=True)
    return [thing] if isinstance(thing, pystac.Item) else []


def _settled(item: pystac.Item, href: str | None) -> pystac.Item:
    """The item with links that tell where it came from, and nothing else."""
    if href is None:
        return item
    own = item.get_self_href()
    if own is None or (is_url(href) and not is_url(own)):
        # What came over the network cannot pose as local.
        item.set_self_href(href)
    if not is_url(item.get_self_href() or ""):
        # What was read here is local, whichever catalog it was published in.
        item.clear_links("root")
    return item
