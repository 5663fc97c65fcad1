"""Keys of fused tasks that cannot be equal by chance.

Dask fuses a chain of tasks into one, whose key it makes of the names of all of them. It cuts what
is longer than 115 characters and adds four digits of a hash (`dask.optimization`, 2026.8). The
names of a band that is read lazily, made coarser and computed in one chunk fill these characters.
The four digits are then all that tells one band from another, and now and then they are equal (in
7 of some 890 computations of `degrade`): one band gets the pixels of the other, silently if their
shapes are equal. It is known as https://github.com/dask/dask/issues/9964, and to be mended by pull
request 12434.

Until then, importing this module puts a whole digest in the place of the four digits. Fusion runs
where a graph is made ready, which may be a scheduler; that one imports the module with the first
function of ours that it unpickles.
"""

from __future__ import annotations

from hashlib import md5
from typing import TYPE_CHECKING, Any

from dask import optimization

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_name_all: Callable[..., Any] = optimization.default_fused_keys_renamer


def fused_key(keys: Sequence[Any], max_fused_key_length: int = 120) -> Any:  # noqa: ANN401
    """Key of the fusion of `keys`, as Dask makes it but for the end of a long name."""
    key = _name_all(keys, max_fused_key_length=None)
    if key is None:
        return None
    name, *place = key if isinstance(key, tuple) else (key,)
    if len(name) > max_fused_key_length:
        digest = md5(name.encode(), usedforsecurity=False).hexdigest()
        name = f"{name[: max_fused_key_length - len(digest) - 1]}-{digest}"
    return (name, *place) if isinstance(key, tuple) else name


optimization.default_fused_keys_renamer = fused_key
