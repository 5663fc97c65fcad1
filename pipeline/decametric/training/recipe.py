"""From a recipe to a bundle: pick or find the items, check the splits, build patches, train."""

from __future__ import annotations

import math
import re
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from decametric.errors import SceneError, UsageError
from decametric.scenes.catalogs import search
from decametric.scenes.items import datatake, describe, tile
from decametric.superres.presets import preset_folder, read_card
from decametric.training.config import Recipe, TrainConfig, read_recipe
from decametric.training.patches import build_patches
from decametric.training.places import tile_centre
from decametric.training.splits import check_levels, check_places

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import pystac

    from decametric.superres.presets import Card
    from decametric.training.history import Epoch

_PRODUCT = re.compile(
    r"(?P<satellite>S2[A-D])_MSIL(?P<level>1C|2A)_(?P<start>(?P<day>\d{8})T\d{6})_N\d{4}_R\d{3}"
    r"_T(?P<tile>\d{2}[A-Z]{3})_\d{8}T\d{6}"
)


RECIPES = Path(__file__).parent / "recipes"
"""The recipes of the shipped presets, and of the full-scale training."""


def open_recipe(name: str | None, **overrides: Any) -> Recipe:  # noqa: ANN401
    """The recipe of a file or of one that is shipped; without a name, nothing but `overrides`.

    Raises
    ------
    UsageError
        If there is no such recipe, or ratio and level are not stated.
    """
    if name is None:
        if lacking := [key for key in ("ratio", "level") if key not in overrides]:
            message = f"Say which {' and '.join(lacking)} the network is for, or give a recipe."
            raise UsageError(message)
        return Recipe(config=TrainConfig(**overrides))
    shipped = RECIPES / f"{name}.toml"
    if not shipped.is_file() and not Path(name).is_file():
        known = ", ".join(sorted(file.stem for file in RECIPES.glob("*.toml")))
        message = f"There is no recipe {name!r}; choose from {known}, or give a TOML file."
        raise UsageError(message)
    return read_recipe(shipped if shipped.is_file() else name, **overrides)


def follow(
    recipe: Recipe,
    items: Sequence[pystac.Item] | None,
    validation: Sequence[pystac.Item] | None,
    output: str | Path,
    *,
    resume: bool = False,
    fine_tune: str | Path | None = None,
    tell: Callable[[Epoch], None] | None = None,
) -> Card:
    """Make a bundle as a recipe says.

    Parameters
    ----------
    recipe : Recipe
        What to do.
    items, validation : sequence of pystac.Item, optional
        What the recipe picks from; where there is none its products are searched for.
    output : path
        Folder of the bundle. Patches and state lie in ``run/`` below it; with the same recipe
        finished patches are kept.
    resume, tell
        As for `train`.
    fine_tune : str or path, optional
        Name or folder of a preset, or folder of a bundle, whose weights are the start, whatever
        the recipe names.

    Returns
    -------
    Card
        Of the bundle.
    """
    from decametric.training.fit import train

    training, choosing = sides(recipe, items, validation)
    folder, ratio = Path(output) / "run", recipe.config.ratio
    # Before the patches, which take long: a wrong bundle is found at once.
    start = None if fine_tune is None else bundle_of(fine_tune, ratio)
    recipe.config.check_start(start or recipe.start)
    if start is None and recipe.start is not None:
        start = folder / "start"
        if not (start / "card.json").is_file():
            first = open_recipe(recipe.start)
            follow(first, items, validation, start, resume=resume and begun(start), tell=tell)
        resume = resume and (folder / "run.json").is_file()
    patches = build_patches(training, folder / "training", ratio, recipe.sampling)
    held_out = build_patches(choosing, folder / "validation", ratio, recipe.choosing)
    return train(
        patches,
        recipe.config,
        validation=held_out,
        output=output,
        resume=resume,
        fine_tune=start,
        tell=tell,
    )


def begun(output: str | Path) -> bool:
    """Whether a training left its state below `output`, or one that it starts from did."""
    folder = Path(output) / "run"
    return (folder / "run.json").is_file() or (
        (folder / "start").is_dir() and begun(folder / "start")
    )


def epochs(recipe: Recipe, output: str | Path) -> int:
    """Epochs that following a recipe takes at most, with those of the recipe that it starts from.

    That one's do not count where its bundle lies below `output` already.
    """
    start = Path(output) / "run" / "start"
    todo = recipe.start is not None and not (start / "card.json").is_file()
    first = epochs(open_recipe(recipe.start), start) if todo else 0
    return first + recipe.config.epochs


def sides(
    recipe: Recipe,
    items: Sequence[pystac.Item] | None,
    validation: Sequence[pystac.Item] | None,
) -> tuple[list[pystac.Item], list[pystac.Item]]:
    """Items to learn from and items to choose on, checked for leaks and levels.

    Raises
    ------
    SceneError
        If a pattern or product of the recipe fits no item.
    UsageError
        If the sides share a place, or items are of another level.
    """
    chosen, level = recipe.items, recipe.config.level
    training = _picked(chosen.training, items, chosen.catalog)
    choosing = _picked(
        chosen.validation, items if validation is None else validation, chosen.catalog
    )
    check_levels(training, level, any_level=chosen.any_level)
    check_levels(choosing, level, any_level=chosen.any_level)
    check_places(training, choosing)
    return training, choosing


def plan(
    recipe: Recipe,
    items: Sequence[pystac.Item] | None,
    validation: Sequence[pystac.Item] | None,
    *,
    fine_tune: str | Path | None = None,
) -> dict[str, Any]:
    """What `follow` would do; no pixel is read. For ``--dry-run``.

    The numbers of patches are the largest possible: how many a small item gives is told by its
    pixels.
    """
    training, choosing = sides(recipe, items, validation)
    config = asdict(recipe.config)
    if fine_tune is not None:
        bundle_of(fine_tune, recipe.config.ratio)
        del config["network"]  # it is that of the start
    return {
        "training": [item.id for item in training],
        "validation": [item.id for item in choosing],
        "patches": sum(recipe.sampling.wanted(item.id, math.inf) for item in training),
        "patches_validation": sum(recipe.choosing.wanted(item.id, math.inf) for item in choosing),
        "start": recipe.start if fine_tune is None else str(fine_tune),
        "config": config,
    }


def _picked(
    patterns: Iterable[str], items: Sequence[pystac.Item] | None, catalog: str | None
) -> list[pystac.Item]:
    """Items that the patterns mean, each once."""
    found: dict[str, pystac.Item] = {}
    for pattern in patterns:
        if items is None:
            fitting = _searched(pattern, catalog)
        else:
            fitting = [item for item in items if _means(pattern, item)]
        if not fitting:
            message = f"No item is {pattern}; give the items that the recipe names, or change it."
            raise SceneError(message)
        found |= {item.id: item for item in fitting}
    return list(found.values())


def _means(pattern: str, item: pystac.Item) -> bool:
    """Whether a glob or the name of a product means an item."""
    if fnmatchcase(item.id, pattern):
        return True
    product = _PRODUCT.fullmatch(pattern)
    if product is None:
        return False
    same = datatake(item) == f"{product['satellite']}_{product['start']}"
    return same and tile(item) == product["tile"] and describe(item).level == f"L{product['level']}"


def _searched(pattern: str, catalog: str | None) -> list[pystac.Item]:
    """The item of a product, found in a STAC API by place and day."""
    product = _PRODUCT.fullmatch(pattern)
    if product is None or catalog is None:
        message = f"{pattern} can only be picked from items; give them (a catalog, a file, a URL)."
        raise UsageError(message)
    lon, lat = tile_centre(product["tile"])
    day = product["day"]
    found = search(
        bbox=(lon - 0.01, lat - 0.01, lon + 0.01, lat + 0.01),
        datetime=f"{day[:4]}-{day[4:6]}-{day[6:]}",
        catalog=catalog,
        level=f"L{product['level']}",
    )
    # A catalog may hold a scene in several processings: the newest one comes last.
    return [item for item in found if _means(pattern, item)][-1:]


def bundle_of(name: str | Path, ratio: int) -> Path:
    """The bundle of one ratio: a bundle itself, or part of a preset by name or path.

    Raises
    ------
    UsageError
        If the bundle is of another ratio.
    """
    if not (Path(name) / "card.json").is_file():
        return preset_folder(name) / f"{ratio}x"
    if (its := read_card(Path(name)).ratio) != ratio:
        message = (
            f"{name} has the ratio {its}, the training {ratio}; give a bundle of that ratio, or "
            f"train with --ratio {its}."
        )
        raise UsageError(message)
    return Path(name)
