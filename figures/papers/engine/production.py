"""Making what is missing of a reproduction: in order, or several steps at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass

import torch

from repsim.devices import default_memory, find_device
from repsim.figures.papers.engine.estimates import Cost, Estimator
from repsim.figures.papers.engine.failures import Outcome, attempt
from repsim.figures.papers.engine.log import Log
from repsim.figures.papers.engine.paper import Reproduction
from repsim.figures.papers.engine.steps import Step
from repsim.figures.papers.engine.workers import Workers
from repsim.progress import Progress, silent

#: Error lines of the steps that were not made, by step.
Failures = dict[Step, str]


def make_missing(
    reproduction: Reproduction,
    *,
    jobs: int = 1,
    train: bool = True,
    progress: Progress = silent,
) -> Failures:
    """Make every step that is missing, up to ``jobs`` at a time.

    A step that fails is noted, with those that need it, and all others are made. Progress counts
    seconds over all steps, as they were estimated before. Without ``train``, only what the
    networks that are trained give is made.

    Raises:
        DataError: the image set is not there.
    """
    log = Log(reproduction.folder)
    log.add_unnoted(reproduction.steps)
    missing = reproduction.missing(train=train)
    if not missing:
        return {}
    reproduction.folder.images(reproduction.data, reproduction.splits["held_out"])
    estimator = Estimator(jobs)
    costs = {step: estimator.of(step) for step in missing}
    schedule = Schedule(costs, log, progress)
    if jobs > 1 and len(missing) > 1:
        _make_beside(schedule, jobs)
    else:
        _make_in_order(schedule)
    return schedule.failures


@dataclass(frozen=True)
class Free:
    """The part of the machine that steps may take.

    Attributes:
        memory: bytes by type of device.
        cores: processors.
    """

    memory: Mapping[str, int]
    cores: int


class Schedule:
    """The steps that are still to be made, with their costs, and those that failed.

    Args:
        costs: of the steps, in an order in which each comes after those that it needs.
        log: notes those that are finished.
        progress: of all of them.
    """

    def __init__(self, costs: Mapping[Step, Cost], log: Log, progress: Progress) -> None:
        self.waiting, self.costs = list(costs), costs
        self.places = {step: place for place, step in enumerate(costs)}
        self.failures: Failures = {}
        self._log, self._progress = log, progress
        self._done = 0
        self._total = sum(map(self.seconds, costs))

    def seconds(self, step: Step) -> int:
        """Seconds of a step as progress counts them."""
        return max(1, round(self.costs[step].seconds))

    def end(self, step: Step, outcome: Outcome) -> None:
        """Note the end of a step; with one that failed, the steps that need it have failed too."""
        self._done += self.seconds(step)
        if not outcome.error:
            self._log.add(step, outcome.seconds)
            return
        self.failures[step] = outcome.error
        for other in [each for each in self.waiting if step in each.needs]:
            self.waiting.remove(other)
            self.end(other, Outcome(0.0, f"needs {step.name}, which failed"))

    def tell(self, shares: Mapping[Step, float], note: str = "") -> None:
        """Report progress, with the share that is done of each step that is being made."""
        begun = sum(share * self.seconds(step) for step, share in shares.items())
        names = ", ".join(step.name for step in shares)
        self._progress(self._done + round(begun), self._total, f"{names} {note}".strip())

    def ready(self, running: list[Step], free: Free) -> Step | None:
        """The first step that can be begun beside those that run, within what is free.

        Two steps never write into the folder of one run. Where nothing runs, neither memory nor
        cores are a reason to wait.
        """
        touched = frozenset().union(*(step.touches for step in running))
        for step in self.waiting:
            needed = any(need in self.waiting or need in running for need in step.needs)
            if needed or step.touches & touched:
                continue
            if not running or self._fits(step, running, free):
                return step
        return None

    def _fits(self, step: Step, running: list[Step], free: Free) -> bool:
        if sum(self.costs[each].cores for each in (step, *running)) > free.cores:
            return False
        device = self.costs[step].device
        beside = [each for each in running if self.costs[each].device == device]
        needed = sum(self.costs[each].memory for each in (step, *beside))
        return needed <= free.memory.get(device, 0)


def _make_in_order(schedule: Schedule) -> None:
    while schedule.waiting:
        step = schedule.waiting.pop(0)

        def part(done: int, total: int, note: str = "", step: Step = step) -> None:
            schedule.tell({step: done / max(1, total)}, note)

        schedule.tell({step: 0.0})
        schedule.end(step, attempt(step, part))


def _make_beside(schedule: Schedule, jobs: int) -> None:
    free = Free(_free_memory(schedule), max(os.cpu_count() or 1, torch.get_num_threads()))
    with Workers(jobs, len(schedule.costs)) as workers:
        while schedule.waiting or workers.running:
            while len(workers.running) < jobs:
                step = schedule.ready(workers.running, free)
                if step is None:
                    break
                schedule.waiting.remove(step)
                workers.start(step, schedule.places[step])
            shares = {step: workers.share(schedule.places[step]) for step in workers.running}
            schedule.tell(shares)
            try:
                for step, outcome in workers.finished():
                    schedule.end(step, outcome)
            except BrokenProcessPool:
                _give_up(schedule, workers)
                return


def _free_memory(schedule: Schedule) -> dict[str, int]:
    """Bytes that are free at the start, of each device that steps need."""
    devices = {cost.device for cost in schedule.costs.values()}
    return {device: 4 * default_memory(find_device(device)) for device in devices}


def _give_up(schedule: Schedule, workers: Workers) -> None:
    """A process was killed, for its memory as a rule: the pool makes nothing more."""
    killed = "its process, or one beside it, was killed; was memory short? try fewer --jobs"
    for step in workers.running:
        schedule.end(step, Outcome(0.0, killed))
    for step in list(schedule.waiting):
        if step in schedule.waiting:
            schedule.waiting.remove(step)
            schedule.end(step, Outcome(0.0, "not begun; run the same command again"))
