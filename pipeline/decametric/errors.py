"""The errors a user meets: one sentence that names the value and the way out."""

from __future__ import annotations


class DecametricError(Exception):
    """Base of every error raised on purpose; its text is one sentence for the user."""


class UsageError(DecametricError, ValueError):
    """The call itself is wrong (a bad argument or combination); the command line exits with 2."""


class SceneError(DecametricError):
    """The input scene cannot be used: a band is missing, zones are mixed, a file cannot be read."""


class RadiometryError(SceneError):
    """The radiometric offset of an item is ambiguous and must be stated."""


class BundleError(DecametricError):
    """A network bundle or preset is missing, damaged, or made for other scenes."""


class StoreError(DecametricError):
    """The output store cannot be written, or belongs to another configuration."""
