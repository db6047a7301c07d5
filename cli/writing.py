"""The files of a command's results: their paths, checked to be free before work begins."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim.cli.drawing import Drawing
from repsim.cli.reporting import say, show_files, show_json, tell
from repsim.cli.tables import show_table
from repsim.errors import UsageError
from repsim.files import refuse_existing
from repsim.nested import mappings

if TYPE_CHECKING:
    from repsim.activations.analyses.base import Analysis, Inputs
    from repsim.results import Result

#: The record of a result that tells its inputs from others.
_PRINT = "inputs_sha256"


#: Key of the origins of a figure of several results, by their networks.
TOGETHER = "together"


@dataclass(frozen=True)
class Outlet:
    """Results of an analysis written to their files, and shown.

    Attributes:
        analysis: makes the results.
        splits: the part of the image set, by the name of the part.
        data: the image set, where it is not the networks' own.
        drawing: the request for figures.
        output: the file that was asked for; None for the usual name.
        overwrite: replace files that exist.
        written: the files so far.
    """

    analysis: Analysis[Any]
    splits: Mapping[str, str | None]
    data: str | None
    drawing: Drawing
    output: Path | None
    overwrite: bool
    written: list[Path] = field(default_factory=list)

    def of(self, analysis: Analysis[Any]) -> Outlet:
        """The same of an analysis with other settings."""
        return replace(self, analysis=analysis)

    def path(self, names: Sequence[str]) -> Path:
        """The file of a result about networks of these names."""
        from repsim.results import Table, result_file

        if self.output is not None:
            is_table = self.output.suffix == ".csv" and issubclass(self.analysis.result, Table)
            return result_file(self.output.with_suffix(".json") if is_table else self.output)
        return Path("results") / f"{self.analysis.stem(names, self.data, self.splits)}.json"

    def reserve(self, names: Sequence[str]) -> Path:
        """The file of a result, once all that goes with it is known to be free.

        Raises:
            UsageError: a file exists.
        """
        path = self.path(names)
        for file in (path, path.with_suffix(".csv"), *self._files(path, self.analysis.figures)):
            refuse_existing(file, self.overwrite)
        return path

    def find(self, names: Sequence[str], wanted: Sequence[Inputs]) -> Any:
        """The result of these inputs, if it is there already; None where there is none.

        Args:
            names: of the networks.
            wanted: the inputs of the analysis; of each network where results are joined.

        Raises:
            UsageError: the file has another result.
        """
        from repsim.results import Result

        path = self.path(names)
        if self.overwrite or not path.is_file():
            return None
        found: Result = Result.load(path)
        prints = {each[_PRINT] for each in mappings(found.provenance) if _PRINT in each}
        if prints == {self.analysis.fingerprint(each) for each in wanted}:
            return found
        differ = list(_differences([self.analysis.identity(each) for each in wanted], found))
        because = f", made from other inputs ({', '.join(differ[:3])})" if differ else ""
        raise UsageError(f"{path} exists already{because}; choose another name or pass --overwrite")

    def has_joint(self, names: Sequence[str]) -> bool:
        """True if the figures of several results are there, or there are none of the analysis."""
        files = self._files(self.path(names), self.analysis.joint_figures)
        return not files or any(file.is_file() for file in files)

    def reserve_joint(self, names: Sequence[str]) -> Path:
        """The file whose name the figures of several results take; it is not written itself."""
        path = self.path(names)
        for file in self._files(path, self.analysis.joint_figures):
            refuse_existing(file, self.overwrite)
        return path

    def _files(self, path: Path, suffixes: Iterable[str]) -> list[Path]:
        """The files of figures, with their captions."""
        return [
            path.with_name(f"{path.stem}-{suffix}.{ending}")
            for suffix in suffixes
            for ending in (*self.drawing.formats, "txt")
        ]

    def check_one_name(self, count: int) -> None:
        """Raise ``UsageError`` where one file was named for several results."""
        if self.output is not None and count > 1:
            raise UsageError(
                f"--output names one file, but {count} extractors were asked for; leave it out, or "
                "name one RUN:EXTRACTOR"
            )

    def save(self, result: Any, path: Path) -> None:
        """Write a result, its table and its figures."""
        from repsim import figures

        self.written.extend(result.save(path, overwrite=self.overwrite))
        if self.analysis.figures:
            drawn = figures.draw(
                result, **self.drawing.options(), used=self.drawing.used, **self.analysis.drawing()
            )
            if list(drawn) == [""]:  # the one figure of its kind, which the analysis names
                drawn = {self.analysis.figures[0]: drawn[""]}
            known = {key: drawn[key] for key in self.analysis.figures if key in drawn}
            estimator = self.analysis.drawing().get("estimator", "unbiased")
            self._draw(known, {**result.provenance, **self.drawing.record(path, estimator)}, path)

    def keep(self, path: Path) -> None:
        """Say that a result is there already."""
        say(
            f"note: {path} is there already, from the same inputs; nothing was computed or drawn "
            f"(--overwrite does so again, repsim figure {path} draws it in other ways)"
        )

    def save_joint(self, results: Mapping[str, Any], path: Path) -> None:
        """Write the figures of several results together, by the names of their networks."""
        from repsim import figures

        if self.analysis.joint_figures:
            options: dict[str, Any] = {**self.drawing.options(), "used": self.drawing.used}
            drawn = figures.draw_together([*results.values()], **options)
            origins = {name: result.provenance for name, result in results.items()}
            self._draw(drawn, {TOGETHER: origins}, path)

    def _draw(self, drawn: Mapping[str, Any], provenance: dict[str, Any], path: Path) -> None:
        from repsim import figures

        for suffix, figure in drawn.items():
            stem = path.with_name(f"{path.stem}-{suffix}")
            written = figures.save(
                figure,
                stem,
                provenance=provenance,
                formats=self.drawing.formats,
                overwrite=self.overwrite,
            )
            self.written.extend(written)

    def show(self, results: Sequence[Any], *, as_json: bool) -> None:
        """Print remarks, then tables or JSON, then the files."""
        from repsim.activations.analyses.base import TextTable

        for result in results:
            for note in self.analysis.remarks(result):
                say(f"note: {note}")
        for remark in self.drawing.remarks() if self.written else ():
            say(remark)
        if as_json:
            show_json(self.analysis.content(results))
        for shown in () if as_json else self.analysis.report_all(results):
            if isinstance(shown, TextTable):
                show_table(shown.title, shown.columns, shown.rows)
                if shown.footnote:
                    say(shown.footnote)
            else:
                tell(shown)
        show_files(self.written, as_json=as_json)


def check_paths(paths: Sequence[Path], labels: Sequence[str]) -> None:
    """Raise ``UsageError`` where two results, or two stores, would be one file."""
    for path in paths:
        if paths.count(path) > 1:
            same = [label for label, each in zip(labels, paths, strict=True) if each == path]
            raise UsageError(
                f"{' and '.join(same)} would both be written to {path}; ask for them apart, each "
                "with an --output of its own"
            )


def _differences(wanted: Sequence[Mapping[str, Any]], found: Result) -> Iterator[str]:
    """The records of inputs that a result was made without, each with its value."""
    before = list(mappings(found.provenance))
    for record in mappings(list(wanted)):
        for key, value in record.items():
            if isinstance(value, (str, int, float, bool)):
                known = [each[key] for each in before if key in each]
                if known and value not in known:
                    yield f"{key} {_short(known[0])}, now {_short(value)}"


def _short(value: Any) -> str:
    """A value in a message; a digest by its first digits."""
    text = str(value)
    return text if len(text) < 40 else f"{text[:12]}..."
