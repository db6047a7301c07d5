"""``repsim train``: one subcommand a method, its options made from the method's configuration."""

from __future__ import annotations

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
from repsim.cli.trainings import absent, finished_at, folders_given, report, stopped
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
    from repsim.training.loop import check_trained_on, train
    from repsim.training.run import Run
    from repsim.training.run_lock import is_begun

    run = Run(runs / check_name(method if name is None else name))
    if resume and overwrite:
        raise UsageError("--resume keeps a run and --overwrite replaces it; pass one of them")
    if resume and not run.exists:
        raise UsageError(f"{absent(run.name, runs)}; leave out --resume to begin one")
    config = _settings(method, given(options), config_file, preset, run if resume else None)
    if print_config and as_json:
        show_json(config.model_dump(mode="json"))
        return
    if print_config:
        click.echo(to_toml(config), nl=False)
        return
    finished = finished_at(run)
    leads, where = is_leader(), folders_given(runs, data_dir)
    if finished is not None and not overwrite and is_begun(run, method, config):
        check_trained_on(run, data_dir)
        resume = True

    def hint() -> str:
        return stopped(run, method, config, finished, where)

    try:
        with (
            hinting(hint) if leads else nullcontext(),
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
        say(f"note: run {run.name!r} was finished already, with these settings; nothing to do")
    report(run, as_json)
    say(f"next: repsim harvest {run.name}{where}")


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
