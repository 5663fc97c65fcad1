"""Ctrl-C during a training: kept, should a library swallow it."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def remembered() -> Iterator[threading.Event]:
    """An event that SIGINT sets, besides what it does anyway.

    The KeyboardInterrupt of a signal that comes while Python runs a callback or a finaliser for
    native code is printed or dropped there, and the training would go on for hours.
    """
    event = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield event
        return

    def handle(number: int, frame: Any) -> None:  # noqa: ANN401  (a frame of the interpreter)
        event.set()
        before(number, frame)

    signal.signal(signal.SIGINT, handle)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, before)
