"""Find the images that drive the similarity of two layers.

    repsim influence simclr supervised --layer head
    repsim influence simclr@stem supervised@head --top 3

The contribution of each example to the unbiased CKA of two layers: the value less the value without
it, exact. Prints the examples that make the layers most alike, and those that set them most apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs, TextTable
from repsim.configuration import setting
from repsim.errors import UsageError
from repsim.measures import influence as influence_of
from repsim.measures.kernels import KernelLike, parse_kernel
from repsim.results import Table
from repsim.sources import check_comparable, id_text

if TYPE_CHECKING:
    from repsim.sources import ActivationSource


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of the influence of examples."""

    layer: str | None = setting(
        None, "layer of both networks; must be given", tag="{}", metavar="ADDRESS", unset=""
    )
    layer_b: str | None = setting(
        None, "layer of the second network", tag="{}", metavar="ADDRESS", unset="the same"
    )
    kernel: str = setting("linear", base.KERNEL, tag="{}")
    common: bool = setting(False, base.COMMON, before=False)
    top: int = setting(
        5, "examples to show at either end; the result has all", ge=1, decides=False, tag=""
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_kernel(self.kernel)


def influence_table(
    a: ActivationSource,
    b: ActivationSource,
    *,
    layer: str,
    layer_b: str | None = None,
    kernel: KernelLike = "linear",
) -> Table:
    """The influence of every example on the CKA of a layer of ``a`` with one of ``b``.

    Args:
        a: activations of the examples.
        b: activations of the same examples.
        layer: of ``a``.
        layer_b: of ``b``; by default the same.
        kernel: as in ``repsim.cka``.

    Returns:
        A row an example: ``example``, ``label`` where ``a`` has labels, and ``influence`` in units
        of CKA.

    Raises:
        MismatchError: a and b hold different examples.
        UsageError: a layer that is not there.
    """
    check_comparable(a, b)
    x, y = a.rows(layer, 0, a.n), b.rows(layer_b or layer, 0, b.n)
    added = influence_of(x, y, kernel=kernel)
    ids = range(len(added)) if a.example_ids is None else a.example_ids
    labels = getattr(a, "labels", None)
    records = [
        {
            "example": id_text(example),
            **({} if labels is None else {"label": int(labels[k])}),
            "influence": float(added[k]),
        }
        for k, example in enumerate(ids)
    ]
    provenance = {
        "a": a.provenance(),
        "b": b.provenance(),
        "names": [a.name, b.name],
        "layers": [layer, layer_b or layer],
        "kernel": str(kernel),
    }
    return Table.of("influence", records, provenance=provenance)


class Influence(Analysis[Config]):
    """The influence of every example on the CKA of two layers."""

    config_class = Config
    networks = "pair"
    result = Table
    reads_stores = True
    layer_settings = ("layer", "layer_b")
    leading = ("layer", "layer_b")
    uses = ("target",)

    def compute(self, inputs: Inputs, context: Context) -> Table:
        config = self.config
        if config.layer is None:
            raise UsageError("influence is of one layer; say --layer, or as in simclr@head")
        sources = [store["compared"] for store in inputs.stores]
        return influence_table(
            sources[0],
            sources[-1],
            layer=config.layer,
            layer_b=config.layer_b,
            kernel=config.kernel,
        )

    def with_layers(self, patterns: Sequence[str | None]) -> Analysis[Config]:
        """The same of other layers; a name decides for its own network alone."""
        settings = (self.config.layer, self.config.layer_b or self.config.layer)
        if any(patterns):
            patterns = [named or other for named, other in zip(patterns, settings, strict=True)]
        return super().with_layers(patterns)

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        return sizes["compared"]

    def tags(self) -> dict[str, str]:
        found = super().tags()
        if found.get("layer_b") == found.get("layer"):
            found.pop("layer_b", None)
        return found

    def content(self, results: Sequence[Table]) -> list[dict[str, Any]]:
        return _ranked(results[0])

    def report(self, result: Table) -> Iterator[TextTable | str]:
        ranked, top = _ranked(result), self.config.top
        shown = ranked if len(ranked) <= 2 * top else ranked[:top] + ranked[-top:]
        (name_a, name_b), (layer_a, layer_b) = (
            result.provenance[key] for key in ("names", "layers")
        )
        yield (
            f"what each of {len(ranked):,} examples adds to the {result.provenance['kernel']} CKA "
            f"of {name_a} {layer_a} and {name_b} {layer_b}, in thousandths"
        )
        yield TextTable(
            "most and least" if len(shown) < len(ranked) else "",
            list(ranked[0]),
            [(*list(row.values())[:-1], 1000 * row["influence"]) for row in shown],
        )


def _ranked(result: Table) -> list[dict[str, Any]]:
    """The rows, from the example that makes the layers most alike."""
    return sorted(result.rows(), key=lambda row: -row["influence"])


ANALYSIS = Influence
