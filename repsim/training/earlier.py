"""Run folders of earlier versions, in today's terms.

Until format version 2 there was a method ``untrained``: the network of the method ``of`` before
training, under the name ``encoder``. Today that is the method itself with ``--epochs 0``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from repsim.configuration import ALWAYS
from repsim.training.compose import config_for, settings_of_family
from repsim.training.methods import find_method

UNTRAINED = "untrained"
#: Settings of the method ``untrained`` that had a meaning besides those of the network.
_KEPT = ("data", "split", "test", "seed", "save_every", "device", "devices", "workers")


def updated(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of ``config.json``, whatever its version, as the present version has it.

    Raises:
        KeyError, TypeError, ValueError: it is damaged.
        UsageError: it names a method that there is not.
    """
    found = dict(content)
    if "size" in found["facts"]:
        facts = dict(found["facts"])
        side = facts.pop("size")
        found["facts"] = {**facts, "height": side, "width": side}
    return _without_untrained(found) if found["method"] == UNTRAINED else found


def _without_untrained(content: dict[str, Any]) -> dict[str, Any]:
    """A run of ``untrained`` as one without epochs of the method whose network it has."""
    before = content["config"]
    method, _, extractor = before["of"].partition(":")
    extractor = extractor or find_method(method).extractors[0]
    network = with_network(method, {}).get("network")
    networks = [] if network is None else settings_of_family(network)
    known = config_for(method, network).model_fields
    taken = [key for key in (*_KEPT, *networks) if key in before and key in known]
    return {
        **content,
        "method": method,
        "config": {**{key: before[key] for key in taken}, "epochs": 0},
        "extractors": {"encoder": extractor},
    }


def with_network(method: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a run, with the family of networks that it had before there was a choice."""
    network = find_method(method).network_before
    return {**({} if network is ALWAYS else {"network": network}), **config}


def instead_of_untrained(arguments: Sequence[str]) -> str:
    """The message that answers ``repsim train untrained`` with these arguments."""
    of = "supervised"  # as it was by default
    for option, following in zip(arguments, (*arguments[1:], ""), strict=False):
        name, equals, value = option.partition("=")
        if name == "--of":
            of = value if equals else following
    method = of.partition(":")[0]
    return (
        "untrained networks are those of a method without an epoch; try: "
        f"repsim train {method} --epochs 0 --name untrained-{method}"
    )
