"""Tokens and keys: signed addresses of the Planetary Computer, and S3 services.

Nothing of them is kept in items and graphs. Files of the Planetary Computer are signed each time
they are opened, and opened again when a token has expired; S3 is read with the keys in the
environment of the process that reads, for which GDAL and boto3 have one set of names.
"""

from __future__ import annotations

import os
import re
from typing import Any
from urllib.parse import urlsplit

from rasterio.errors import RasterioIOError

from decametric.errors import SceneError

_EODATA = "s3://eodata/"
"""The archive of the Copernicus Data Space, an S3 service of its own."""

_CDSE = "https://eodata.dataspace.copernicus.eu"
"""Its endpoint, unless the environment names another (clouds beside it have their own)."""

_KEYS_MADE_AT = "https://eodata-s3keysmanager.dataspace.copernicus.eu"

_ENDPOINTS = ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL")

_NO_KEYS = re.compile(
    r"credentials|AccessDenied|InvalidAccessKeyId|SignatureDoesNotMatch|response code: 403"
)
"""What GDAL and S3 services say where keys are missing or wrong."""


def sign(href: str) -> str:
    """Address with a fresh Planetary Computer token if it needs one; tokens last 45 minutes."""
    parts = urlsplit(href)
    host = parts.hostname or ""
    if not re.fullmatch(r"sentinel2\w*\.blob\.core\.windows\.net", host):
        return href
    try:
        import planetary_computer  # optional
    except ImportError:
        if parts.query:
            return href
        message = (
            f"Files of {host} must be signed; install the package planetary-computer "
            f"(pip install 'decametric[cloud]')."
        )
        raise SceneError(message) from None
    try:
        return str(planetary_computer.sign_url(parts._replace(query="").geturl()))
    except (OSError, ValueError) as error:  # the service of tokens is out of reach
        failure = RasterioIOError(f"no token from the Planetary Computer, {type(error).__name__}")
    raise failure


def s3_service(href: str) -> dict[str, Any]:
    """The service behind an ``s3://`` address, where it is not Amazon's.

    ``AWS_S3_ENDPOINT`` names it for GDAL, ``AWS_ENDPOINT_URL`` for everybody else; the latter may
    be meant for results, so ``s3://eodata/`` heeds the former only.
    """
    variables = ("AWS_S3_ENDPOINT",) if href.startswith(_EODATA) else _ENDPOINTS
    named = next((os.environ[name] for name in variables if os.environ.get(name)), None)
    endpoint = named or (_CDSE if href.startswith(_EODATA) else None)
    if endpoint is None or not href.startswith("s3://"):
        return {}
    scheme, _, host = endpoint.rpartition("://")
    settings: dict[str, Any] = {
        "AWS_S3_ENDPOINT": host.rstrip("/"),
        # Such services seldom have a host for each bucket.
        "AWS_VIRTUAL_HOSTING": os.environ.get("AWS_VIRTUAL_HOSTING", "FALSE"),
    }
    return settings | ({"AWS_HTTPS": scheme == "https"} if scheme else {})


def wants_keys(href: str, error: Exception) -> bool:
    """Whether a file in S3 was not read because keys are missing or wrong."""
    return href.startswith("s3://") and _NO_KEYS.search(str(error)) is not None


def how_to_get_keys(href: str) -> str:
    """The way out for who has no keys."""
    made = f" made at {_KEYS_MADE_AT}" if href.startswith(_EODATA) else ""
    return (
        f"set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY{made} in the environment of every "
        f"process that reads"
    )
