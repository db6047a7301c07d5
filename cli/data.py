"""``repsim data``: what image sets there are, and downloading them."""

from __future__ import annotations

from pathlib import Path

import click

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="REPSIM_DATA",
    default="data",
    show_default=True,
    show_envvar=True,
    help="Folder that holds the image sets.",
)


@click.group(short_help="List and download image sets.")
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


@data.command("list", short_help="Show which image sets there are.")
@DATA_DIR
def list_sets(data_dir: Path) -> None:
    """\b
    repsim data list --data-dir data

    Show the named image sets, the sizes of their splits, and whether their files are there.
    Wherever a set is named, the path of an .npz file or of a folder of images will do as well.
    """
    from repsim.data import SETS
    from repsim.data.fetch import REMOTES

    for name, dataset in SETS.items():
        sizes = ", ".join(f"{count} {base}" for base, count in dataset.SIZES.items())
        missing = dataset.missing(data_dir)
        if name not in REMOTES:
            state = "built in"
        elif missing:
            state = f"missing in {data_dir}: {', '.join(missing)}"
        else:
            state = f"present in {data_dir}"
        click.echo(f"{name:<10}{sizes:<28}{state}")
