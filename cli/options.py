"""Options that several commands share."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from repsim.cli.completion import complete_layers
from repsim.errors import UsageError, choices

runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    envvar="REPSIM_RUNS",
    show_envvar=True,
    help="Folder of the runs.",
)
data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    envvar="REPSIM_DATA",
    show_envvar=True,
    help="Folder of the image sets.  [default: data]",
)


def layers_by(default: str) -> Callable[[Any], Any]:
    """``--layers``; ``default`` says in the help which ones it is otherwise."""
    return click.option(
        "--layers",
        metavar="PATTERN",
        shell_complete=complete_layers,
        help="all, odd, even, or addresses, globs, depth:N and, where a network runs, type:CLASS "
        "or short names of transformers such as resid.3, separated by commas.  "
        f"[default: {default}]",
    )


layers_option = layers_by("all")
overwrite_option = click.option("--overwrite", is_flag=True, help="Replace what exists.")
resume_option = click.option(
    "--resume", is_flag=True, help="Continue where it stopped; leave alone what is finished."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Where to compute.",
)
image_size_option = click.option(
    "--image-size",
    default="",
    help="Height and width of the images: 32, 28x56, or own, as they are stored.  [default: those "
    "that a run was trained on, else those of the set]",
)
verify_option = click.option(
    "--verify",
    is_flag=True,
    help="Read the images again and compare them with what was harvested.",
)
target_option = click.option(
    "--target",
    default="",
    help="The target that gives the labels.  [default: the one that was harvested as labels, else "
    "the first]",
)
statistics_option = click.option(
    "--statistics",
    type=click.Choice(["own", "real", "generated", "mixed"]),
    default="own",
    show_default=True,
    help="Of batch normalisation, of networks that training shows real and generated images apart: "
    "those of the side that an image is of, of one side, or the running ones, which mix both.",
)
#: Values of every option that names a part of a data set.
PARTS = "train, test, a slice as in test[:1000], or all of a folder or file that has no parts"

split_option = click.option(
    "--split", default="test", show_default=True, help=f"Part of the data set: {PARTS}."
)
kernel_option = click.option(
    "--kernel", default="linear", show_default=True, help="linear, rbf, or rbf:FRACTION."
)


class Bytes(click.ParamType):
    """A number of bytes: 1073741824, 1e9, 512M, 1.5GiB."""

    name = "size"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> int | None:
        if value is None or isinstance(value, int):
            return value
        number = r"\d+(?:\.\d*)?(?:e\+?\d+)?"
        found = re.fullmatch(rf"({number})\s*([KMGT]?)(?:i?B)?", str(value).strip(), re.I)
        size = 0.0
        if found is not None:
            size = float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")
        if not 1 <= size < math.inf:
            self.fail(f"{value!r} is no size in bytes; try 512M or 2G", param, ctx)
        return int(size)


memory_option = click.option(
    "--memory",
    type=Bytes(),
    help="What rows, matrices and tiles may take, such as 2G; layers that do not fit are read "
    "again.  [default: a quarter of what is free]",
)
estimator_option = click.option(
    "--estimator",
    type=click.Choice(["unbiased", "biased"]),
    default="unbiased",
    show_default=True,
    help="Which values to show; the result holds both.",
)


def sized(default: str) -> Callable[[Any], Any]:
    """``--style`` of a command whose figures usually have the size ``default``."""
    return click.option(
        "--style",
        type=click.Choice(["column", "page", "slide"]),
        default=default,
        show_default=True,
        help="Size of the figures: a column or page of a paper, a slide.",
    )


data_option = click.option(
    "--data", help="Image set, named or a path.  [default: the one it was trained on]"
)


def output_option(default: str) -> Callable[[Any], Any]:
    """``-o``; ``default`` says in the help where the result goes otherwise."""
    return click.option(
        "-o",
        "--output",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"Result file; CSV and figures take its name.  [default: {default}]",
    )


class Suggesting(click.Group):
    """A group that answers an unknown command with the nearest one."""

    item = "command"

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            raise UsageError(f"there is no {self.item} {args[0]!r}; {choices(args[0], known)}")
        return super().resolve_command(ctx, args)
