"""Which modules of a network are layers of interest, by address."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from torch import nn

from repsim.errors import UsageError, choices


def default_layers(model: nn.Module) -> list[str]:
    """The addresses that a network names itself (``layer_names``), or its leaf modules."""
    named = getattr(model, "layer_names", None)
    if callable(named):
        return list(named())
    return [name for name, module in model.named_modules() if name and not any(module.children())]


def select_layers(addresses: Iterable[str], patterns: str | Sequence[str] | None) -> list[str]:
    """The addresses that match, in their own order.

    Args:
        addresses: what there is.
        patterns: None or ``"all"``; ``"odd"`` or ``"even"`` for the points of that name in residual
            blocks; otherwise addresses or globs, as a list or separated by commas.

    Raises:
        UsageError: a pattern that matches nothing.
    """
    known = list(addresses)
    if patterns is None:
        return known
    wanted = patterns.split(",") if isinstance(patterns, str) else list(patterns)
    wanted = [pattern.strip() for pattern in wanted]
    aliases = {"all": "*", "odd": "*.odd", "even": "*.even"}
    chosen: set[str] = set()
    for pattern in wanted:
        glob = aliases.get(pattern, pattern)
        matching = {name for name in known if name == glob or fnmatchcase(name, glob)}
        if not matching:
            raise UsageError(f"no layer matches {pattern!r}; {choices(pattern, known)}")
        chosen |= matching
    return [name for name in known if name in chosen]
