"""Names of the library that have moved: for one release the old ones work, with a warning.

``MOVED`` is the one place that knows them. A module that is gone answers to its old name through a
finder, which is asked last, so that it costs nothing where no old name is used. A module that is
still there, but lost a name, ends with ``__getattr__ = moved_names(__name__)``.
"""

from __future__ import annotations

import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

_ANALYSES = "repsim.activations.analyses"

#: Old name to new. Where a whole module moved, its names moved with it, but for those that have a
#: line of their own.
MOVED = {
    "repsim.activations.batches": "repsim.activations.capture.batches",
    "repsim.activations.batches.run": "repsim.activations.capture.arguments.run",
    "repsim.activations.compare": "repsim.activations.analyses.similarity",
    "repsim.activations.compare.compare_classes": f"{_ANALYSES}.classes.compare_classes",
    "repsim.activations.compare.invariance": f"{_ANALYSES}.invariance.invariance",
    "repsim.activations.exchange": "repsim.activations.store.exchange",
    "repsim.activations.harvest": "repsim.activations.harvesting.harvest",
    "repsim.activations.heads": "repsim.activations.harvesting.heads",
    "repsim.activations.joined": "repsim.activations.store.parts",
    "repsim.activations.layer_null_space": "repsim.activations.analyses.layer_nullspace",
    "repsim.activations.layers": "repsim.activations.capture.modules",
    "repsim.activations.loaders": "repsim.activations.harvesting.loaders",
    "repsim.activations.null_space": "repsim.activations.analyses.nullspace",
    "repsim.activations.probing": "repsim.activations.analyses.probe",
    "repsim.activations.reduction": "repsim.activations.capture.pooling",
    "repsim.activations.reduction.Reduction": "repsim.activations.capture.pooling.Pooling",
    "repsim.activations.runs": "repsim.activations.harvesting.runs",
    "repsim.figure_data": "repsim.results.figure",
    "repsim.figure_data.diagram_panel": "repsim.figures.panels.diagram.Diagram.of",
    "repsim.figure_data.heatmap_panel": "repsim.figures.panels.heatmap.Heatmap.of",
    "repsim.figure_data.line": "repsim.figures.panels.lines.Line",
    "repsim.figure_data.line_panel": "repsim.figures.panels.lines.Lines",
    "repsim.figure_data.table_panel": "repsim.figures.panels.table.PrintedTable",
    "repsim.figures.curves.probe_curves": "repsim.figures.probes.probe_curves",
    "repsim.figures.curves.similarity_curves": "repsim.figures.similarity.similarity_curves",
    "repsim.figures.draw": "repsim.figures.drawing",
    "repsim.figures.heatmap": "repsim.figures.similarity",
    "repsim.figures.null_space": "repsim.figures.nullspace",
    "repsim.figures.panels.panels": "repsim.figures.layout.panels",
    "repsim.intervals": "repsim.confidence",
    "repsim.measures.cka.cka_map": "repsim.measures.cka_map.cka_map",
    "repsim.measures.cka.influence": "repsim.measures.influence.influence",
    "repsim.probes.sgd.SCHEDULES": "repsim.probes.schedules.SCHEDULES",
    "repsim.probes.sgd.Schedule": "repsim.probes.schedules.Schedule",
}

#: Names that were taught and have no successor, each with the reason.
GONE: dict[str, str] = {}


def new_name(old: str) -> str | None:
    """The name under which ``old`` is found today, or None where it has not moved."""
    if old in MOVED:
        return MOVED[old]
    module, _, name = old.rpartition(".")
    return f"{MOVED[module]}.{name}" if module in MOVED else None


def moved_names(module: str, *, level: int = 2) -> Callable[[str], Any]:
    """A ``__getattr__`` for ``module`` that finds the names which have moved out of it.

    The warning points at the caller ``level`` calls up.
    """

    def find(name: str) -> Any:
        old = f"{module}.{name}"
        new = None if name.startswith("__") else new_name(old)
        if new is None:
            why = f"; {GONE[old]}" if old in GONE else ""
            raise AttributeError(f"module {module!r} has no attribute {name!r}{why}")
        try:
            found = pkgutil.resolve_name(new)
        except AttributeError:
            raise AttributeError(f"module {module!r} has no attribute {name!r}") from None
        message = f"{old} is now {new}; the old name goes with the next release"
        warnings.warn(message, FutureWarning, stacklevel=level)
        return found

    return find


def renamed_parameters(**names: str) -> Callable[[F], F]:
    """Let a function take parameters by their old names, with a warning that says the new one.

    Args:
        **names: old name to new; a new one may be that of ``*parameters``.
    """

    def decorate(function: F) -> F:
        parameters = list(inspect.signature(function).parameters.values())

        @wraps(function)
        def taking(*args: Any, **given: Any) -> Any:
            for old in names.keys() & given.keys():
                warn_parameter(function.__qualname__, old, names[old])
                args, given = _passed(parameters, args, given, old, names[old])
            return function(*args, **given)

        taking.renamed = names  # type: ignore[attr-defined]
        return cast(F, taking)

    return decorate


def warn_parameter(function: str, old: str, new: str) -> None:
    """Warn the caller of the caller that a parameter has another name."""
    message = f"{old}= of {function} is now {new}=; the old name goes with the next release"
    warnings.warn(message, FutureWarning, stacklevel=3)


def _passed(
    parameters: Sequence[inspect.Parameter],
    args: tuple[Any, ...],
    given: dict[str, Any],
    old: str,
    new: str,
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Arguments with the one called ``old`` as ``new``."""
    rest = dict(given)
    value = rest.pop(old)
    names = [each.name for each in parameters]
    if parameters[names.index(new)].kind is not inspect.Parameter.VAR_POSITIONAL:
        return args, {**rest, new: value}
    before = names[len(args) : names.index(new)]
    return (*args, *(rest.pop(name) for name in before), value), rest


class _OldModule(Loader):
    """A module that is gone, under its old name: every name in it comes from where it is now."""

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave it to Python to make an empty one."""

    def exec_module(self, module: ModuleType) -> None:
        package, _, name = module.__name__.rpartition(".")
        taken = getattr(sys.modules[package], name, None)
        find = moved_names(module.__name__, level=3)

        def find_and_step_aside(attribute: str) -> Any:
            # Python has set the module in its package, in place of a function of that name.
            if taken is not None:
                setattr(sys.modules[package], name, taken)
            return find(attribute)

        module.__getattr__ = find_and_step_aside  # type: ignore[method-assign]


class OldModules(MetaPathFinder):
    """The finder of modules that are gone, but whose names ``MOVED`` or ``GONE`` knows."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        inside = any(old.startswith(f"{fullname}.") for old in (*MOVED, *GONE))
        known = inside or (fullname in MOVED and _is_module(MOVED[fullname]))
        return ModuleSpec(fullname, _OldModule()) if known else None


def _is_module(name: str) -> bool:
    """Tell a module from a name in one."""
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:  # what holds it is no package
        return False


def install() -> None:
    """Let Python ask for old modules once it has found nothing else."""
    if not any(isinstance(finder, OldModules) for finder in sys.meta_path):
        sys.meta_path.append(OldModules())
