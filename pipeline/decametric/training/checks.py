"""Values of a configuration, held against the types and the bounds of its fields."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from decametric.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

Bounds = tuple[float, float]
"""Least and largest value; an infinitely small number stands for "above 0"."""

POSITIVE: Bounds = (math.ulp(0), math.inf)
FROM_0: Bounds = (0, math.inf)
FROM_1: Bounds = (1, math.inf)
SHARE: Bounds = (0, 1)


def check(config: Any, bounds: Mapping[str, Bounds]) -> None:  # noqa: ANN401  (any dataclass)
    """Refuse what does not fit the annotation of its field, or is out of bounds.

    Parameters
    ----------
    config : dataclass instance
        Fields are numbers, texts, truth values, choices (``Literal``), None, or tuples of them or
        a dict from text to them. A whole number stands for a float, too.
    bounds : mapping of str to (float, float)
        Of fields that are numbers, or hold some.

    Raises
    ------
    UsageError
        With the name of the field, its value, and what may be there.
    """
    hints = get_type_hints(type(config))
    for each in fields(config):
        value = getattr(config, each.name)
        if not _fits(value, hints[each.name]):
            message = f"{each.name}={value!r} must be {_words(hints[each.name], each.type)}."
            raise UsageError(message)
        low, high = bounds.get(each.name, (-math.inf, math.inf))
        if not all(low <= number <= high for number in _numbers(value)):
            message = f"{each.name}={value!r} must be {_range(low, high)}."
            raise UsageError(message)


def _fits(value: object, kind: Any) -> bool:  # noqa: ANN401  (an annotation)
    """Whether a value is what an annotation says."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(each, inner[0]) for each in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            _fits(key, inner[0]) and _fits(each, inner[1]) for key, each in value.items()
        )
    if inner:  # a union
        return any(_fits(value, one) for one in inner)
    if kind in (int, float):
        # Not NumPy's: what is set is written as JSON.
        number = isinstance(value, (int, float)) and math.isfinite(value)
        return number and isinstance(value, (int, kind)) and not isinstance(value, bool)
    return isinstance(value, kind)


def _numbers(value: object) -> list[float]:
    """The numbers that are a value, or are in it."""
    if isinstance(value, dict):
        value = tuple(value.values())
    several = value if isinstance(value, tuple) else (value,)
    return [float(each) for each in several if isinstance(each, (int, float))]


def _words(kind: Any, annotation: object) -> str:  # noqa: ANN401  (an annotation)
    """What an annotation asks for."""
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    return f"of the type {annotation}"


def _range(low: float, high: float) -> str:
    """Bounds in words."""
    if low == POSITIVE[0]:
        return "above 0"
    return f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
