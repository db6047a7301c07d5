"""Commands of analyses, each made from the class of its module in ``repsim.activations.analyses``.

An analysis says what it reads, computes and prints; its settings are the options. A command finds
the inputs, reserves its outputs, runs, saves, draws and prints.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from repsim.cli.completion import complete_networks
from repsim.cli.drawing import Drawing, figure_options
from repsim.cli.grouping import Grouped
from repsim.cli.names import Named, check_distinct, find, find_one, note_same
from repsim.cli.options import (
    PARTS,
    data_dir_option,
    data_option,
    device_option,
    image_size_option,
    json_option,
    memory_option,
    output_option,
    overwrite_option,
    runs_option,
    statistics_option,
    target_option,
    verify_option,
)
from repsim.cli.reporting import bar
from repsim.cli.settings import flag_of, given, option_of
from repsim.cli.stores import Places
from repsim.cli.writing import Outlet, check_paths
from repsim.errors import UsageError

if TYPE_CHECKING:
    from repsim.activations.analyses.base import Analysis, Context, Inputs
    from repsim.training.sides import Choice


@dataclass(frozen=True)
class Job:
    """An analysis of one network, or of two.

    Attributes:
        analysis: with the layers that the names ask for.
        networks: one, or two where they are compared.
    """

    analysis: Analysis[Any]
    networks: Sequence[Named]

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of the networks."""
        return tuple(each.label for each in self.networks)


@dataclass(frozen=True)
class Request:
    """The request of a command.

    Attributes:
        names: of the networks, as they were typed.
        where: the places to look them up.
        context: of the analysis.
        outlet: of the results; knows the analysis and the part of the images.
    """

    names: Sequence[str]
    where: Places
    context: Context
    outlet: Outlet


# --- from an analysis to a command


def analysis_command(
    name: str, *, called: str | None = None, fixed: Mapping[str, Any] | None = None
) -> click.Command:
    """The command of an analysis.

    Args:
        name: of the analysis, as its module is called.
        called: the command's own name, where it is another.
        fixed: settings that the command does not ask for.
    """
    from repsim.activations.analyses import find_analysis
    from repsim.configuration import build_config, settings_of

    kind, command = find_analysis(name), called or name.replace("_", "-")
    settings = [each for each in settings_of(kind.config_class) if each.name not in (fixed or {})]

    def run(**options: Any) -> None:
        chosen = {each.name: options.pop(each.name) for each in settings}
        values = kind.spelled_out({**(fixed or {}), **given(chosen)})
        config = build_config(kind.config_class, values, "options")
        _run(kind(config), drawing=Drawing.taken(options), **options)

    made = Grouped(command, callback=run, params=[], help=_help(kind, command))
    shared = (
        *_inputs(kind),
        runs_option,
        data_option,
        data_dir_option,
        image_size_option,
        *(_split_option(kind, part) for part in kind.parts),
        statistics_option,
    )
    for option in shared:
        made = option(made)
    made.params += [option_of(each) for each in settings]
    for option in (*_uses(kind), *_outputs(kind, command)):
        made = option(made)
    return made


def _uses(kind: type[Analysis[Any]]) -> list[Any]:
    known = {"memory": memory_option, "device": device_option, "target": target_option}
    stored = [verify_option] if kind(kind.config_class()).reads_stores else []
    return [*stored, *(known[each] for each in kind.uses)]


def _outputs(kind: type[Analysis[Any]], command: str) -> list[Any]:
    usual = f"results/{command}-{'A-B' if kind.networks == 'pair' else 'RUN'}.json"
    drawn = figure_options(kind.style, colours="heatmap" in kind.figures) if kind.figures else []
    return [*drawn, output_option(usual), overwrite_option, json_option]


def _inputs(kind: type[Analysis[Any]]) -> list[Any]:
    if kind.networks == "one":
        several: dict[str, Any] = {"metavar": "RUN...", "nargs": -1, "required": True}
        return [click.argument("references", **several, shell_complete=complete_networks)]
    named: dict[str, Any] = {"metavar": "NAME", "shell_complete": complete_networks}
    return [
        click.argument("references", metavar="A [B]", nargs=-1, shell_complete=complete_networks),
        click.option("--a", **named, help="First network, by name or file, as A."),
        click.option("--b", **named, help="Second one, as B.  [default: the first]"),
    ]


def _split_key(kind: type[Analysis[Any]], part: str) -> str:
    return "split" if part == next(iter(kind.parts)) else f"{part}_split"


def _split_option(kind: type[Analysis[Any]], part: str) -> Any:
    found = kind.parts[part]
    usual = found.usual or "the part that the run was trained on"
    return click.option(
        flag_of(_split_key(kind, part)),
        default=found.usual,
        help=f"{found.description[:1].upper()}{found.description[1:]}: {PARTS}.  "
        f"[default: {usual}]",
    )


def _help(kind: type[Analysis[Any]], command: str) -> str:
    """The docstring of the module: its examples first, then its text."""
    first, _, rest = (inspect.getdoc(sys.modules[kind.__module__]) or "").partition("\n\n")
    text = rest or first
    example = f"repsim {command} " + ("RUN" if kind.networks == "one" else "A B")
    if text.startswith("    "):
        block, _, text = text.partition("\n\n")
        example = inspect.cleandoc(block).replace("repsim similarity ", f"repsim {command} ")
    return f"\b\n{example}\n\n{text}"


# --- the networks


def _pair(asked: Request) -> Job:
    found = [find_one(each, asked.where) for each in asked.names]
    return Job(asked.outlet.analysis.with_layers([found[0].layers, found[-1].layers]), found)


def _each(asked: Request) -> list[Job]:
    analysis, found = asked.outlet.analysis, find(asked.names, asked.where)
    if not analysis.reads_stores:
        for each in found:
            each.running()
    check_distinct(found, joined=analysis.joins)
    return [Job(analysis.with_layers([each.layers]), [each]) for each in found]


@contextmanager
def _opened(job: Job, asked: Request) -> Iterator[Inputs]:
    """The inputs of a job: activations, or networks and images."""
    from repsim.activations.analyses.base import Inputs

    splits = asked.outlet.splits
    if not job.analysis.reads_stores:
        yield _running(job, splits)
        return
    with ExitStack() as stack:
        opened = []
        for each in job.networks:
            parts = {part: split or "train" for part, split in splits.items()}
            strict = len(parts) > 1
            opened.append(
                {p: stack.enter_context(each.open(s, strict=strict)) for p, s in parts.items()}
            )
        stores = tuple({p: found.source for p, found in each.items()} for each in opened)
        first = next(iter(splits))
        names = tuple(store[first].name for store in stores)
        remarks = [found.remark for each in opened for found in each.values() if found.remark]
        uncompared = tuple(dict.fromkeys(remarks))
        yield Inputs(names, stores=stores, data=asked.where.data, uncompared=uncompared)
        note_same(job.networks, stores)


def _running(job: Job, splits: Mapping[str, str | None]) -> Inputs:
    from repsim.activations.analyses.base import Inputs

    first = job.networks[0]
    return Inputs(
        names=job.labels,
        extractors=tuple(each.running() for each in job.networks),
        images={part: first.images(split) for part, split in splits.items()},
        data=first.data(),
    )


# --- running


def _run(
    analysis: Analysis[Any],
    *,
    runs: Path,
    data: str | None,
    data_dir: Path | None,
    image_size: str = "",
    target: str = "",
    statistics: Choice = "own",
    references: Sequence[str] = (),
    a: str | None = None,
    b: str | None = None,
    memory: int | None = None,
    device: str = "auto",
    verify: bool = False,
    drawing: Drawing,
    output: Path | None,
    overwrite: bool,
    as_json: bool,
    **splits: str | None,
) -> None:
    """Find the networks, run, save, draw and print."""
    from repsim.activations.analyses.base import Context

    if verify and not analysis.reads_stores:
        raise UsageError("--verify is about stores, and here the networks run; leave it out")
    where = Places(runs, data, data_dir, image_size, target, verify=verify, statistics=statistics)
    parts = {part: splits[_split_key(type(analysis), part)] for part in analysis.parts}
    outlet = Outlet(analysis, parts, where.qualifier, drawing, output, overwrite)
    names = references
    if analysis.networks == "pair":
        names = _two(references, a, b)
    asked = Request(names, where, Context(device, memory), outlet)
    if analysis.networks == "pair":
        results = _run_pair(asked)
    else:
        results = (_run_joined if analysis.joins else _run_each)(asked)
    outlet.show(results, as_json=as_json)


def _two(references: Sequence[str], a: str | None, b: str | None) -> list[str]:
    """The names of a comparison, as they stand alone or behind ``--a`` and ``--b``.

    Raises:
        UsageError: none, more than two, or some of both kinds.
    """
    options = [each for each in (a, b) if each is not None]
    if references and options:
        raise UsageError("two networks stand alone, as in A B, or behind --a and --b; not both")
    if not references and a is None:
        raise UsageError("name the networks that are compared: A B, or A alone against itself")
    if len(references) > 2:
        raise UsageError(f"two networks are compared, got {', '.join(references)}")
    return [*references, *options]


def _run_pair(asked: Request) -> list[Any]:
    """The result of two networks that are compared."""
    job = _pair(asked)
    names = job.labels if len(job.labels) > 1 else job.labels * 2
    return [_made([job], asked, asked.outlet.of(job.analysis), names)]


def _run_joined(asked: Request) -> list[Any]:
    """One result of all networks."""
    return [_made(_each(asked), asked, asked.outlet, asked.names)]


def _made(jobs: Sequence[Job], asked: Request, outlet: Outlet, names: Sequence[str]) -> Any:
    """One result of some jobs: the one that is there already, or a new one, which is saved."""
    path = outlet.path(names)
    found = _found(jobs, asked, outlet, names)
    if found is not None:
        outlet.keep(path)
        return found
    results = [_run_one(job, asked) for job in jobs]
    result = outlet.analysis.join(results) if outlet.analysis.joins else results[0]
    outlet.save(result, path)
    return result


def _run_each(asked: Request) -> list[Any]:
    """A result of each network, and the figures of all of them together."""
    jobs, outlet = _each(asked), asked.outlet
    outlet.check_one_name(len(jobs))
    outlets = [outlet.of(job.analysis) for job in jobs]
    paths = [each.path(job.labels) for each, job in zip(outlets, jobs, strict=True)]
    check_paths(paths, [job.networks[0].called for job in jobs])
    there = [
        _found([job], asked, each, job.labels) for each, job in zip(outlets, jobs, strict=True)
    ]
    drawn = None not in there and outlet.has_joint(asked.names)
    joint = None if drawn else outlet.reserve_joint(asked.names)
    results = []
    for job, each, path, found in zip(jobs, outlets, paths, there, strict=True):
        if found is not None:
            each.keep(path)
        results.append(_run_one(job, asked) if found is None else found)
        if found is None:
            each.save(results[-1], path)
    if joint is not None:
        outlet.save_joint(dict(zip((job.labels[0] for job in jobs), results, strict=True)), joint)
    return results


def _found(jobs: Sequence[Job], asked: Request, outlet: Outlet, names: Sequence[str]) -> Any:
    """The result of some networks that is there already; None once its files are reserved.

    Inputs are opened only to compare them with a file that is there.
    """
    if outlet.overwrite or not outlet.path(names).is_file():
        outlet.reserve(names)
        return None
    with ExitStack() as stack:
        return outlet.find(names, [stack.enter_context(_opened(job, asked)) for job in jobs])


def _run_one(job: Job, asked: Request) -> Any:
    with (
        _opened(job, asked) as inputs,
        bar(" ".join([job.analysis.prefix, *inputs.names])) as progress,
    ):
        return job.analysis.run(inputs, replace(asked.context, progress=progress))
