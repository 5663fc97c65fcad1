"""Searching STAC catalogs: three by name, any other by URL."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pystac_client
from pystac_client.exceptions import APIError

from decametric.errors import SceneError, UsageError
from decametric.scenes.access import is_url
from decametric.scenes.items import moment

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    import pystac

LEVELS = ("L1C", "L2A")


@dataclass(frozen=True, slots=True)
class Catalog:
    """A STAC API that we know by name."""

    url: str
    """Landing page of the API."""
    collections: Mapping[str, str]
    """Collection of each level that it serves."""


CATALOGS: dict[str, Catalog] = {
    "earth-search": Catalog(
        "https://earth-search.aws.element84.com/v1",
        {"L2A": "sentinel-2-c1-l2a", "L1C": "sentinel-2-l1c"},
    ),
    "planetary-computer": Catalog(
        "https://planetarycomputer.microsoft.com/api/stac/v1", {"L2A": "sentinel-2-l2a"}
    ),
    "cdse": Catalog(
        "https://stac.dataspace.copernicus.eu/v1",
        {"L2A": "sentinel-2-l2a", "L1C": "sentinel-2-l1c"},
    ),
}
"""Catalogs by name."""


def search(
    bbox: Sequence[float] | None = None,
    datetime: str | dt.datetime | list[str | dt.datetime | None] | None = None,
    *,
    intersects: Mapping[str, Any] | None = None,
    catalog: str = "earth-search",
    collection: str | None = None,
    level: str = "L2A",
    max_cloud: float | None = None,
    max_items: int | None = None,
) -> list[pystac.Item]:
    """Find items in a STAC API.

    Parameters
    ----------
    bbox : (west, south, east, north), optional
        Area in degrees; one of `bbox` and `intersects` is needed.
    datetime : str, datetime or pair, optional
        ``"2024-07"``, ``"2024-07-01/2024-07-15"`` or what pystac-client takes.
    intersects : mapping, optional
        Area as a GeoJSON geometry.
    catalog : str
        ``"earth-search"``, ``"planetary-computer"``, ``"cdse"``, or the URL of any STAC API.
    collection : str, optional
        Collection; default: the one of `level` in a named catalog.
    level : {"L2A", "L1C"}
        Level looked for where no collection is given.
    max_cloud : float, optional
        Largest cloud cover in percent.
    max_items : int, optional
        Largest number of items.

    Returns
    -------
    list of pystac.Item
        Items by time and id, unsigned: addresses of the Planetary Computer are signed when a file
        is opened.

    Raises
    ------
    UsageError
        If the arguments do not name an area and a collection.
    SceneError
        If the catalog does not answer.
    """
    if (bbox is None) == (intersects is None):
        message = "Give one area to search in: bbox or intersects."
        raise UsageError(message)
    url, name = _where(catalog, collection, level)
    try:
        client = pystac_client.Client.open(url)
        found = client.search(
            collections=[name],
            bbox=None if bbox is None else list(bbox),
            intersects=None if intersects is None else dict(intersects),
            datetime=datetime,
            # With a limit on clouds the items are counted after it was checked here.
            max_items=None if max_cloud is not None else max_items,
            **_cloud_filter(client, max_cloud),
        )
        items = _take(found, max_cloud, max_items)
    except (APIError, OSError) as error:
        reason = str(error).partition("\n")[0].partition("?")[0]
        message = f"The catalog {url.partition('?')[0]} does not answer the search: {reason}."
        raise SceneError(message) from None
    return sorted((_stamped(item, url) for item in items), key=lambda i: (moment(i), i.id))


def _where(catalog: str, collection: str | None, level: str) -> tuple[str, str]:
    """URL and collection to search in."""
    if level not in LEVELS:
        message = f"level={level!r} is unknown; choose from {', '.join(LEVELS)}."
        raise UsageError(message)
    if catalog not in CATALOGS and not is_url(catalog):
        message = (
            f"catalog={catalog!r} is unknown; choose from {', '.join(CATALOGS)}, or give a URL."
        )
        raise UsageError(message)
    known = CATALOGS.get(catalog)
    if collection is None and (known is None or level not in known.collections):
        message = f"Catalog {catalog} has no known collection of level {level}; name a collection."
        raise UsageError(message)
    if known is None:
        return catalog, str(collection)
    return known.url, collection or known.collections[level]


def _cloud_filter(client: pystac_client.Client, max_cloud: float | None) -> dict[str, Any]:
    """The limit on clouds as the API understands it; empty where it understands none."""
    if max_cloud is None:
        return {}
    if client.conforms_to("FILTER"):
        args: list[Any] = [{"property": "eo:cloud_cover"}, max_cloud]
        return {"filter": {"op": "<=", "args": args}, "filter_lang": "cql2-json"}
    return {"query": {"eo:cloud_cover": {"lte": max_cloud}}} if client.conforms_to("QUERY") else {}


def _take(
    found: pystac_client.ItemSearch, max_cloud: float | None, max_items: int | None
) -> list[pystac.Item]:
    """Items below the limit on clouds (checked again here), at most `max_items`."""
    clear = (
        item
        for item in found.items()
        if max_cloud is None or item.properties.get("eo:cloud_cover", 0) <= max_cloud
    )
    return list(islice(clear, max_items))


def _stamped(item: pystac.Item, url: str) -> pystac.Item:
    """The item with a self link that says it came over the network, whatever the server wrote."""
    own = item.get_self_href()
    if own is None or not is_url(own):
        item.set_self_href(f"{url}/collections/{item.collection_id}/items/{item.id}")
    return item
