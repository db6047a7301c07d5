"""Networks from anywhere: a function of one's own, torchvision, timm, transformers."""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from operator import attrgetter
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from repsim.errors import UsageError, nearest
from repsim.foreign import Cause, cause_of
from repsim.networks.of_transformers import of_transformers
from repsim.networks.weights import load_weights
from repsim.optional import optional
from repsim.quiet import quietly
from repsim.reading import parse_json

Maker = Callable[..., Any]

FORMS = (
    "PACKAGE.MODULE:FUNCTION, torchvision:NAME, timm:NAME, transformers:NAME or "
    "transformers.CLASS:NAME"
)
WORDS = {"True": True, "False": False, "None": None}


def load_network(
    reference: str,
    *,
    arguments: Mapping[str, Any] | None = None,
    weights: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Make a network that repsim did not train.

    ``reference`` is one of

    - ``package.module:function``: what a function, class or method returns, called with
      ``arguments``. Modules are found on Python's path and in the current directory.
    - ``torchvision:NAME`` or ``timm:NAME``: randomly initialised, unless ``arguments`` ask for
      ``weights`` (torchvision) or ``pretrained`` (timm).
    - ``transformers:TYPE``, such as ``bert``: randomly initialised, with ``arguments`` as values of
      its configuration.
    - ``transformers:PATH`` or ``transformers:OWNER/NAME``: a pretrained model in a folder (written
      ``./bert`` where there is a type of that name), or of the hub. Heads are left out;
      ``transformers.CLASS:PATH``, such as ``transformers.ViTForImageClassification:./vit``, has
      what that class has.

    Args:
        reference: which network.
        arguments: keyword arguments for whatever makes it.
        weights: a file for ``load_weights``, or ``FILE:KEY``.
        seed: of the random initialisation. Torch's generator of the CPU is left as it was.

    Returns:
        The network in evaluation mode.

    Raises:
        UsageError: a reference that cannot be read or found, a library that is absent, or a
            network that cannot be made.
        StoreError: weights that cannot be read or do not fit.
    """
    source, colon, name = reference.partition(":")
    if not (source and colon and name):
        raise UsageError(f"network {reference!r} cannot be read; write {FORMS}")
    with _seeded(seed):  # a module that is imported may draw too
        make = _maker(source, name)
    with _seeded(seed):
        network = _call(reference, make, arguments or {})
    if not isinstance(network, nn.Module):
        raise UsageError(f"{reference} returned {_kind(network)}; expected a torch.nn.Module")
    if weights is not None:
        load_weights(network, weights)
    return network.eval()


def _maker(source: str, name: str) -> Maker:
    """The function that makes a network of a library, or the user's own."""
    library, _, kind = source.partition(".")
    if library == "transformers" and kind[:1].isupper():  # a class; modules have small letters
        return of_transformers(name, kind)
    return LIBRARIES[source](name) if source in LIBRARIES else _own(source, name)


def parse_arguments(text: str) -> dict[str, Any]:
    """Read keyword arguments: ``{"num_classes": 10}``, or ``num_classes=10,width=0.5``.

    In the second form a value is a number, ``true``, ``false``, ``null`` or Python's words for
    these, or else text; lists and commas need the first.

    Raises:
        UsageError: any other text.
    """
    text = text.strip()
    if text.startswith("{"):
        try:
            return parse_json(text)
        except ValueError as error:
            raise _unreadable_arguments(text, str(error)) from None
    arguments: dict[str, Any] = {}
    for part in text.split(",") if text else []:
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or not key.isidentifier() or key in arguments or value[:1] in ("[", "{"):
            raise _unreadable_arguments(text, f"at {part.strip()!r}")
        arguments[key] = _value(value)
    return arguments


def _value(text: str) -> Any:
    if text in WORDS:
        return WORDS[text]
    try:
        return parse_json(text)
    except ValueError:
        return text


def _unreadable_arguments(text: str, why: str) -> UsageError:
    return UsageError(
        f"arguments {text!r} cannot be read ({why}); write JSON such as "
        "'{\"num_classes\": 10}', or num_classes=10,width=0.5"
    )


def _own(module: str, path: str) -> Maker:
    """The user's own function."""
    reference = f"{module}:{path}"
    if not all(part.isidentifier() for part in f"{module}.{path}".split(".")):
        raise UsageError(f"network {reference!r} cannot be read; write {FORMS}, without slashes")
    with _current_directory_first():
        found = _import(module)
    try:
        factory = attrgetter(path)(found)
    except AttributeError:
        raise UsageError(
            f"module {module} has no {path!r}; {nearest(path, _factories(found))}"
        ) from None
    if isinstance(factory, nn.Module) or not callable(factory):
        raise UsageError(
            f"{reference} is {_kind(factory)}; expected a function or class that makes a "
            "torch.nn.Module"
        )

    @functools.wraps(factory)
    def make(**arguments: Any) -> Any:
        with _current_directory_first():
            return factory(**arguments)

    return make


def _import(module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise UsageError(f"module {module} cannot be imported {_why(error)}") from error
        raise UsageError(
            f"there is no module {error.name!r} on Python's path or in {Path.cwd()}; a network is "
            f"{FORMS}"
        ) from None
    except (Exception, SystemExit) as error:  # the user's module may raise anything
        raise UsageError(f"module {module} cannot be imported {_why(error)}") from error


def _factories(module: ModuleType) -> list[str]:
    """Names in a module that may make networks."""
    return [name for name, value in vars(module).items() if callable(value) and name[0] != "_"]


def _torchvision(name: str) -> Maker:
    models = optional("torchvision.models")
    _among("torchvision", name, models.list_models())
    builder = models.get_model_builder(name)
    # Segmentation and detection would otherwise download weights for the network within.
    usual = {"weights": None, "weights_backbone": None, "progress": False}
    known = inspect.signature(builder).parameters
    return partial(builder, **{key: usual[key] for key in usual if key in known})


def _timm(name: str) -> Maker:
    timm = optional("timm")
    if not timm.is_model(name):  # a name may have the tag of its weights, which the list lacks
        _among("timm", name, timm.list_models())
    return partial(timm.create_model, name, pretrained=False)


#: Functions that find the networks of a library, by its name.
LIBRARIES: dict[str, Callable[[str], Maker]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "transformers": of_transformers,
}


def _call(reference: str, make: Maker, arguments: Mapping[str, Any]) -> Any:
    try:
        with quietly():
            return make(**arguments)
    except (Exception, SystemExit) as error:  # whatever foreign code raises
        given = f" with {json.dumps(dict(arguments), default=repr)}" if arguments else ""
        raise UsageError(f"{reference} cannot be made{given} {_why(error, make)}") from error


def _why(error: BaseException, make: Maker | None = None) -> str:
    """The kind, text and place of an error in foreign code, and a remedy."""
    cause = cause_of(error)
    found = _remedy(error, cause, make)
    return f"({cause.text}){_at(cause)}{f'; {found}' if found else ''}"


def _at(cause: Cause) -> str:
    return f" at {cause.place}" if cause.place else ""


def _remedy(error: BaseException, cause: Cause, make: Maker | None) -> str:
    if isinstance(error, SystemExit):
        return "it ends the program: keep its own command line under if __name__ == '__main__'"
    if isinstance(error, FileNotFoundError) and cause.mine:
        return f"relative paths begin at {Path.cwd()}"
    if make is not None and isinstance(error, TypeError) and not cause.mine:
        with suppress(TypeError, ValueError):  # C has no signatures
            return f"it takes {_taken(make)}"
    return ""


def _taken(make: Maker) -> str:
    """The arguments of a function, in words."""
    parameters = inspect.signature(make).parameters.values()
    return ", ".join(str(each).partition(":")[0] for each in parameters) or "no arguments"


def _among(library: str, name: str, known: Sequence[str]) -> None:
    if name not in known:
        raise UsageError(f"{library} has no network {name!r}; {nearest(name, known)}")


def _kind(value: Any) -> str:
    return f"a value of type {type(value).__name__}"


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Torch's generator of the CPU seeded, and put back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would reseed accelerators too
        yield


@contextmanager
def _current_directory_first() -> Iterator[None]:
    """Modules of the current directory can be imported, as with ``python -m``."""
    folder = os.getcwd()
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # a module may have changed the path itself
            sys.path.remove(folder)
