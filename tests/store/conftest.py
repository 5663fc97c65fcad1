"""Make `store_fakes` importable: these tests and the processes that they kill share it."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="module")
def s3():
    """A real S3 endpoint on the loopback interface, with one bucket."""
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = pytest.importorskip("moto.server", reason="moto[server] is not installed")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    service = server.ThreadedMotoServer("127.0.0.1", port, verbose=False)
    service.start()
    options = {
        "key": "a",
        "secret": "hidden-key",
        "client_kwargs": {"endpoint_url": f"http://127.0.0.1:{port}"},
    }
    import s3fs

    s3fs.S3FileSystem(**options).mkdir("bucket")
    yield options
    service.stop()
