"""``repsim train``: one subcommand a method, its options made from the method's configuration."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.completion import complete_runs
from repsim.cli.grouping import Grouped
from repsim.cli.options import (
    Suggesting,
    data_dir_option,
    json_option,
    overwrite_option,
    runs_option,
)
from repsim.cli.reporting import bar, hinting, say, show_json
from repsim.cli.settings import given, option_of
from repsim.cli.tables import show_table
from repsim.errors import RepsimError, UsageError, choices
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
        return MethodCommand(name) if name in self.list_commands(ctx) else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "untrained":
            from repsim.training.earlier import instead_of_untrained

            raise UsageError(instead_of_untrained(args[1:]))
        return super().resolve_command(ctx, args)

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


class MethodCommand(Grouped):
    """A method, with an option for each of its settings and of those of the network it trains.

    The settings of other families are options too, hidden ones, so that one line can say whose they
    are, and since a file or a run that is resumed may name another family than the command line.
    """

    def __init__(self, method: str) -> None:
        from repsim.training.methods import find_method, method_summary

        self.method = method
        self.default = find_method(method).network
        super().__init__(
            method,
            callback=self.run,
            params=_shared(method),
            help=f"\b\nrepsim train {method} --data digits --name {method}\n\n"
            + method_summary(method),
        )
        self.shared = list(self.params)
        self.params += self._settings(self.default)

    def run(self, **options: Any) -> None:
        """Train."""
        _train(self.method, **options)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if network := _value_of("--network", args):
            self.params = self.shared + self._settings(network)
        return super().parse_args(ctx, args)

    def _settings(self, network: str | None) -> list[click.Parameter]:
        """Options for the settings of the method, of ``network``, and hidden ones of others."""
        from repsim.configuration import settings_of
        from repsim.networks.families import find_family
        from repsim.training.compose import config_for, networks_for

        settings = settings_of(config_for(self.method, network))
        options = {each.name: option_of(each) for each in settings}
        others = networks_for(self.method) if network else []
        for setting in (s for other in others for s in settings_of(find_family(other).settings)):
            if setting.name not in options:
                options[setting.name] = option_of(setting)
                options[setting.name].hidden = True
        if network:
            options["network"] = NetworkOption(network, self.default, others)
        return list(options.values())

    @property
    def network(self) -> str | None:
        """The family of networks whose settings are options."""
        options = (each for each in self.params if isinstance(each, NetworkOption))
        return next((each.network for each in options), None)

    def group_of(self, option: click.Parameter) -> str:
        """The settings of the network stand under a heading of their own."""
        from repsim.networks.families import find_family

        if self.network and option.name in find_family(self.network).settings.model_fields:
            return self._of_network
        return super().group_of(option)

    def groups(self) -> Sequence[str]:
        titles = list(super().groups())
        titles.insert(titles.index("Settings") + 1, self._of_network)
        return titles

    @property
    def _of_network(self) -> str:
        return f"Settings of the network {self.network}"


class NetworkOption(click.Option):
    """``--network``, which knows the family whose settings the other options have."""

    def __init__(self, network: str, default: str | None, known: Sequence[str]) -> None:
        self.network = network
        listed = f"Family of networks: {', '.join(known)}.  [default: {default}]"
        super().__init__(["--network"], help=listed)


def _value_of(option: str, args: Sequence[str]) -> str | None:
    """The value of an option on a command line that is not parsed yet; the last one counts."""
    found = None
    for arg, following in zip(args, (*args[1:], None), strict=False):
        name, equals, value = arg.partition("=")
        if name == option:
            found = value if equals else following
    return found


def _shared(method: str) -> list[click.Parameter]:
    """The options that are no settings."""
    from repsim.training.presets import PRESETS

    bare = click.Command(method)
    for option in (
        click.option(
            "--name",
            shell_complete=complete_runs,
            help=f"Name of the run.  [default: {method}]",
        ),
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
        json_option,
    ):
        bare = option(bare)
    return bare.params


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
    as_json: bool,
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
    if resume and not run.exists:
        raise UsageError(f"{_absent(run.name, runs)}; leave out --resume to begin one")
    config = _settings(method, given(options), config_file, preset, run if resume else None)
    if print_config and as_json:
        show_json(config.model_dump(mode="json"))
        return
    if print_config:
        click.echo(to_toml(config), nl=False)
        return
    finished = _finished_at(run)
    leads = is_leader()
    try:
        with (
            hinting(lambda: _stopped(run, method, config, finished, _where(runs, data_dir))),
            bar(f"train {run.name}") if leads else nullcontext(silent) as progress,
        ):
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
        if leads:
            raise
        raise SystemExit(130) from None
    except RepsimError:
        if leads:
            raise
        raise SystemExit(1) from None  # the first process has said it
    if not leads:
        return
    if finished is not None and resume:
        say(f"run {run.name!r} was finished already; nothing to do")
    report(run, as_json)
    say(f"next: repsim harvest {run.name}{_where(runs, data_dir)}")


def _where(runs: Path, data_dir: Path | None) -> str:
    """The options of the folders, for commands that go on with a run."""
    folders = {"--runs": None if runs == Path("runs") else runs, "--data-dir": data_dir}
    return "".join(
        f" {flag} {shlex.quote(str(path))}" for flag, path in folders.items() if path is not None
    )


def _absent(name: str, runs: Path) -> str:
    """The words for a run that is not there, with the nearest of those that are."""
    from repsim.training.run import find_runs

    known = [run.name for run in find_runs(runs)]
    return f"there is no run {name!r} in {runs} to resume; {choices(name, known)}"


def _finished_at(run: Run) -> int | None:
    """The time at which the checkpoint of a run was written; None while there is none."""
    return run.checkpoint.stat().st_mtime_ns if run.complete else None


def _stopped(run: Run, method: str, config: TrainConfig, before: int | None, where: str) -> str:
    """The state that an interruption leaves, and the way on.

    A run is named as one to resume only if it has the settings of this training: before these are
    written, its folder is empty or holds the run that was to be replaced.

    Args:
        run: that was being trained.
        method: of the training.
        config: of the training.
        before: time at which a run that was there was finished.
        where: options of the folders.
    """
    from repsim.training.run_lock import is_begun

    if not run.exists:
        return "stopped before training began; nothing was kept, the same command begins again"
    now = _finished_at(run)
    if not is_begun(run, method, config) or (now is not None and now == before):
        return f"stopped before training began; run {run.name!r} is as it was"
    if now is not None:
        return f"stopped when run {run.name!r} was finished already"
    return f"stopped; continue with: repsim train {method} --name {run.name}{where} --resume"


def _settings(
    method: str,
    chosen: dict[str, Any],
    config_file: Path | None,
    preset: str | None,
    resumed: Run | None,
) -> TrainConfig:
    """The options, before the file, before the preset, before the settings of a run to resume."""
    from repsim.configuration import read_toml
    from repsim.training.compose import configure, without_network
    from repsim.training.presets import read_preset

    base: list[tuple[dict[str, Any], str]] = []
    if resumed is not None:
        base.append((resumed.config.model_dump(), "the run"))
    if preset is not None:
        base.append((read_preset(method, preset), f"preset {preset}"))
    file = {} if config_file is None else read_toml(config_file)
    network = chosen.get("network", file.get("network"))
    layers = [(without_network(settings, method, network), source) for settings, source in base]
    layers += [(file, str(config_file)), (chosen, "options")]
    values: dict[str, Any] = {} if network is None else {"network": network}
    for settings, source in layers:
        values |= settings
        config = configure(method, values, source)
    return config


def report(run: Run, as_json: bool) -> None:
    """The end of a training: its losses and the scores on held-out images."""
    state = run.load_state(run.checkpoint)
    if as_json:
        show_json(
            {
                "path": str(run.path),
                "method": state["method"],
                "epoch": state["epoch"],
                "metrics": run.last_metrics(),
                "held_out": state["held_out"],
            }
        )
        return
    rows: list[tuple[str, Any]] = [("method", state["method"]), ("epochs", str(state["epoch"]))]
    rows += [
        (f"{key}, last epoch", value) for key, value in run.last_metrics().items() if "." not in key
    ]
    rows += [(f"held-out {key}", value) for key, value in state["held_out"].items()]
    show_table(f"{run.path}", ("", "value"), rows)
