"""``repsim train``: one subcommand a method, its options made from the method's configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click

from repsim.cli.options import (
    Suggesting,
    bar,
    data_dir_option,
    overwrite_option,
    runs_option,
    say,
    show_table,
)
from repsim.errors import UsageError


class Methods(Suggesting):
    """The modules of ``repsim.training.methods``; only the one that is called is imported."""

    item = "method"

    def list_commands(self, ctx: click.Context) -> list[str]:
        from repsim.training.methods import method_names

        return method_names()

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        return _command(name) if name in self.list_commands(ctx) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from repsim.training.methods import method_summary

        with formatter.section("Methods"):
            formatter.write_dl([(name, method_summary(name)) for name in self.list_commands(ctx)])


@click.group(cls=Methods)
def train() -> None:
    """\b
    repsim train simclr --data digits --epochs 20 --seed 1 --name simclr-1

    Train an extractor into the folder RUNS/NAME: its configuration, metrics and checkpoint.
    """


def _command(method: str) -> click.Command:
    from repsim.training.methods import find_method, method_summary

    config = find_method(method).config_class

    def run(**options: Any) -> None:
        _train(method, **options)

    options: list[click.Parameter] = [
        _option(name, field.annotation, field.default, field.description or "")
        for name, field in config.model_fields.items()
    ]
    own = click.Command(
        method,
        callback=run,
        params=options,
        help=f"\b\nrepsim train {method} --data digits --name {method}\n\n{method_summary(method)}",
    )
    shared = (
        click.option("--name", help=f"Name of the run.  [default: {method}]"),
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="TOML file of settings; options given here go before it.",
        ),
        runs_option,
        data_dir_option,
        click.option("--resume", is_flag=True, help="Continue a run, with the settings it has."),
        overwrite_option,
    )
    for option in shared:
        own = option(own)
    own.params = own.params[len(options) :] + options  # what names the run comes first
    return own


def _option(name: str, annotation: Any, default: Any, description: str) -> click.Option:
    """A click option for one field; None stands for 'not given', so that TOML can speak."""
    if get_origin(annotation) is Literal:
        values = get_args(annotation)
        kind: Any = click.Choice([str(value) for value in values])
    else:
        kind = annotation
    return click.Option(
        [f"--{name.replace('_', '-')}"],
        type=kind,
        default=None,
        help=f"{description[:1].upper()}{description[1:]}.  [default: {default}]",
    )


def _train(
    method: str,
    *,
    name: str | None,
    config_file: Path | None,
    runs: Path,
    data_dir: Path | None,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    from repsim.cli.workspace import check_name
    from repsim.training.config import build_config, read_toml
    from repsim.training.loop import train
    from repsim.training.methods import find_method
    from repsim.training.run import Run

    run = Run(runs / check_name(method if name is None else name))
    if resume and overwrite:
        raise UsageError("--resume keeps a run and --overwrite replaces it; pass one of them")
    given = {key: _number(value) for key, value in options.items() if value is not None}
    values = {} if config_file is None else read_toml(config_file)
    source = str(config_file) if config_file is not None else "options"
    if resume and run.exists:
        values = {**run.config.model_dump(), **values}
    config = build_config(find_method(method).config_class, {**values, **given}, source)
    finished = resume and run.complete
    try:
        with bar(f"train {run.name}") as progress:
            train(
                method,
                config,
                run.path,
                data_dir=data_dir,
                resume=resume,
                overwrite=overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        say(f"stopped; continue with: repsim train {method} --name {run.name} --resume")
        raise
    if finished:
        say(f"run {run.name!r} was finished already; nothing to do")
    report(run)


def report(run: Any) -> None:
    """A table of what training ended with, and what to do next."""
    state = run.load_state(run.checkpoint)
    rows: list[tuple[str, Any]] = [("method", state["method"]), ("epochs", str(state["epoch"]))]
    rows += [(f"{key}, last epoch", value) for key, value in run.last_metrics().items()]
    rows += [(f"held-out {key}", value) for key, value in state["held_out"].items()]
    show_table(f"{run.path}", ("", "value"), rows)
    say(f"next: repsim harvest {run.name}")


def _number(value: Any) -> Any:
    """Choices of numbers (``--depth 18``) arrive as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value
