"""Reports on trainings: final scores, or the state after an interruption and the way on."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.cli.reporting import show_json
from repsim.cli.tables import show_table
from repsim.errors import choices

if TYPE_CHECKING:
    from repsim.training.config import TrainConfig
    from repsim.training.run import Run


def folders_given(runs: Path, data_dir: Path | None) -> str:
    """The options of the folders, for commands that go on with a run."""
    folders = {"--runs": None if runs == Path("runs") else runs, "--data-dir": data_dir}
    return "".join(
        f" {flag} {shlex.quote(str(path))}" for flag, path in folders.items() if path is not None
    )


def absent(name: str, runs: Path) -> str:
    """The words for a run that is not there, with the names nearest to its own."""
    from repsim.training.run import find_runs

    known = [run.name for run in find_runs(runs)]
    return f"there is no run {name!r} in {runs} to resume; {choices(name, known)}"


def finished_at(run: Run) -> int | None:
    """The time at which the checkpoint of a run was written; None while there is none."""
    return run.checkpoint.stat().st_mtime_ns if run.complete else None


def stopped(run: Run, method: str, config: TrainConfig, before: int | None, where: str) -> str:
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
    now = finished_at(run)
    if not is_begun(run, method, config) or (now is not None and now == before):
        return f"stopped before training began; run {run.name!r} is as it was"
    if now is not None:
        return f"stopped when run {run.name!r} was finished already"
    return f"stopped; continue with: repsim train {method} --name {run.name}{where} --resume"


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
