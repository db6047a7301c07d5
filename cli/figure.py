"""``repsim figure``: a result drawn again, without the networks."""

from __future__ import annotations

from pathlib import Path

import click

from repsim.cli.options import estimator_option, overwrite_option, show_files, style_option


@click.command()
@click.argument("result", type=click.Path(path_type=Path, dir_okay=False))
@style_option
@estimator_option
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    help="Stem of the file names.  [default: that of the result]",
)
@overwrite_option
def figure(result: Path, style: str, estimator: str, output: Path | None, overwrite: bool) -> None:
    """\b
    repsim figure results/cka-simclr-supervised.json --style slide -o slides/cka

    Draw the figures of a result file as PNG and PDF, in a size for a column, a page or a slide.
    """
    from repsim import figures
    from repsim.files import refuse_existing
    from repsim.results import Result

    loaded = Result.load(result)
    stem = output or result.with_suffix("")
    drawn = figures.draw(loaded, style=style, estimator=estimator)
    for suffix in drawn:
        for ending in (".png", ".pdf"):
            refuse_existing(f"{stem}-{suffix}{ending}", overwrite)
    for suffix, each in drawn.items():
        show_files(
            figures.save(
                each, f"{stem}-{suffix}", provenance=loaded.provenance, overwrite=overwrite
            )
        )
