"""Searching STAC catalogs: three by name, any other by URL."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

import pystac
import pystac_client
from pystac_client.errors import ClientTypeError
from pystac_client.exceptions import APIError
from shapely import union_all
from shapely.errors import ShapelyError
from shapely.geometry import mapping, shape

from decametric.errors import SceneError, UsageError
from decametric.scenes.access import is_url
from decametric.scenes.items import moment

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

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
        Area as GeoJSON: a geometry, a feature or a feature collection.
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
        If the arguments do not name an area and a collection, or there is no such time or shape.
    SceneError
        If the catalog does not answer, or is none that can be searched.
    """
    if (bbox is None) == (intersects is None):
        message = "Give one area to search in: bbox or intersects."
        raise UsageError(message)
    url, name = _where(catalog, collection, level)
    area = None if intersects is None else _geometry(intersects)
    client = _opened(url)
    try:
        found = client.search(
            collections=[name],
            bbox=None if bbox is None else list(bbox),
            intersects=area,
            datetime=datetime,
            # With a limit on clouds the items are counted after it was checked here.
            max_items=None if max_cloud is not None else max_items,
            **_cloud_filter(client, max_cloud),
        )
    except Exception as error:  # noqa: BLE001  (the client raises bare ones; nothing was sent yet)
        message = f"The search cannot be put ({str(error).rstrip('.')}); mend its bbox or datetime."
        raise UsageError(message) from None
    try:
        items = _take(found, max_cloud, max_items)
    except (APIError, OSError) as error:
        raise _silent(url, error) from None
    return sorted((_stamped(item, url) for item in items), key=lambda i: (moment(i), i.id))


def _opened(url: str) -> pystac_client.Client:
    """The client of an API that can be searched."""
    try:
        client = pystac_client.Client.open(url)
    except ValueError:  # a page; requests makes of its error an OSError, too
        raise _no_api(url) from None
    except (APIError, OSError) as error:
        raise _silent(url, error) from None
    except (AttributeError, LookupError, TypeError, ClientTypeError, pystac.STACError):
        raise _no_api(url) from None
    if not client.conforms_to("ITEM_SEARCH"):
        raise _no_api(url)
    return client


def _silent(url: str, error: Exception) -> SceneError:
    """What to say where a catalog does not answer."""
    reason = str(error).partition("\n")[0].partition("?")[0]
    return SceneError(f"The catalog {url.partition('?')[0]} does not answer the search: {reason}.")


def _no_api(url: str) -> SceneError:
    """What to say of a document that is no API."""
    return SceneError(
        f"{url.partition('?')[0]} is no STAC API that can be searched; a static catalog can be "
        "given to the other verbs as it is."
    )


def _geometry(area: Mapping[str, Any]) -> dict[str, Any]:
    """The geometry of a GeoJSON document; of several features their union.

    Raises
    ------
    UsageError
        If there is none.
    """
    features = area.get("features", [area])
    try:
        whole = union_all([shape(each.get("geometry", each)) for each in features])
    except (AttributeError, LookupError, TypeError, ValueError, ShapelyError):
        whole = None
    if whole is None or whole.is_empty:
        message = "intersects holds no GeoJSON geometry; give one, or features that have one."
        raise UsageError(message)
    found: dict[str, Any] = mapping(whole)
    return found


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
        if max_cloud is None or (item.properties.get("eo:cloud_cover") or 0) <= max_cloud
    )
    return list(islice(clear, max_items))


def _stamped(item: pystac.Item, url: str) -> pystac.Item:
    """The item with a self link that says it came over the network, whatever the server wrote."""
    own = item.get_self_href()
    if own is None or not is_url(own):
        item.set_self_href(f"{url}/collections/{item.collection_id}/items/{item.id}")
    return item
