"""``repsim networks``: the families that methods train, their roles, settings, layers and sizes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.grouping import Grouped
from repsim.cli.options import Suggesting, json_option
from repsim.cli.reporting import show_json, tell
from repsim.cli.settings import flag_of, given, option_of
from repsim.cli.tables import layer_table, show_table
from repsim.errors import UsageError

if TYPE_CHECKING:
    from repsim.networks.family import Family
    from repsim.networks.image_spec import ImageSpec
    from repsim.networks.overview import Overview


class Families(Suggesting):
    """The modules of ``repsim.networks.families``."""

    item = "network"

    def list_commands(self, ctx: click.Context) -> list[str]:
        from repsim.networks.families import family_names

        return family_names()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return _command(name) if name in self.list_commands(ctx) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from repsim.networks.families import family_summary

        with formatter.section("Networks"):
            names = self.list_commands(ctx)
            formatter.write_dl([(name, family_summary(name)) for name in names])


def _of_images(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say for which images networks are built."""
    for option in (
        json_option,
        click.option(
            "--channels",
            type=click.IntRange(1),
            default=3,
            show_default=True,
            help="Of the images.",
        ),
        click.option(
            "--image-size",
            default="32",
            show_default=True,
            help="Of the images: a side, or height and width as in 28x56.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=Families, invoke_without_command=True)
@_of_images
@click.pass_context
def networks(ctx: click.Context, image_size: str, channels: int, as_json: bool) -> None:
    """\b
    repsim networks
    repsim networks resnet --depth 34 --width 64 --image-size 224

    Show the families of networks: what each can be, its settings, and how large it is by default.
    With the name of one, show its layers.
    """
    from repsim.networks.families import family_names, find_family
    from repsim.networks.overview import overview

    if ctx.invoked_subcommand is not None:
        _check_place(ctx)
        return
    spec = _spec(image_size, channels)
    kinds = {name: find_family(name) for name in family_names()}
    families = {name: kind(kind.settings()) for name, kind in kinds.items()}
    found = {name: overview(family, spec) for name, family in families.items()}
    if as_json:
        show_json({name: _about(name, family, found[name]) for name, family in families.items()})
        return
    _show_families(found)
    rows = [(name, *_row(each)) for name, roles in found.items() for each in roles]
    columns = ("network", "role", "layers", "parameters")
    show_table(f"for images of {' x '.join(map(str, spec.shape))}", columns, rows)
    settings = [(name, *row) for name in found for row in _settings(name)]
    show_table("settings", ("network", "setting", "default", "meaning"), settings)


def _command(name: str) -> click.Command:
    """The command that shows one family, with an option for each of its settings."""
    from repsim.configuration import build_config, settings_of
    from repsim.networks.families import family_summary, find_family
    from repsim.networks.overview import overview

    kind = find_family(name)

    def show(image_size: str, channels: int, as_json: bool, **options: Any) -> None:
        spec = _spec(image_size, channels)
        family = kind(build_config(kind.settings, given(options), "options"))
        found = overview(family, spec)
        if as_json:
            show_json(_about(name, family, found))
            return
        _show_families({name: found})
        for each in found:
            show_table(*layer_table(each.role, each.records))
            if each.layers:
                tell(f"  layers to harvest: {', '.join(each.layers)}\n")

    summary = f"\b\nrepsim networks {name} --image-size 28x56\n\n{family_summary(name)}"
    command = Grouped(name, callback=show, params=[], help=summary)
    _of_images(command)
    command.params += [option_of(each) for each in settings_of(kind.settings)]
    return command


def _check_place(ctx: click.Context) -> None:
    """Refuse options before the name of a network, which would have no effect there."""
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            option = "--json" if name == "as_json" else flag_of(name)
            raise UsageError(f"{option} stands before the network; put it after the name")


def _spec(image_size: str, channels: int) -> ImageSpec:
    from repsim.data.size import parse_size
    from repsim.networks.image_spec import ImageSpec

    size = parse_size(image_size)
    if size is None or isinstance(size, str):
        raise UsageError(
            "no images are read here; give --image-size in pixels, such as 32 or 28x56"
        )
    height, width = size
    return ImageSpec(channels, classes=0, height=int(height), width=int(width), flips=False)


def _show_families(found: dict[str, list[Overview]]) -> None:
    from repsim.networks.families import family_summary

    rows = [(name, ", ".join(_methods(name)), family_summary(name)) for name in found]
    show_table("", ("network", "trained by", "about"), rows)


def _methods(name: str) -> list[str]:
    """The methods that can train a family."""
    from repsim.training.compose import networks_for
    from repsim.training.methods import method_names

    return [method for method in method_names() if name in networks_for(method)]


def _row(each: Overview) -> tuple[str, int, str]:
    return each.role, len(each.records), f"{each.parameters:,}"


def _settings(name: str) -> list[tuple[str, str, str]]:
    from repsim.configuration import settings_of
    from repsim.networks.families import find_family

    settings = settings_of(find_family(name).settings)
    return [(each.name, str(each.default), each.description) for each in settings]


def _about(name: str, family: Family, found: list[Overview]) -> dict[str, Any]:
    return {
        "trained_by": _methods(name),
        "settings": family.config.model_dump(),
        "roles": {
            each.role: {
                "parameters": each.parameters,
                "layers": list(each.layers),
                "records": each.records,
            }
            for each in found
        },
    }
