"""Layers of a network by address, and patterns that choose among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from repsim.errors import UsageError, choices

#: Names for the patterns that papers on residual networks ask for (Grigg et al. 2021).
ALIASES = {"all": "*", "odd": "*.odd", "even": "*.even"}


def select_layers(
    addresses: Iterable[str],
    patterns: str | Sequence[str] | None,
    *,
    of: str = "the network",
) -> list[str]:
    """The addresses that match, in the order of the patterns and then their own, each once.

    Args:
        addresses: what there is.
        patterns: None or ``"all"``; ``"odd"`` or ``"even"`` for the points of that name in residual
            blocks; otherwise addresses or globs, as a list or separated by commas.
        of: what they belong to, for the error.

    Raises:
        UsageError: a pattern that matches nothing.
    """
    known = list(addresses)
    if patterns is None:
        return known
    wanted = patterns.split(",") if isinstance(patterns, str) else list(patterns)
    chosen: dict[str, None] = {}
    for pattern in (each.strip() for each in wanted):
        glob = ALIASES.get(pattern, pattern)
        # A layer may be called "odd", or have brackets in its name.
        exact = [pattern] if pattern in known else []
        matching = exact or [name for name in known if fnmatchcase(name, glob)]
        if not matching:
            raise UsageError(f"{of} has no layer {pattern!r}; {choices(pattern, known)}")
        chosen.update(dict.fromkeys(matching))
    if not chosen:
        raise UsageError(f"no layer of {of} was chosen; {choices('', known)}")
    return list(chosen)
