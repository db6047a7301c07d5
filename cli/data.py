"""``repsim data``: the image sets there are, and downloading them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from repsim.cli.grouping import Grouped
from repsim.cli.options import Suggesting, json_option
from repsim.cli.reporting import show_json, tell
from repsim.cli.tables import show_table

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


@data.command(cls=Grouped, short_help="Download an image set and check it.")
@click.argument("name")
@DATA_DIR
@click.option("--base-url", metavar="URL", help="A mirror: the folder that has the same files.")
@json_option
def fetch(name: str, data_dir: Path, base_url: str | None, as_json: bool) -> None:
    """\b
    repsim data fetch mnist --data-dir data

    Download image set NAME, check it against known hashes, and print its files. Files that are
    there already and right are kept.
    """
    from repsim.data import fetch as fetching

    paths = [str(path) for path in fetching.fetch(name, data_dir, base_url=base_url)]
    if as_json:
        show_json(paths)
    for path in () if as_json else paths:
        tell(path)


@data.command("list", cls=Grouped, short_help="Show the image sets and their parameters.")
@DATA_DIR
@json_option
def list_sets(data_dir: Path, as_json: bool) -> None:
    """\b
    repsim data list --data-dir data

    Show the named image sets: the sizes of their splits, height and width of their images, and
    whether their files are there, and their parameters, which are given as in
    digits:noise=0.5,seed=1. Wherever a set is named, the path of an .npz file or of a folder of
    images will do as well.
    """
    from repsim.data import set_names

    found = {name: _about(name, data_dir) for name in set_names()}
    if as_json:
        show_json(found)
        return
    sets = [
        (name, _splits(each["splits"]), each["image_size"], _state(each, data_dir))
        for name, each in found.items()
    ]
    show_table("", ("set", "parts", "pixels", "files"), sets)
    parameters = [
        (name, setting["name"], str(setting["default"]), setting["description"])
        for name, each in found.items()
        for setting in each["parameters"]
    ]
    show_table("parameters", ("set", "parameter", "default", "meaning"), parameters)


def _state(about: Mapping[str, Any], data_dir: Path) -> str:
    """Words on the files of a set."""
    if about["missing"]:
        return f"missing in {data_dir}: {', '.join(about['missing'])}"
    return f"present in {data_dir}" if about["state"] == "present" else about["state"]


def _about(name: str, data_dir: Path) -> dict[str, Any]:
    """A named set: its parts, the state of its files, and its parameters."""
    from repsim.configuration import settings_of
    from repsim.data import Split
    from repsim.data.sets import find_kind
    from repsim.data.size import size_text

    kind = find_kind(name)
    missing = kind().missing(data_dir)
    in_files = bool(missing) or kind().files(Split("train"), data_dir) is not None
    return {
        "splits": dict(kind().sizes),
        "image_size": size_text(kind.default_size),
        "state": "missing" if missing else "present" if in_files else "built in",
        "missing": [str(file) for file in missing],
        "parameters": [
            {"name": each.name, "default": each.default, "description": each.description}
            for each in settings_of(kind)
        ],
    }


def _splits(sizes: Mapping[str, int]) -> str:
    """Splits with their sizes, as in ``1437 train, 360 test``."""
    return ", ".join(f"{count} {base}" for base, count in sizes.items())
