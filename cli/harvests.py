"""Harvests on the command line: jobs, their plans, and reports on their stores."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.cli.reporting import say, show_json
from repsim.cli.tables import show_table

if TYPE_CHECKING:
    from torch import nn

    from repsim.activations import ActivationStore
    from repsim.activations.harvesting.plan import HarvestPlan
    from repsim.activations.harvesting.processes import Loader
    from repsim.data.splits import Part
    from repsim.launch import Processes


#: Bytes of a store of which more is said before it is written.
_LARGE = 1e9


@dataclass(frozen=True)
class Job:
    """One network on one part of one data set.

    Attributes:
        label: the name of the network.
        slug: the data set and its part, as in the name of the store.
        model: the network.
        loader: of the examples.
        path: of the store.
        provenance: of the network and the examples.
        part: of the data set.
        layers: patterns that its name ends with, or None.
        options: of the harvest, where the network decides them: its seed and its head.
    """

    label: str
    slug: str
    model: nn.Module
    loader: Loader
    path: Path
    provenance: dict[str, Any]
    part: Part
    layers: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def called(self) -> str:
        """The network with the layers that its name chooses."""
        return self.label if self.layers is None else f"{self.label}@{self.layers}"


def described(job: Job, store: ActivationStore) -> dict[str, Any]:
    """A store that was harvested, for programs."""
    return {
        "path": str(store.path),
        "network": job.label,
        "n": store.n,
        "part": str(job.part),
        "layers": list(store.layers),
        "left_out": store.provenance().get("layers_left_out", {}).get("count", 0),
        "bytes": sum(record["bytes"] for record in store.describe()),
        "batch_statistics": job.provenance.get("batch_statistics"),
    }


def in_words(job: Job, found: Mapping[str, Any]) -> str:
    """The same in a line; the statistics of batch normalisation where the network has them."""
    statistics = found["batch_statistics"]
    under = f", {statistics} batch statistics" if statistics else ""
    stored, left = len(found["layers"]), found["left_out"]
    layers = f"{stored} of {stored + left} layers" if left else f"{stored} layers"
    return (
        f"{found['path']}: {layers}, {job.part.counted(found['n'])}, "
        f"{found['bytes'] / 1e6:,.1f} MB{under}"
    )


def stopped(jobs: list[Job], overwrite: bool) -> str:
    """The way on after an interruption; only what was begun can be resumed."""
    from repsim.activations.store.format import part_path

    if overwrite:
        return "stopped; the same command begins again"
    begun = any(
        job.path.exists()
        or part_path(job.path).exists()
        or any(job.path.parent.glob(f"{job.path.stem}.part-*"))
        for job in jobs
    )
    if begun:
        return "stopped; the same command with --resume continues"
    return "stopped before anything was stored; the same command begins again"


def say_size(job: Job, processes: Processes, plan: HarvestPlan) -> None:
    """Say before anything is written that a store will be large, with the way to a smaller one."""
    size = plan.bytes * processes.world  # each process plans its own part
    if size > _LARGE:
        say(
            f"note: {job.path} will take {size / 1e9:,.1f} GB; averages of maps and tokens, enough "
            "for probes, take far less: --pooling avg; --dry-run shows each layer"
        )


def say_blocks(jobs: list[Job]) -> None:
    """Name the way to the outputs of blocks, which are no layers unless they are chosen."""
    from repsim.activations.capture.modules import blocks_of

    for job in {job.label: job for job in jobs if job.layers is None}.values():
        found = blocks_of(job.model)
        if found:
            kinds = [f"{count} {kind}" for kind, count in found.items()]
            named = ", ".join(kinds[:3] if len(kinds) < 4 else [*kinds[:3], "..."])
            say(
                f"note: {job.label} is stored without the outputs of its blocks ({named}); to have "
                f"them: --layers all, or --layers type:{next(iter(found))}"
            )


def say_next(jobs: list[Job], *, usual: bool) -> None:
    """Name the commands that read the harvested activations.

    Args:
        jobs: that are done.
        usual: True if the stores have their usual names, by which commands find them.
    """
    if all("run" in job.provenance for job in jobs):
        named = " and ".join(sorted({job.label.partition(":")[0] for job in jobs}))
        say(f"next: repsim cka, probe or nullspace on {named}")
        return
    name = jobs[0].label if usual else str(jobs[0].path)
    splits = [str(job.provenance["split"]) for job in jobs]
    compared = "test" if "test" in splits else splits[0]
    asked = "" if compared == "test" else f" --split {shlex.quote(compared)}"
    both = usual and {"train", "test"} <= set(splits)
    probed = f"; repsim probe {name}" if both else ""
    say(f"next: repsim cka {name} RUN|NETWORK|FILE{asked}{probed}")


def show_plans(jobs: list[Job], device: str, what: Mapping[str, Any], *, as_json: bool) -> None:
    """Show the layers that each job would store.

    Raises:
        StoreError: the disk cannot hold them.
    """
    from repsim.activations.harvesting.harvest import plan_harvest
    from repsim.activations.store.writer import check_space

    plans = [
        (job, plan_harvest(job.model, job.loader, device=device, layers=job.layers, **what))
        for job in jobs
    ]
    if as_json:
        show_json([_planned(job, plan) for job, plan in plans])
    for job, plan in plans:
        if not as_json:
            _show_plan(job, plan)
        check_space(job.path, plan.n, plan.layers)


def _planned(job: Job, plan: HarvestPlan) -> dict[str, Any]:
    """The plan of a job for programs."""
    layers = [
        {
            "layer": layer,
            "module": spec.module,
            "shape": list(spec.shape),
            "dtype": spec.dtype,
            "bytes": plan.n * spec.row_bytes,
        }
        for layer, spec in plan.layers.items()
    ]
    return {"path": str(job.path), "n": plan.n, "bytes": plan.bytes, "layers": layers}


def _show_plan(job: Job, plan: HarvestPlan) -> None:
    """The plan of a job as a table."""
    rows = [
        (
            layer,
            spec.module,
            f"{plan.n:,}",
            " x ".join(map(str, spec.shape)),
            f"{spec.columns:,}",
            spec.dtype,
            plan.n * spec.row_bytes / 1e6,
        )
        for layer, spec in plan.layers.items()
    ]
    columns = ("layer", "module", "rows", "shape", "columns", "dtype", "MB")
    show_table(
        f"{job.label} on {job.slug} ({job.part}): {plan.bytes / 1e6:,.1f} MB to {job.path}",
        columns,
        rows,
    )
