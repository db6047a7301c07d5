"""Layers by address, and patterns that choose among them.

An address is ``MODULE[@input][#CALL][:PATH]``: what a module returned, or with ``@input`` was
given, at one of its calls, and where in it a tensor lies if it is not one itself.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from repsim.errors import UsageError, choices

#: Names for the patterns that papers on residual networks ask for (Grigg et al. 2021).
ALIASES = {"all": "*", "odd": "*.odd", "even": "*.even"}

_SUFFIX = r"(@input)?(?:#([^:]+))?(?::(.+))?"
_ADDRESS = re.compile(r"((?:type:|depth:)?.+?)" + _SUFFIX)


class Address(NamedTuple):
    """An address or pattern, taken apart.

    Attributes:
        module: address of the module; in a pattern a glob, an alias, ``type:`` or ``depth:``.
        input: what the module was given, not what it returned.
        call: which call of it, counted from 0.
        path: keys, indices and field names on the way to a tensor, joined by dots.
    """

    module: str
    input: bool = False
    call: str | None = None
    path: str | None = None

    def __str__(self) -> str:
        return (
            self.module
            + ("@input" if self.input else "")
            + (f"#{self.call}" if self.call is not None else "")
            + (f":{self.path}" if self.path else "")
        )

    @classmethod
    def parse(cls, text: str, modules: Collection[str] = ()) -> Address:
        """``text`` taken apart; names in ``modules`` may have ``@``, ``#`` or ``:`` in them."""
        ends = [len(text), *(i for i in reversed(range(len(text))) if text[i] in "@#:")]
        for end in ends:
            if text[:end] in modules and (found := re.fullmatch(_SUFFIX, text[end:])):
                return cls(text[:end], bool(found[1]), found[2], found[3])
        found = _ADDRESS.fullmatch(text)
        return cls(found[1], bool(found[2]), found[3], found[4]) if found else cls(text)


def select_layers(
    addresses: Iterable[str],
    patterns: str | Sequence[str] | None,
    *,
    of: str = "the network",
    kinds: Mapping[str, Sequence[str]] | None = None,
) -> list[str]:
    """The addresses that match, in the order of the patterns and then their own, each once.

    Args:
        addresses: all that there are.
        patterns: None or ``"all"``; ``"odd"`` or ``"even"`` for the points of that name in residual
            blocks; otherwise addresses or globs, ``type:CLASS`` or ``depth:NUMBER``, as a list or
            separated by commas. A module's address alone chooses all its calls and outputs.
        of: what they belong to, for the error.
        kinds: the names of the class of each address' module and of its bases, for ``type:``.

    Raises:
        UsageError: a pattern that matches nothing.
    """
    known = {name: Address.parse(name) for name in addresses}
    if patterns is None:
        return list(known)
    modules = {address.module for address in known.values()}
    chosen: dict[str, None] = {}
    for pattern in split_patterns(patterns):
        if pattern in known:  # a layer may be called "odd", or have brackets in its name
            chosen[pattern] = None
            continue
        wanted, glob = Address.parse(pattern, modules), ALIASES.get(pattern, pattern)
        matching = [
            name
            for name, address in known.items()
            if fnmatchcase(name, glob)
            or (
                fits(wanted.module, address.module, (kinds or {}).get(name))
                and _part(wanted, address)
            )
        ]
        if not matching:
            raise unknown_layer(pattern, known, of=of, kinds=kinds)
        chosen.update(dict.fromkeys(matching))
    if not chosen:
        raise UsageError(f"no layer of {of} was chosen; {choices('', known)}")
    return list(chosen)


def split_patterns(patterns: str | Sequence[str]) -> list[str]:
    """Patterns as a list; a text has commas between them."""
    wanted = patterns.split(",") if isinstance(patterns, str) else patterns
    return [pattern.strip() for pattern in wanted]


def fits(pattern: str, module: str, kinds: Sequence[str] | None) -> bool:
    """True if ``pattern`` means a module of this address, of classes named ``kinds``.

    Raises:
        UsageError: ``depth:`` without a number.
    """
    if pattern == module:
        return True
    if pattern.startswith("type:"):
        return any(fnmatchcase(kind, pattern[5:]) for kind in kinds or ())
    if pattern.startswith("depth:"):
        if not pattern[6:].isdecimal():
            raise UsageError(f"{pattern!r} is no depth; expected a number, such as depth:1")
        return module.count(".") + 1 == int(pattern[6:])
    return fnmatchcase(module, ALIASES.get(pattern, pattern))


def path_fits(pattern: str, path: str) -> bool:
    """True if ``path`` matches ``pattern``, or lies within a path that does."""
    return fnmatchcase(path, pattern) or fnmatchcase(path, f"{pattern}.*")


def unknown_layer(
    pattern: str,
    known: Collection[str],
    *,
    of: str = "the network",
    kinds: Mapping[str, Sequence[str]] | None = None,
) -> UsageError:
    """The error about a pattern that matches none of the ``known`` addresses."""
    wanted = Address.parse(pattern).module
    classes = {names[0] for names in (kinds or {}).values() if names}
    if wanted.startswith("type:") and kinds is None:
        return UsageError(f"{of} does not say of what class its layers are; choose by address")
    if wanted.startswith("type:"):
        return UsageError(f"{of} has no layer of {wanted!r}; {choices(wanted[5:], classes)}")
    if wanted.startswith("depth:"):
        deepest = max((name.count(".") + 1 for name in known), default=0)
        return UsageError(f"{of} has no layer at {wanted!r}; it ends at depth:{deepest}")
    hint = f"for the class, say type:{wanted}; " if wanted in classes else ""
    return UsageError(f"{of} has no layer {pattern!r}; {hint}{choices(pattern, known)}")


def _part(wanted: Address, address: Address) -> bool:
    """True if ``wanted`` asks for the call and path of ``address``."""
    return (
        wanted.input == address.input
        and (wanted.call is None or fnmatchcase(address.call or "0", wanted.call))
        and (wanted.path is None or path_fits(wanted.path, address.path or ""))
    )
