"""The lock on a run's folder, and the run that is kept aside while another replaces it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from repsim.errors import UsageError
from repsim.files import exclusive, is_left, sweep
from repsim.training.config import TrainConfig
from repsim.training.run import CONTENTS, Run


def check_free(
    run: Run, method: str, config: TrainConfig, *, resume: bool, overwrite: bool
) -> None:
    """Raise ``UsageError`` unless training may write into the run's folder."""
    if not run.exists:
        if run.path.exists() and not (run.path.is_dir() and all(map(is_left, run.path.iterdir()))):
            raise UsageError(f"{run.path} exists and is not a run; choose another name")
        return
    if overwrite:
        if run.path.is_symlink():
            raise UsageError(
                f"{run.path} is a link to {run.path.resolve()}; replace the run there, or remove "
                "the link"
            )
        return
    was, now = _settings_of(run), _settings(method, config)
    changed = _changed(was, now)
    key = next(
        (each for each in ("method", "network") if each in changed), min(changed, default="")
    )
    if not resume:
        state = "is finished" if run.complete else "was started and is not finished"
        other = f", with {key} = {was.get(key)!r}, now {now.get(key)!r}" if key else ""
        way = "--overwrite" if run.complete else "--resume or --overwrite"
        raise UsageError(f"run {run.name!r} exists and {state}{other}; pass {way}, or another name")
    if changed:
        raise UsageError(
            f"run {run.name!r} was started with {key} = {was.get(key)!r}, now it is "
            f"{now.get(key)!r}; resume with the settings of {run.path / 'config.json'}"
        )
    if source := run.outdated_by:
        raise UsageError(
            f"run {run.name!r} began from run {source.name!r}, which has been trained again since; "
            "pass --overwrite to begin from it as it is now"
        )


def is_begun(run: Run, method: str, config: TrainConfig) -> bool:
    """Tell if the run is of this method, these settings and the same run before it, if any, so
    that resuming it continues them."""
    same = run.exists and not _changed(_settings_of(run), _settings(method, config))
    return same and run.outdated_by is None


def _settings_of(run: Run) -> dict[str, Any]:
    """Method and settings; settings of later versions have their defaults."""
    return _settings(run.describe()["method"], run.config)


def _settings(method: str, config: TrainConfig) -> dict[str, Any]:
    return {"method": method, **config.model_dump(mode="json")}


def _changed(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings that differ."""
    return [key for key in was.keys() | now.keys() if was.get(key) != now.get(key)]


def alone(run: Run) -> AbstractContextManager[None]:
    """A context that keeps other processes from training the run."""
    busy = f"run {run.name!r} is being trained by another process; wait for it or stop it"
    return exclusive(run.path.parent / f".{run.name}.lock", busy)


def is_replacing(run: Run) -> bool:
    """Tell if an earlier run is set aside, to come back if this one fails."""
    return _aside(run).exists()


def _aside(run: Run) -> Path:
    return run.path.with_name(f".{run.name}.replaced")


@contextmanager
def set_aside(run: Run, overwrite: bool) -> Iterator[None]:
    """With ``overwrite``, keep the run that was there until the new one is finished.

    It comes back if training fails, or is interrupted before the new run has its settings; after
    a later interruption the new run is the one to resume.
    """
    aside = _aside(run)
    if overwrite and run.exists:
        if aside.exists():  # an earlier replacement never finished; the run it was to replace stays
            _discard(run.path, heir=aside)
        else:
            run.path.rename(aside)
    try:
        yield
    except BaseException as error:
        interrupted = not isinstance(error, Exception)  # leaves the new run to be resumed
        if aside.exists() and not (interrupted and run.exists):
            if run.path.exists():
                _discard(run.path, heir=aside)
            aside.rename(run.path)
        raise
    if aside.exists():
        _discard(aside, heir=run.path)


def _discard(folder: Path, heir: Path) -> None:
    """Remove a run's folder; files of its owner, such as notes, move to ``heir``."""
    remove_contents(folder)
    for path in folder.iterdir():
        path.rename(heir / path.name)
    folder.rmdir()


def remove_contents(folder: Path) -> None:
    """Remove from a run's folder all that training and harvests wrote; of a link the link alone."""
    for name in CONTENTS:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    sweep(folder)
