"""Similarity maps as earlier releases wrote them: without networks and degrees of freedom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from repsim.results.compared import networks_of

#: Reasons for standard errors that are left out.
_AVERAGED = (
    "an earlier release averaged these maps as if no two had a network in common; average again"
)
_STREAMED = (
    "an earlier release kept no record of examples that came in several batches; compare again"
)

#: Entries of the provenance of minibatch maps that a single pass over images has.
_ONE_PASS = ("comparison", "batch_size", "made_from")


def as_of_now(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a file with the networks of the map and the degrees of freedom of its errors.

    Standard errors stay only where a file tells that they are right.
    """
    if "networks" in content:
        return dict(content)
    found = {**content, "networks": networks_of(content.get("provenance"))}
    if content.get("stderr") is None:
        return found
    freedom, reason = _freedom(content)
    if reason:
        notes = {**(content.get("notes") or {}), "stderr": reason}
        return {**found, "stderr": None, "notes": notes}
    if freedom is None:
        return found
    return {**found, "freedom": [[freedom] * len(row) for row in content["stderr"]]}


def _freedom(content: Mapping[str, Any]) -> tuple[float | None, str]:
    """The degrees of freedom of standard errors, or the reason for which they are wrong."""
    provenance = content.get("provenance") or {}
    maps = content.get("maps", 1)
    if maps > 1:
        each = provenance.get("average_of") or [{}]
        of_one = all(one.get("comparison") in ("classes", "views") for one in each)
        return (maps - 1, "") if of_one else (None, _AVERAGED)
    if provenance.get("method") != "minibatch":
        return None, ""
    once = any(key in provenance for key in _ONE_PASS)
    return (provenance["batches"] - 1, "") if once else (None, _STREAMED)
