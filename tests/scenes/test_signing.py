"""Tokens of the Planetary Computer: fetched when a file is opened, kept, renewed, asked once."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from decametric.errors import SceneError
from decametric.scenes import access
from decametric.scenes.reader import load

HREF = "https://sentinel2l2a01.blob.core.windows.net/sentinel2-l2/33/U/UB/B02.tif"


class Tokens(BaseHTTPRequestHandler):
    """The service of tokens: they last `minutes`, and each is told apart."""

    minutes: float
    asked: list[str]
    status: int

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        expiry = datetime.now(UTC) + timedelta(minutes=self.minutes)
        text = {"msft:expiry": expiry.isoformat(), "token": f"sig={len(self.asked)}"}
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(json.dumps(text).encode())


@pytest.fixture
def tokens(monkeypatch):
    """The real package with its service on the loopback interface."""
    package = pytest.importorskip("planetary_computer", reason="planetary-computer is absent")
    handler = type("Handler", (Tokens,), {"minutes": 45, "asked": [], "status": 200})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    settings = package.settings.Settings(sas_url=url)
    monkeypatch.setattr(package.settings.Settings, "get", staticmethod(lambda: settings))
    monkeypatch.setattr(package.sas, "TOKEN_CACHE", {})
    yield handler
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_token_is_fetched_once_and_kept_while_it_lasts(tokens):
    assert access.sign(HREF) == f"{HREF}?sig=1"
    assert access.sign(f"{HREF}?sig=of-yesterday") == f"{HREF}?sig=1"
    assert tokens.asked == ["/sentinel2l2a01/sentinel2-l2"]


def test_a_token_about_to_expire_is_renewed(tokens):
    tokens.minutes = 0.5
    assert [access.sign(HREF) for _ in range(2)] == [f"{HREF}?sig=1", f"{HREF}?sig=2"]


def test_a_service_that_gives_no_token_is_one_sentence(tokens, position_item):
    tokens.status = 404
    item = position_item.write(bands=["B02", "B01"])
    item.assets["blue"].href = HREF
    with pytest.raises(SceneError) as caught:
        load(item, bands=["B02"])["r10m"]["B02"].compute()
    text = str(caught.value)
    assert "Cannot read B02.tif of item" in text
    assert "no token from the Planetary Computer, HTTPError" in text
    assert "127.0.0.1" not in text
