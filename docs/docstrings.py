# ruff: noqa: INP001  (scripts of the site, no package)
"""Docstrings as the site needs them: complete, and with formulas that browsers draw by themselves.

The sources are read, not imported, but for the metrics: decorators add what many of them share.
"""

from __future__ import annotations

import re
from importlib import import_module
from typing import Any

from griffe import Extension, Function, Object
from latex2mathml.converter import convert

BLOCK = re.compile(r"^( *)\.\. math:: (.*?)(?=\n\s*\n|\Z)", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r":math:`([^`]+)`")


class Docstrings(Extension):
    """Rewrites every docstring after all sources were read."""

    def on_object(self, *, obj: Object, **_: Any) -> None:  # noqa: ANN401
        """Rewrite one docstring."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        if isinstance(obj, Function) and any("documented" in str(d.value) for d in obj.decorators):
            text = getattr(import_module(obj.module.path), obj.name).__doc__
        text = BLOCK.sub(lambda found: found[1] + formula(found[2], "block"), text)
        obj.docstring.value = INLINE.sub(lambda found: formula(found[1], "inline"), text)


def formula(latex: str, display: str) -> str:
    """One formula as MathML in a single line, which Markdown leaves alone."""
    return convert(" ".join(latex.split()), display=display).replace("\n", "")
