"""``repsim train``: one subcommand a method, its options made from the method's configuration."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import click

from repsim.cli.options import Suggesting, data_dir_option, overwrite_option, runs_option
from repsim.cli.reporting import bar, say, show_table
from repsim.errors import RepsimError, UsageError
from repsim.progress import silent

if TYPE_CHECKING:
    from repsim.training.config import TrainConfig
    from repsim.training.run import Run


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
    from repsim.training.presets import PRESETS

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
        params=[],
        help=f"\b\nrepsim train {method} --data digits --name {method}\n\n{method_summary(method)}",
    )
    shared = (
        click.option("--name", help=f"Name of the run.  [default: {method}]"),
        click.option(
            "--preset",
            type=click.Choice(PRESETS),
            help="Settings of the paper, for an hour on two cores, or for seconds.",
        ),
        click.option(
            "--config",
            "config_file",
            type=click.Path(path_type=Path, dir_okay=False),
            help="TOML file of settings, which go before the preset's; options go before both.",
        ),
        click.option(
            "--print-config", is_flag=True, help="Print all settings as TOML, and train nothing."
        ),
        runs_option,
        data_dir_option,
        click.option("--resume", is_flag=True, help="Continue a run, with the settings it has."),
        overwrite_option,
    )
    for option in shared:
        own = option(own)
    own.params += options  # after what is said of any run
    return own


def _option(name: str, annotation: Any, default: Any, description: str) -> click.Option:
    """A click option for one field; None stands for 'not given', so that TOML can speak."""
    flag = f"--{name.replace('_', '-')}"
    shown = "" if default == "" else f"  [default: {default}]"
    return click.Option(
        [f"{flag}/--no-{flag[2:]}" if annotation is bool else flag],
        type=_kind(annotation),
        default=None,
        help=f"{description[:1].upper()}{description[1:]}.{shown}",
    )


def _kind(annotation: Any) -> Any:
    """What click makes of an option's text; of anything but one plain value, the field does."""
    if get_origin(annotation) is Literal:
        return OneOf(get_args(annotation))
    return annotation if annotation in (bool, int, float, str) else str


class OneOf(click.Choice):
    """One of several values, such as the numbers of ``--depth``."""

    def __init__(self, values: Sequence[Any]) -> None:
        super().__init__([str(value) for value in values])
        self.values = {str(value): value for value in values}

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return self.values[super().convert(str(value), param, ctx)]


def _train(
    method: str,
    *,
    name: str | None,
    preset: str | None,
    config_file: Path | None,
    print_config: bool,
    runs: Path,
    data_dir: Path | None,
    resume: bool,
    overwrite: bool,
    **options: Any,
) -> None:
    from repsim.cli.names import check_name
    from repsim.configuration import to_toml
    from repsim.launch import is_leader
    from repsim.training.loop import train
    from repsim.training.run import Run

    run = Run(runs / check_name(method if name is None else name))
    if resume and overwrite:
        raise UsageError("--resume keeps a run and --overwrite replaces it; pass one of them")
    given = {key: value for key, value in options.items() if value is not None}
    config = _settings(method, given, config_file, preset, run if resume and run.exists else None)
    if print_config:
        click.echo(to_toml(config), nl=False)
        return
    finished = resume and run.complete
    leads = is_leader()
    where = "" if runs == Path("runs") else f" --runs {shlex.quote(str(runs))}"
    if leads and resume and not run.exists:
        say(f"there is no run {run.name!r} in {runs} to resume; starting it")
    try:
        with bar(f"train {run.name}") if leads else nullcontext(silent) as progress:
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
        if not leads:
            raise SystemExit(130) from None
        say(f"stopped; continue with: repsim train {method} --name {run.name}{where} --resume")
        raise
    except RepsimError:
        if leads:
            raise
        raise SystemExit(1) from None  # the first process has said it
    if not leads:
        return
    if finished:
        say(f"run {run.name!r} was finished already; nothing to do")
    report(run)
    say(f"next: repsim harvest {run.name}{where}")


def _settings(
    method: str,
    given: dict[str, Any],
    config_file: Path | None,
    preset: str | None,
    resumed: Run | None,
) -> TrainConfig:
    """The options, before the file, before the preset, before what a run to resume has."""
    from repsim.configuration import build_config, read_toml
    from repsim.training.methods import find_method
    from repsim.training.presets import read_preset

    kind = find_method(method).config_class
    layers = [({} if resumed is None else resumed.config.model_dump(), "the run")]
    if preset is not None:
        layers.append((read_preset(method, preset), f"preset {preset}"))
    if config_file is not None:
        layers.append((read_toml(config_file), str(config_file)))
    layers.append((given, "options"))
    values: dict[str, Any] = {}
    for settings, source in layers:
        values |= settings
        config = build_config(kind, values, source)
    return config


def report(run: Any) -> None:
    """A table of what training ended with."""
    state = run.load_state(run.checkpoint)
    rows: list[tuple[str, Any]] = [("method", state["method"]), ("epochs", str(state["epoch"]))]
    rows += [
        (f"{key}, last epoch", value) for key, value in run.last_metrics().items() if "." not in key
    ]
    rows += [(f"held-out {key}", value) for key, value in state["held_out"].items()]
    show_table(f"{run.path}", ("", "value"), rows)
