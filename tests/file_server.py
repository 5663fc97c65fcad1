"""A real HTTP server of files with range requests, and with the faults of real ones on demand."""

from __future__ import annotations

import re
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

Fault = int | str
"""A status to answer with, ``"stall"`` or ``"truncate"``."""


@dataclass
class Files:
    """What a server hands out, and how badly."""

    folder: Path
    faults: dict[str, deque[Fault]] = field(default_factory=dict)
    """By end of the path: what the next requests meet, one after the other."""
    broken: dict[str, Fault] = field(default_factory=dict)
    """By end of the path: what every request meets."""
    valid_token: Callable[[str], bool] | None = None
    """Tells whether a request with ``?token=...`` is let in; None: nobody asks."""
    met: Counter[Fault] = field(default_factory=Counter)
    """Faults that were handed out."""
    stopped: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def fault(self, path: str) -> Fault | None:
        """What a request for `path` meets, if it is anything but the file."""
        found = [fault for end, fault in self.broken.items() if path.endswith(end)]
        for end, queue in self.faults.items():
            if path.endswith(end) and queue:
                found.append(queue.popleft())
        self.met.update(found[:1])
        return found[0] if found else None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    files: Files

    def do_GET(self) -> None:
        self._answer(send=True)

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""

    def _answer(self, *, send: bool) -> None:
        parts = urlsplit(self.path)
        path = self.files.folder / parts.path.lstrip("/")
        fault = self._refused(parse_qs(parts.query)) or self.files.fault(parts.path)
        if fault == "stall":
            self.files.stopped.wait(60)
        if isinstance(fault, int) or not path.is_file():
            self._head(fault if isinstance(fault, int) else 404, 0)
            return
        body = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        stop = int(match[2]) + 1 if match and match[2] else len(body)
        part = body[start:stop]
        extra = {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{len(body)}"}
        self._head(206 if match else 200, len(part), **(extra if match else {}))
        if send:
            self.wfile.write(part[: len(part) // 2] if fault == "truncate" else part)
        if fault in ("stall", "truncate"):
            self.close_connection = True

    def _refused(self, query: dict[str, list[str]]) -> Fault | None:
        valid = self.files.valid_token
        if valid is None or valid(query.get("token", [""])[0]):
            return None
        self.files.met[403] += 1
        return 403

    def _head(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, *_: object) -> None:
        """Clients hang up in the middle, as they may."""


def serve(folder: Path) -> Iterator[Files]:
    """Serve a folder on the loopback interface until the iterator is closed."""
    files = Files(folder)
    handler = type("Handler", (_Handler,), {"files": files})
    with _Server(("127.0.0.1", 0), handler) as server:
        files.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield files
        files.stopped.set()
        server.shutdown()
        thread.join()
