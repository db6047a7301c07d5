"""The shape of an analysis: its settings, its inputs, its result, and its cost."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.activations.store.changes import INCIDENTAL
from repsim.common import Common, common_examples
from repsim.configuration import Config, Setting, settings_of
from repsim.errors import UsageError
from repsim.files import sha256, utf8
from repsim.progress import Progress, silent
from repsim.results import Result
from repsim.results.learned import learned_from

if TYPE_CHECKING:
    from repsim.activations.harvesting.brought import Brought
    from repsim.data import ImageSet
    from repsim.sources import ActivationSource
    from repsim.training.run import Extractor

C = TypeVar("C", bound=Config)

#: Descriptions of settings that several analyses have.
LAYERS = (
    "layers: all, odd, even, or addresses, globs, depth:N and, where a network runs, type:CLASS, "
    "separated by commas"
)
KERNEL = "kernel of the layers: linear, rbf, or rbf:FRACTION"
ESTIMATOR = "values to show; the result of stored activations holds both"
PERMUTATIONS = (
    "p-values from so many permutations of the examples of stored activations; all Gram matrices "
    "are held"
)

COMMON = "compare on the examples that both have, by their ids"

#: Networks of an analysis: one, or two that are compared.
Networks = Literal["one", "pair"]


@dataclass(frozen=True)
class Part:
    """A part of an image set that an analysis needs.

    Attributes:
        usual: its split unless another is given; None for the part a network was trained on.
        description: a phrase for help texts.
    """

    usual: str | None
    description: str


@dataclass(frozen=True)
class Context:
    """The circumstances of an analysis, on which no result depends.

    Attributes:
        device: where to compute.
        memory: bytes that rows, matrices and tiles may take; None for a quarter of what is free.
        progress: told how far it is.
    """

    device: str = "auto"
    memory: int | None = None
    progress: Progress = silent


@dataclass(frozen=True)
class Inputs:
    """The networks of an analysis, and the images or activations that it reads.

    Attributes:
        names: of the networks, as tables and figures have them.
        extractors: the networks, where the analysis runs them.
        images: image sets by part, where it runs networks.
        stores: activations of each network by part, where it reads them.
        own: the run whose augmentation ``own`` means; by default that of the first network.
        data: the image set as it was named, for what a standard augmentation may mirror.
        uncompared: remarks on activations whose images could not be looked at.
    """

    names: tuple[str, ...]
    extractors: tuple[Extractor | Brought, ...] = ()
    images: Mapping[str, ImageSet] = field(default_factory=dict)
    stores: tuple[Mapping[str, ActivationSource], ...] = ()
    own: Extractor | Brought | None = None
    data: str | None = None
    uncompared: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        """Name of the target that the labels are of; empty without labels."""
        for images in self.images.values():
            if images.target is not None:
                return images.target.name
        stores = (store for parts in self.stores for store in parts.values())
        names = (str(getattr(each, "target", "")) for each in stores)
        return next((name for name in names if name), "")


@dataclass(frozen=True)
class TextTable:
    """A table as a command prints it, with a remark below it."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    footnote: str = ""


class Analysis(Generic[C]):
    """An analysis with its settings; a subclass says what it reads and computes.

    A module of ``repsim.activations.analyses`` that names such a class ``ANALYSIS`` is a command of
    its name, an entry for papers and a key for their results.

    Attributes:
        config_class: its settings.
        networks: ``one``, or ``pair`` for two that are compared.
        parts: the parts of an image set that it needs, by name. The first is the option
            ``--split``, others are ``--NAME-split``.
        result: the kind of its result.
        joins: whether the results of several networks become one, by ``join``.
        layer_settings: the settings that take the layers of each network's name.
        leading: settings that come first in the name of a result.
        figures: the figures that a result may have, by the suffix of their files.
        joint_figures: those of several results together.
        style: the usual size of the figures.
        uses: parts of the context that it asks users for: ``memory``, ``device``, ``target``.
    """

    config_class: ClassVar[type[Config]] = Config
    networks: ClassVar[Networks] = "one"
    parts: ClassVar[Mapping[str, Part]] = {"compared": Part("test", "part of the data set")}
    result: ClassVar[type[Result]]
    joins: ClassVar[bool] = False
    layer_settings: ClassVar[tuple[str, ...]] = ("layers",)
    leading: ClassVar[tuple[str, ...]] = ()
    figures: ClassVar[tuple[str, ...]] = ()
    joint_figures: ClassVar[tuple[str, ...]] = ()
    style: ClassVar[str] = "column"
    uses: ClassVar[tuple[str, ...]] = ("device",)

    def __init__(self, config: C | None = None) -> None:
        self.config: C = self.config_class() if config is None else config  # type: ignore[assignment]

    @classmethod
    def spelled_out(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Settings as a user gave them, with those that stand for several spelled out."""
        return dict(values)

    @classmethod
    def name(cls) -> str:
        """Its name: that of its module."""
        return cls.__module__.rpartition(".")[2]

    @property
    def reads_stores(self) -> bool:
        """True if it reads activations that were harvested; otherwise it runs the networks."""
        return False

    @property
    def pooling(self) -> str:
        """The reduction of a store that leaves all it needs; see ``harvest``."""
        return "none"

    def run(self, inputs: Inputs, context: Context) -> Any:
        """The result, with the record of the analysis and its settings."""
        record: dict[str, Any] = {
            "analysis": self.name(),
            "settings": self.config.identity(),
            "inputs_sha256": self.fingerprint(inputs),
        }
        if getattr(self.config, "common", False):
            shared = _common(inputs)
            inputs = replace(inputs, stores=({"compared": shared.a}, {"compared": shared.b}))
            record["common"] = shared.record()
        if inputs.uncompared:
            record["uncompared"] = list(inputs.uncompared)
        result = self.compute(inputs, context)
        if "target" in self.uses:
            record["target"] = inputs.target
        return replace(result, provenance={**result.provenance, **record})

    def identity(self, inputs: Inputs) -> dict[str, Any]:
        """Everything that decides the result: the analysis, its settings, networks and images."""
        read = [
            {part: _decisive(store.provenance()) for part, store in each.items()}
            for each in inputs.stores
        ]
        return {
            "analysis": self.name(),
            "settings": self.config.identity(),
            "names": inputs.names,
            "read": read,
            "run": [_decisive(extractor_provenance(each)) for each in inputs.extractors],
            "images": {
                part: _decisive(data_provenance(each)) for part, each in inputs.images.items()
            },
            "augmented": inputs.own.label if inputs.own is not None else inputs.data,
        }

    def fingerprint(self, inputs: Inputs) -> str:
        """SHA-256 of ``identity``: results of the same inputs have the same one."""
        return sha256(json.dumps(self.identity(inputs), sort_keys=True, default=str).encode())

    def compute(self, inputs: Inputs, context: Context) -> Any:
        """Compute the result, in a subclass."""
        raise NotImplementedError

    def join(self, results: Sequence[Any]) -> Any:
        """The results of several networks as one."""
        raise NotImplementedError

    # --- cost

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        """The approximate number of images that each network sees, from the images of each part.

        Work that costs as much as showing an image counts too; harvesting does.
        """
        return sum(sizes.values())

    def seconds(self, sizes: Mapping[str, int]) -> float:
        """Seconds beside those, about."""
        return 2.0

    def stored_bytes(self, sizes: Mapping[str, int], store: Callable[[str], int]) -> int:
        """Bytes of the activations of a network that stay on the disk.

        Args:
            sizes: images of each part.
            store: gives the bytes of the store of a part.
        """
        return sum(map(store, sizes)) if self.reads_stores else 0

    # --- names

    @property
    def prefix(self) -> str:
        """The first word of the name of its result: that of its command."""
        return self.name().replace("_", "-")

    def tags(self) -> dict[str, str]:
        """Words in the name of a result by setting: of those that differ from their defaults."""
        values = {each: getattr(self.config, each.name) for each in settings_of(type(self.config))}
        return {
            each.name: tag(each, value) for each, value in values.items() if value != each.default
        }

    def split_tags(self, splits: Mapping[str, str | None]) -> list[str]:
        """Words in the name of a result for the splits, unless all are the usual ones."""
        if all(splits[name] == part.usual for name, part in self.parts.items()):
            return []
        return [split_slug(split) for split in splits.values() if split]

    def stem(self, names: Sequence[str], data: str | None, splits: Mapping[str, str | None]) -> str:
        """The name of its result: of which networks, on which images, with which settings.

        Args:
            names: of the networks, as they were asked for.
            data: the image set, where it is not the one that they were trained on.
            splits: the split of each part.
        """
        tags = self.tags()
        first = [tags.pop(key) for key in self.leading if key in tags]
        images = slug(data, "-.") if data else ""
        about = [*first, images, *self.split_tags(splits), *tags.values()]
        return "-".join([self.prefix, *map(network_slug, names), *filter(None, about)])

    # --- what users see

    def drawing(self) -> dict[str, Any]:
        """Settings that the figures of a result take."""
        return {}

    def content(self, results: Sequence[Any]) -> Any:
        """The results as a command prints them as JSON."""
        found = [result.to_dict() for result in results]
        return found if len(found) > 1 else found[0]

    def report_all(self, results: Sequence[Any]) -> Iterator[TextTable | str]:
        """The tables and lines that a command prints of all results."""
        for result in results:
            yield from self.report(result)

    def report(self, result: Any) -> Iterator[TextTable | str]:
        """The tables and lines that a command prints of a result."""
        rows = result.rows()
        columns = list(rows[0]) if rows else ["empty"]
        yield TextTable(self.prefix, columns, [list(row.values()) for row in rows])

    def remarks(self, result: Any) -> Iterator[str]:
        """All remarks on a result: on its images and the examples left out, and its ``notes``.

        Images that are called held out may be images that the network was trained on.
        """
        of_each = [each for each in result.provenance.values() if isinstance(each, Mapping)]
        for record in (result.provenance, *of_each):  # a joined result has one of each network
            yield from record.get("uncompared", ())
        if (common := result.provenance.get("common")) is not None:
            left_out = zip(common["left_out"], common["names"], strict=True)
            listed = ", ".join(f"{count:,} of {name}" for count, name in left_out)
            yield f"{common['n']:,} examples are in both; left out: {listed}"
        yield from learned_from(result.provenance)
        yield from self.notes(result)

    def notes(self, result: Any) -> Iterator[str]:
        """Remarks on a result that no table has."""
        return iter(())

    def with_layers(self, patterns: Sequence[str | None]) -> Analysis[C]:
        """The same of other layers: those that the names of its networks ask for.

        Args:
            patterns: of each network; None leaves its layers as the settings have them.
        """
        if any(patterns) and not self.layer_settings:
            raise UsageError(f"{self.name()} takes no layers; leave out @LAYERS")
        chosen = dict.fromkeys(pattern for pattern in patterns if pattern)
        if len(self.layer_settings) < len(patterns):  # one setting for both networks
            if len(chosen) > 1:
                raise UsageError(f"{self.name()} is of the same layers of both; say --layers")
            patterns = list(chosen)
        named = zip(self.layer_settings, patterns, strict=False)
        changed = {key: pattern for key, pattern in named if pattern}
        return type(self)(replace(self.config, **changed)) if changed else self


def _decisive(record: Mapping[str, Any]) -> dict[str, Any]:
    """A record without the entries on which no result depends."""
    return {key: each for key, each in record.items() if key not in INCIDENTAL}


def tag(setting: Setting, value: Any) -> str:
    """The part of a file's name that stands for a setting."""
    name = setting.name.replace("_", "-")
    if isinstance(value, bool):
        return name if value else f"no-{name}"
    text = ",".join(str(each).removesuffix(".0") for each in _each(value))
    # An address of a layer may have any sign in it; other settings have a grammar of their own.
    plain = slug(text, "." if name.startswith("layer") else "-.,:")
    return (f"{name}-{{}}" if setting.tag is None else setting.tag).format(plain)


def _each(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def slug(word: str, signs: str = ".") -> str:
    """A word as part of a file's name; a digest tells apart what would look alike.

    Args:
        word: any text.
        signs: those that need no digest, each between letters or digits.
    """
    known = re.fullmatch(rf"\w+(?:[{re.escape(signs)}]\w+)*", word)
    return _plain(word) if known else _with_digest(word)


def split_slug(split: str) -> str:
    """A part of an image set as part of a file's name: ``test[:100]`` is ``test-100``."""
    known = re.fullmatch(r"\w+(?:\[(?:\d+)?:\d+\])?", split)
    return _plain(split) if known else _with_digest(split)


def network_slug(name: str) -> str:
    """The name of a network as part of a file's name: ``mgan:classifier`` is ``mgan-classifier``.

    A run that is called ``mgan-classifier`` gets a digest.
    """
    if re.fullmatch(r"\w[\w.-]*:\w+", name):
        return _plain(name)
    ending = name.rpartition("-")[2] if "-" in name else ""
    return _with_digest(name) if ending in _extractors() else slug(name, "-.")


@cache
def _extractors() -> frozenset[str]:
    """Names of the extractors of methods that have several: those that follow a colon."""
    from repsim.training.methods import find_method, method_names

    each = (find_method(name).extractors for name in method_names())
    return frozenset(name for names in each if len(names) > 1 for name in names)


def _plain(word: str) -> str:
    return re.sub(r"\W+", "-", word).strip("-")


def _with_digest(word: str) -> str:
    return f"{_plain(word)}-{hashlib.sha256(utf8(word)).hexdigest()[:4]}".strip("-")


def _common(inputs: Inputs) -> Common:
    """The two networks on the examples that both have.

    Raises:
        UsageError: there is one network.
        MismatchError: as from ``common_examples``.
    """
    if len(inputs.stores) != 2:
        raise UsageError("--common is about two networks; name a second one with --b")
    return common_examples(*(store["compared"] for store in inputs.stores))


def check_batches(augmentation: str | None, permutations: int, estimator: str) -> None:
    """Raise ``UsageError`` for settings that need all examples at once, where networks run."""
    if augmentation is None:
        return
    if permutations:
        raise UsageError(
            "permutations need all examples at once, and networks that run see them in batches; "
            "leave out permutations, or augmentation"
        )
    if estimator == "biased":
        raise UsageError("there is no biased estimate from batches; take the estimator unbiased")
