"""The configuration of a run: the settings of its method and of its family of networks in one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, Field, create_model

from repsim.configuration import build_config
from repsim.errors import UsageError
from repsim.networks.families import families_for, family_names, find_family
from repsim.networks.family import NetworkConfig
from repsim.training.config import TrainConfig
from repsim.training.methods import find_method


class Composed(BaseModel):
    """A configuration of a method and a family; ``config_for`` makes its subclasses."""

    method: ClassVar[str]

    def __reduce__(self) -> tuple[Any, ...]:
        # The class is made when it is needed, so that pickle cannot find it by its name.
        return configure, (self.method, self.model_dump(), "pickle")


def configure(method: str, values: Mapping[str, Any], source: str = "settings") -> TrainConfig:
    """The configuration of a run of ``method`` from plain values, with defaults for the others.

    Args:
        method: name of a module of ``repsim.training.methods``.
        values: settings by name; ``network`` names the family whose settings may be among them.
        source: of the values, for messages.

    Raises:
        UsageError: an unknown setting, one of another family, a value out of range, or a network
            that the method cannot train.
    """
    network = values.get("network")
    if network is not None and not isinstance(network, str):
        raise UsageError(f"{source}: network = {network!r}; expected the name of a network")
    kind = config_for(method, network)
    for key in values.keys() - kind.model_fields.keys():
        if others := [name for name in family_names() if key in settings_of_family(name)]:
            raise UsageError(_of_another_family(kind, key, others, source))
    return build_config(kind, values, source)


def config_for(method: str, network: str | None = None) -> type[TrainConfig]:
    """The class of the configurations of a method with a family of networks.

    Args:
        method: name of a module of ``repsim.training.methods``.
        network: name of a module of ``repsim.networks.families``; by default the method's own.

    Raises:
        UsageError: the method cannot train such a network; those that it can are listed.
    """
    kind = find_method(method)
    if kind.network is None:
        if network is not None:
            raise UsageError(f"{method} builds its networks itself; leave out network")
        return kind.settings
    chosen = kind.network if network is None else network
    _check_roles(method, chosen)
    settings: type[NetworkConfig] = find_family(chosen).settings
    return _composed(method, kind.settings, kind.network_before, chosen, settings)


def fits(config: object, method: str) -> bool:
    """Tell if a configuration is one of ``method``."""
    kind = find_method(method)
    whole = kind.network is None or (isinstance(config, Composed) and config.method == method)
    return whole and isinstance(config, kind.settings)


def settings_of_family(network: str) -> list[str]:
    """Names of a family's settings."""
    return list(find_family(network).settings.model_fields)


def without_network(values: Mapping[str, Any], method: str, network: str | None) -> dict[str, Any]:
    """Settings that were chosen for one family, as far as they are of use with another.

    Args:
        values: settings, such as those of a preset.
        method: whose they are.
        network: the family that is wanted; None for whichever the settings are for.
    """
    own = values.get("network", find_method(method).network)
    if own is None or network is None or network == own:
        return dict(values)
    dropped = {"network", *settings_of_family(own)}
    return {key: value for key, value in values.items() if key not in dropped}


def networks_for(method: str) -> list[str]:
    """Names of the families that a method can train."""
    return families_for(find_method(method).roles)


@cache
def _composed(
    method: str,
    settings: type[TrainConfig],
    before: Any,
    network: str,
    of_network: type[NetworkConfig],
) -> type[TrainConfig]:
    if twice := sorted(settings.model_fields.keys() & of_network.model_fields.keys()):
        raise UsageError(f"method {method} and network {network} both have a setting {twice[0]}")
    field = Field(network, description="family of networks", json_schema_extra={"before": before})
    only: Any = Literal[network]
    made: Any = create_model(
        f"{method}_{network}", __base__=(Composed, settings, of_network), network=(only, field)
    )
    made.method = method
    _order(made, [*TrainConfig.model_fields, "network", *of_network.model_fields])
    kind: type[TrainConfig] = made
    return kind


def _order(kind: type[BaseModel], first: list[str]) -> None:
    """Put the fields ``first`` before the others, where people read them."""
    fields = dict(kind.model_fields)
    kind.model_fields.clear()
    kind.model_fields.update({name: fields.pop(name) for name in first} | fields)
    kind.model_rebuild(force=True)


def _check_roles(method: str, network: str) -> None:
    needed = set(find_method(method).roles)
    missing = sorted(needed - set(find_family(network).roles()))
    if missing:
        known = families_for(needed)
        fitting = f"expected {' or '.join(known)}" if known else "no network has them all"
        raise UsageError(
            f"network is {network!r}, which has no {' and no '.join(missing)} for {method}; "
            f"{fitting}"
        )


def _of_another_family(kind: type[TrainConfig], key: str, others: list[str], source: str) -> str:
    network = kind.model_fields["network"].default
    own = ", ".join(settings_of_family(network))
    return (
        f"{source}: {key} is a setting of the network {' and '.join(others)}, but the network is "
        f"{network}, with {own}"
    )
