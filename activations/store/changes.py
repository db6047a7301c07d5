"""Records of two stores or exports compared: the entries that differ, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from typing import Any

#: Provenance by which two harvests do not differ: the places of inputs, which may move, and what
#: earlier versions did not record, the size of a part and layers that are left out.
INCIDENTAL = frozenset({"data_path", "weights_path", "part", "layers_left_out"})


def changed_keys(
    before: Mapping[str, Any], now: Mapping[str, Any], keys: Collection[str] | Set[str]
) -> list[str]:
    """Those of some keys under which two records differ, sorted."""
    return sorted(key for key in keys if before.get(key) != now.get(key))


def change(key: str, before: Any, now: Any) -> str:
    """Both values of a record that differs, such as ``split was test, now train``.

    Empty where they are long; of dictionaries, both values of the first key that differs.
    """
    if isinstance(before, dict) and isinstance(now, dict):
        inner = next(each for each in {**before, **now} if before.get(each) != now.get(each))
        return change(f"{key}.{inner}", before.get(inner), now.get(inner))
    short = all(isinstance(each, (str, int)) and len(str(each)) < 40 for each in (before, now))
    return f"{key} was {before}, now {now}" if short else ""


def differing(changed: Collection[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The names of differing things, and in parentheses both values of those that are short."""
    values = "; ".join(filter(None, (change(k, before.get(k), now.get(k)) for k in changed)))
    return f"{', '.join(changed)} differ" + (f" ({values})" if values else "")
