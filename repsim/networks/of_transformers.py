"""Networks of transformers: by their type, from a folder, or from the hub."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from repsim.errors import RepsimWarning, UsageError, few, nearest
from repsim.optional import optional

#: The class that reads a network unless another one is named: it has no head.
USUAL = "AutoModel"


def of_transformers(name: str, kind: str = USUAL) -> Callable[..., nn.Module]:
    """The function that makes a network.

    Args:
        name: a type such as ``bert``, a folder, or ``OWNER/NAME`` of the hub.
        kind: the class of transformers that makes it, such as ``ViTForImageClassification``.

    Raises:
        UsageError: no such class, type or folder.
    """
    transformers = optional("transformers")
    made_by = _class(transformers, kind)
    if name in transformers.CONFIG_MAPPING:
        _tell_of_folder(name)
        return lambda **values: _of_type(transformers, made_by, name, values)
    folder = Path(name).expanduser()
    if folder.is_dir():
        return lambda **options: _saved(
            transformers, made_by, str(folder), {"local_files_only": True, **options}
        )
    if name[0] in "./~" or name.count("/") > 1:
        raise UsageError(f"{name}: no such folder; expected one that save_pretrained wrote")
    if "/" not in name:  # the hub's names are OWNER/NAME
        near = nearest(name, list(transformers.CONFIG_MAPPING))
        raise UsageError(f"transformers has no network {name!r}; {near}")
    return lambda **options: _saved(transformers, made_by, name, options)


def _tell_of_folder(name: str) -> None:
    """Warn where a type that is made anew has the name of a network that was saved here."""
    if Path(name, "config.json").is_file():
        warnings.warn(
            f"{name} is a type of network, made with random weights; for the folder of that name "
            f"say ./{name}",
            RepsimWarning,
            stacklevel=2,
        )


def _class(transformers: ModuleType, kind: str) -> Any:
    found = getattr(transformers, kind, None)
    if not callable(getattr(found, "from_pretrained", None)):
        models = [each for each in dir(transformers) if "Model" in each or "For" in each]
        raise UsageError(f"transformers has no class {kind!r}; {nearest(kind, models)}")
    return found


def _of_type(
    transformers: ModuleType, made_by: Any, name: str, values: Mapping[str, Any]
) -> nn.Module:
    """A network of a type, randomly initialised."""
    config = transformers.AutoConfig.for_model(name, **values)
    make = getattr(made_by, "from_config", made_by)  # an auto class, or the network's own
    network: nn.Module = make(config)
    return network


def _saved(
    transformers: ModuleType, made_by: Any, place: str, options: Mapping[str, Any]
) -> nn.Module:
    """A network with the weights of a folder, or of the hub; heads beside it are left out.

    Warns:
        RepsimWarning: of weights that the folder lacks.
    """
    with _without_reports(transformers):
        network, told = made_by.from_pretrained(place, output_loading_info=True, **options)
    saved = few(getattr(network.config, "architectures", None) or [])
    if random := sorted(told["missing_keys"]):
        other = saved and saved != type(network).__name__
        remedy = f"; for the {saved} that was saved say transformers.{saved}:{place}"
        warnings.warn(
            f"{place} has no weights for {few(random)} of {type(network).__name__}, which are "
            f"random{remedy if other else ''}",
            RepsimWarning,
            stacklevel=2,
        )
    return network


@contextmanager
def _without_reports(transformers: ModuleType) -> Iterator[None]:
    """Keep the library's own report on weights off the terminal; ``_saved`` says it in a line."""
    logging = transformers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
