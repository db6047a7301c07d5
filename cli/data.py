"""``repsim data``: the image sets there are, and downloading them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click

from repsim.cli.options import Suggesting

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="REPSIM_DATA",
    default="data",
    show_default=True,
    show_envvar=True,
    help="Folder that holds the image sets.",
)


@click.group(cls=Suggesting, short_help="List and download image sets.")
def data() -> None:
    """\b
    repsim data fetch mnist --data-dir data

    List and download image sets.
    """


@data.command(short_help="Download an image set and check it.")
@click.argument("name")
@DATA_DIR
@click.option("--base-url", metavar="URL", help="A mirror: the folder that has the same files.")
def fetch(name: str, data_dir: Path, base_url: str | None) -> None:
    """\b
    repsim data fetch mnist --data-dir data

    Download image set NAME, check it against known hashes, and print its files. Files that are
    there already and right are kept.
    """
    from repsim.data import fetch as fetching

    for path in fetching.fetch(name, data_dir, base_url=base_url):
        click.echo(path)


@data.command("list", short_help="Show the image sets and their parameters.")
@DATA_DIR
def list_sets(data_dir: Path) -> None:
    """\b
    repsim data list --data-dir data

    Show the named image sets: the sizes of their splits, height and width of their images, and
    whether their files are there; below a set its parameters, which are given as in
    digits:noise=0.5,seed=1. Wherever a set is named, the path of an .npz file or of a folder of
    images will do as well.
    """
    from repsim.configuration import settings_of
    from repsim.data import Split, set_names
    from repsim.data.sets import find_kind
    from repsim.data.size import size_text

    kinds = {name: find_kind(name) for name in set_names()}
    splits = {name: _splits(kind().sizes) for name, kind in kinds.items()}
    wide, wider = (max(map(len, texts)) + 2 for texts in (splits, splits.values()))
    for name, kind in kinds.items():
        missing = kind().missing(data_dir)
        if missing:
            state = f"missing in {data_dir}: {', '.join(missing)}"
        else:
            in_files = kind().files(Split("train"), data_dir) is not None
            state = f"present in {data_dir}" if in_files else "built in"
        click.echo(f"{name:<{wide}}{splits[name]:<{wider}}{size_text(kind.default_size):<9}{state}")
        for each in settings_of(kind):
            click.echo(f"    {each.name}={each.default}  {each.description}")


def _splits(sizes: Mapping[str, int]) -> str:
    """Splits with their sizes, as in ``1437 train, 360 test``."""
    return ", ".join(f"{count} {base}" for base, count in sizes.items())
