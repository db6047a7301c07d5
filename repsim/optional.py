"""Libraries that repsim can work with and does not require, imported when they are first named."""

from __future__ import annotations

import importlib
from itertools import pairwise
from types import ModuleType

from repsim.errors import UsageError

#: The optional dependencies of this name, each for the library itself.
EXTRAS = ("torchvision", "timm", "transformers", "safetensors")


def optional(module: str) -> ModuleType:
    """Import a module of a library that may be absent.

    Raises:
        UsageError: the library, or one that it needs, is absent or cannot be imported.
    """
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None:
            raise _broken(library, error) from error
        absent = error.name.partition(".")[0]
        what = library if absent == library else f"{library} needs {absent}, which"
        raise UsageError(f"{what} is not installed; {_remedy(absent)}") from error
    except Exception as error:  # a compiled library that fits another one's release raises anything
        raise _broken(library, error) from error


def reason(error: BaseException) -> str:
    """The reason of a failure in one line; of a failed import, its first cause."""
    while isinstance(error, ImportError) and error.__cause__ is not None:
        error = error.__cause__
    lines = _lines(error)
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    if "operator torchvision::" in text:  # whatever imports torchvision fails with this
        text += "; the torchvision installed does not fit this torch: take both from one place, or "
        text += "uninstall torchvision where you can do without it"
    return text


def _lines(error: BaseException) -> list[str]:
    """The lines of an error's text, the one that says most first."""
    try:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    except Exception:  # a class of the user may have no text to give
        return []
    if lines and "TorchScript interpreter" in lines[0]:  # the error itself comes last, if at all
        here = [code for code, mark in pairwise(lines) if mark.endswith("<--- HERE")]
        last = lines[-1].removeprefix("RuntimeError:").strip()
        return [text for text in (last, *here, *lines) if text]
    return lines


def _remedy(library: str) -> str:
    source = " from the index that torch was installed from" if library == "torchvision" else ""
    extra = f" (repsim's extra {library!r})" if library in EXTRAS else ""
    return f"try: pip install {library}{source}{extra}"


def _broken(library: str, error: Exception) -> UsageError:
    return UsageError(f"{library} is installed but cannot be imported ({reason(error)})")
