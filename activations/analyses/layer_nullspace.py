"""Measure the share of each layer's input that lies in the null space of its weight.

    repsim layer-nullspace supervised
    repsim layer-nullspace simclr@bg1.* --images 1000

Splits the input patches of every convolution and linear layer into the row space of its weight and
the null space, which the layer cannot see. Runs the networks themselves: nothing needs to be
harvested.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs, TextTable
from repsim.activations.capture.batch_axis import BatchAxisLike
from repsim.activations.capture.functions import Allowed
from repsim.activations.capture.modules import device_of, modules_of, unwrap
from repsim.activations.capture.unchanged import Unchanged
from repsim.activations.harvesting.loaders import ImageLoader
from repsim.activations.harvesting.passes import Passes
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.activations.harvesting.sampling import check_rows
from repsim.ambient import full_precision, settled
from repsim.configuration import setting
from repsim.dense import as_labels
from repsim.devices import float64_device
from repsim.errors import CaptureError, NonFiniteError, ShapeError, UsageError
from repsim.layers import Address, select_layers
from repsim.nullspace.convolutions import (
    PatchSpace,
    filtered,
    patch_space,
    patch_sums,
)
from repsim.nullspace.shares import share
from repsim.nullspace.windows import Window
from repsim.progress import Progress, notebook_bar
from repsim.results import NullSpaceEntry, Table
from repsim.results.images import told

#: Images at a time: their patches are many.
_BATCH = 50

#: Reason for a share that is missing.
_EQUAL = "no energy but what rounding leaves: the patches are all the same"

#: Columns of a result, each a field of an entry.
_COLUMNS = ("layer", "group", "quantity", "rank", "dim", "value", "low", "high", "chance", "note")


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a report on layers."""

    layers: str | None = setting(None, base.LAYERS, tag="{}", metavar="PATTERN", unset="all")
    images: int = setting(500, "images to look at, at most", ge=1)


@full_precision()
def layer_null_spaces(
    network: nn.Module,
    loader: Any,
    *,
    labels: Any | None = None,
    generated: Any | None = None,
    layers: str | Sequence[str] | None = None,
    rank_tolerance: float | None = None,
    device: torch.device | str | None = None,
    allow_random: bool = False,
    allow_batch: bool = False,
    allow_grad: bool = False,
    batch_axis: BatchAxisLike | None = None,
    progress: Progress = notebook_bar,
) -> list[NullSpaceEntry]:
    """The null space's share of the energy of the patches that each layer reads.

    Every ``Conv2d`` and ``Linear`` that runs, in order of execution, by its input; one that runs
    several times or has several addresses counts once, with all it was given, under the first
    address. Transposed convolutions, and classes that compute with something else than their
    ``weight``, are left out. The network sees the images twice: for the mean patches, and for the
    energies about them.

    Convolutions are taken in float32 on the CPU (float64 for such a network, and on CUDA, where
    float32 may be TF32), sums in float64: shares are good to about 1e-6. Rounding is relative to
    the patches as they are: a centred share is good to 1e-6 times mean over spread, and NaN where
    the mean is 10,000 times the spread (in float64, a million times).

    Args:
        network: runs in evaluation mode, without gradients.
        loader: gives the same batches each time, such as an ``ImageLoader``; or the images
            themselves, floating point.
        labels: (n,) whole numbers, in the loader's order; with them each class is a group of its
            own. Negative ones belong to none.
        generated: images to compare with, in either form; a group of their own.
        layers: addresses or globs among those layers; by default all.
        rank_tolerance: as for ``repsim.nullspace.row_space``.
        device: where to run; by default where the network lies.
        allow_random: look at a network that is random; otherwise it is refused.
        allow_batch: look at a network whose layers depend on the batch of an example, or on batches
            before it; otherwise it is refused.
        allow_grad: let the network compute gradients in its forward.
        batch_axis: axis that holds the examples, as for ``repsim.harvest``.
        progress: told the images seen, of each pass.

    Returns:
        Entries by layer, group and quantity, each with ``layer``, ``rank`` and ``dim``.
        ``layer_energy`` is the null space's share of Σ|p|² over all patches p of the group,
        ``layer_energy_centred`` its share of Σ|p - m|², m being the group's mean patch over
        positions and examples. ``group`` is ``all`` for the loader's examples, ``class 3`` or
        ``generated``. ``low`` and ``high`` end a 95 % interval over examples, see ``share``;
        ``chance`` is 1 - rank / dim. NaN where there is no energy, or as
        good as none, as ``note`` says.

    Raises:
        UsageError: no such layer that runs, no images, or labels for an order that is not known.
        ShapeError: labels that are not one each.
        CaptureError: the network does not run on the images, a layer has no row for each, or the
            network is no function of the example.
        NonFiniteError: NaN or infinity in what a layer reads.
    """
    network = unwrap(network)
    target = float64_device(device_of(network) if device is None else device)
    network.to(target)
    modules = _layers_of(network, layers)
    given: dict[str, Any] = {
        "allowed": Allowed(allow_random, allow_batch, allow_grad),
        "batch_axis": batch_axis,
        "every": False,
        "names": set(),
    }
    names = [f"{layer}@input" for layer in modules]
    passes = {"all": Passes(network, loader, names, target, **given)}
    if labels is not None:
        check_rows(passes["all"].loader)
    if generated is not None:
        passes["generated"] = Passes(network, generated, names, target, **given)
    report = _reporter(progress, [each.examples for each in passes.values()])
    of_all = _Classes.of(labels)
    spaces: dict[str, PatchSpace] = {}
    found: dict[str, list[NullSpaceEntry]] = {}
    with Unchanged(network):
        for group, each in passes.items():
            classes = of_all if group == "all" else _Classes.of(None)
            means = _Means(modules, classes)
            classes.check(_show(each, modules, report, means.take), group)
            energies = _Centred(modules, spaces, means, rank_tolerance)
            n = _show(each, modules, report, energies.take)
            for layer in means.sums:
                records = energies.of(layer, n)
                entries = _entries(layer, spaces[layer], records, group, classes)
                found.setdefault(layer, []).extend(entries)
    return [entry for entries in found.values() for entry in entries]


def _layers_of(
    network: nn.Module, layers: str | Sequence[str] | None
) -> dict[str, nn.Conv2d | nn.Linear]:
    """The layers that are asked for, by the first address of each."""
    first: dict[nn.Conv2d | nn.Linear, str] = {}
    for address, module in modules_of(network).items():
        if address and isinstance(module, (nn.Conv2d, nn.Linear)) and _is_plain(module):
            first.setdefault(module, address)
    if not first:
        raise UsageError(
            f"{type(network).__name__} has no Conv2d or Linear layer within it, whose null space "
            "could be asked for"
        )
    chosen = set(select_layers(first.values(), layers, of=type(network).__name__))
    return {address: module for module, address in first.items() if address in chosen}


def _is_plain(module: nn.Conv2d | nn.Linear) -> bool:
    """True if it computes as its class does; others may normalise their weight on the way."""
    kind = nn.Conv2d if isinstance(module, nn.Conv2d) else nn.Linear
    names = [name for name in ("forward", "_conv_forward") if hasattr(kind, name)]
    return all(
        getattr(type(module), name) is getattr(kind, name) and name not in vars(module)
        for name in names
    )


def _window(module: nn.Conv2d | nn.Linear) -> Window:
    if isinstance(module, nn.Linear):
        return Window()
    if isinstance(module.padding, str):
        spans = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
        top, left = (s // 2 if module.padding == "same" else 0 for s in spans)
        bottom, right = (s - s // 2 if module.padding == "same" else 0 for s in spans)
    else:
        top, left = bottom, right = module.padding
    return Window(
        kernel=_pair(module.kernel_size),
        stride=_pair(module.stride),
        dilation=_pair(module.dilation),
        padding=(left, right, top, bottom),
        mode=module.padding_mode,
        groups=module.groups,
    )


def _pair(values: tuple[int, ...]) -> tuple[int, int]:
    down, right = values
    return down, right


def _maps(layer: str, module: nn.Module, x: Tensor, n: int) -> Tensor:
    """The input of a layer as maps (n, c, h, w); positions of a linear one lie below each other.

    Raises:
        CaptureError: it has no row for each example.
    """
    linear = isinstance(module, nn.Linear)
    if len(x) != n or (x.ndim < 2 if linear else x.ndim != 4):
        raise CaptureError(
            f"layer {layer!r} is given {tuple(x.shape)} for {n} examples; expected a row for each: "
            "choose other layers"
        )
    return x.reshape(n, -1, x.shape[-1]).transpose(1, 2)[..., None] if linear else x


def _show(
    passes: Passes,
    modules: Mapping[str, nn.Module],
    report: Callable[[int], None],
    take: Callable[[str, Tensor, int], None],
) -> int:
    """Make a pass that gives ``take`` the inputs of layers; return the number of examples.

    ``take`` is told the layer, its input as maps, and the number of the batch's first example.
    """

    def reduce(name: str, x: Tensor, rows: range) -> None:
        layer = Address.parse(name, modules).module
        take(layer, _maps(layer, modules[layer], x, len(rows)), rows.start)

    n = 0
    for rows, _ in passes.batches(reduce):
        n = rows.stop
        report(len(rows))
    return n


def _reporter(progress: Progress, sizes: Sequence[int | None]) -> Callable[[int], None]:
    """Progress over two passes of each source."""
    total = 0 if None in sizes else 2 * sum(size or 0 for size in sizes)
    done = 0

    def add(n: int) -> None:
        nonlocal done
        done += n
        progress(done, max(total, done), "")

    return add


@dataclass(frozen=True)
class _Classes:
    """The classes of examples: what each is called, and (n,) where each example's stands in them.

    Examples of no class stand behind the last. Without labels there are neither.
    """

    names: list[str]
    index: Tensor | None

    @classmethod
    def of(cls, labels: Any | None) -> _Classes:
        if labels is None:
            return cls([], None)
        given = as_labels(labels, "labels").cpu()
        if given.ndim != 1 or given.is_floating_point():
            raise ShapeError(
                f"labels are {given.dtype} of shape {tuple(given.shape)}; expected a whole number "
                "for each example"
            )
        known = given[given >= 0].unique()
        index = torch.searchsorted(known, given).masked_fill(given < 0, len(known))
        return cls([f"class {int(each)}" for each in known], index)

    def rows(self, begin: int, n: int) -> Tensor:
        """The places of examples ``begin`` to ``begin + n``."""
        index = torch.zeros(n, dtype=torch.long)
        return index if self.index is None else self.index[begin : begin + n]

    def check(self, n: int, group: str) -> None:
        if not n:
            raise UsageError(f"the loader gave no images ({group}); expected at least one")
        if self.index is not None and len(self.index) != n:
            raise ShapeError(f"the loader gave {n} examples, labels has {len(self.index)}")


class _Means:
    """First pass: the mean patch that each layer reads, over all examples and those of a class."""

    def __init__(self, modules: Mapping[str, nn.Conv2d | nn.Linear], classes: _Classes) -> None:
        self.classes = classes
        self.windows = {layer: _window(module) for layer, module in modules.items()}
        self.sums: dict[str, Tensor] = {}  #: layer to (classes + 1, dim), in order of execution
        self._patches: dict[str, Tensor] = {}

    @settled()
    def take(self, layer: str, x: Tensor, begin: int) -> None:
        index = self.classes.rows(begin, len(x)).to(x.device)
        if len(index) != len(x):
            return  # ``check`` will say that the labels do not suffice
        window = self.windows[layer]
        sums = patch_sums(x, window)
        if layer not in self.sums:
            size = len(self.classes.names) + 1
            self.sums[layer] = sums.new_zeros(size, sums.shape[1])
            self._patches[layer] = sums.new_zeros(size)
        self.sums[layer].index_add_(0, index, sums)
        patches = torch.full_like(index, window.positions(x.shape[2:]), dtype=torch.float64)
        self._patches[layer].index_add_(0, index, patches)

    def of_all(self, layer: str) -> Tensor:
        """The mean over all examples, (1, dim)."""
        return self.sums[layer].sum(0, keepdim=True) / self._patches[layer].sum()

    def of_classes(self, layer: str) -> Tensor:
        """The mean of each class, (classes + 1, dim)."""
        return self.sums[layer] / self._patches[layer][:, None]


class _Centred:
    """Second pass: each example's energies as they are, about the common mean and its class's.

    ``of`` gives six columns: the null space's and the whole energy, of each of these.
    """

    def __init__(
        self,
        modules: Mapping[str, nn.Conv2d | nn.Linear],
        spaces: dict[str, PatchSpace],
        means: _Means,
        rank_tolerance: float | None,
    ) -> None:
        self.modules = modules
        self.spaces = spaces
        self.means = means
        self.tolerance = rank_tolerance
        self._records: dict[str, dict[int, Tensor]] = defaultdict(dict)

    @settled()
    def take(self, layer: str, x: Tensor, begin: int) -> None:
        space, window = self._space(layer, x), self.means.windows[layer]
        index = self.means.classes.rows(begin, len(x)).to(x.device)
        parts, sums = filtered(x, space), patch_sums(x, window)
        common = self.means.of_all(layer).expand(len(x), -1)
        own = self.means.of_classes(layer)[index]
        about = (parts.about(sums, mean, space) for mean in (common, own))
        columns = [parts.energies(space), *about]
        found = torch.stack([part for each in columns for part in each], dim=1).cpu()
        if not bool(torch.isfinite(found[:, :2]).all()):
            raise NonFiniteError(
                f"layer {layer!r} is given NaN or infinity; check the network and its input"
            )
        records = self._records[layer]  # a layer may run several times in a batch
        records[begin] = records[begin] + found if begin in records else found

    def of(self, layer: str, n: int) -> Tensor:
        """(n, 6) float64, a row for each example.

        Raises:
            CaptureError: the layer did not run for all of them.
        """
        records = torch.cat(list(self._records[layer].values()))
        if len(records) != n:
            raise CaptureError(
                f"layer {layer!r} ran for {len(records)} of {n} examples; choose other layers"
            )
        return records

    def _space(self, layer: str, x: Tensor) -> PatchSpace:
        if layer not in self.spaces:
            # On CUDA, float32 convolutions are TF32 by default, which has three digits.
            exact = x.is_cuda or x.dtype == torch.float64
            self.spaces[layer] = patch_space(
                self.modules[layer].weight,
                self.means.windows[layer],
                dtype=torch.float64 if exact else torch.float32,
                rank_tolerance=self.tolerance,
            ).to(x.device)
        return self.spaces[layer]


def _entries(
    layer: str, space: PatchSpace, records: Tensor, group: str, classes: _Classes
) -> Iterator[NullSpaceEntry]:
    """Entries of a layer: of all examples of a source, then of each class."""
    # By group: its examples, and the columns that are about its own mean.
    rows: dict[str, tuple[Any, int]] = {group: (slice(None), 2)}
    if classes.index is not None:
        rows |= {name: (classes.index == k, 4) for k, name in enumerate(classes.names)}
    for name, (chosen, centred) in rows.items():
        of = records[chosen]
        negligible = space.mean_rounding * float(of[:, 1].sum())
        shares = {
            "layer_energy": share(of[:, 0], of[:, 1]),
            "layer_energy_centred": share(
                of[:, centred], of[:, centred + 1], negligible=negligible
            ),
        }
        for quantity, found in shares.items():
            yield NullSpaceEntry(
                quantity=quantity,
                part="null",
                group=name,
                layer=layer,
                rank=space.rank,
                dim=space.dim,
                value=found.value,
                low=found.low,
                high=found.high,
                chance=space.chance,
                chance_low=space.chance,
                chance_high=space.chance,
                note=_EQUAL if math.isnan(found.value) else "",
            )


class LayerNullspace(Analysis[Config]):
    """The null space's share of the energy of each layer's input, by class of the images."""

    config_class = Config
    result = Table

    def compute(self, inputs: Inputs, context: Context) -> Table:
        images = inputs.images["compared"]
        batch = min(_BATCH, self.config.images)
        loader = ImageLoader(images, batch, stop=self.config.images // batch)
        n = min(len(images), batch * len(loader))
        entries = layer_null_spaces(
            inputs.extractors[0].load(),
            loader,
            labels=None if images.labels is None else images.labels[:n],
            layers=self.config.layers,
            device=context.device,
            progress=context.progress,
        )
        records = [{key: getattr(entry, key) for key in _COLUMNS} for entry in entries]
        about = {
            "network": extractor_provenance(inputs.extractors[0]),
            **data_provenance(images),
            "images": n,
        }
        return Table.of(f"null spaces of {inputs.names[0]}", records, provenance=about)

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        return 4 * min(sizes["compared"], self.config.images)

    def report(self, result: Table) -> Iterator[TextTable | str]:
        """The shares of all images; the result has those of each class."""
        rows = [
            (row["layer"], f"{row['rank']} / {row['dim']}", *_shown(row), row["chance"])
            for row in result.rows()
            if (row["group"], row["quantity"]) == ("all", "layer_energy_centred")
        ]
        shown = told(result.provenance, result.provenance["images"])
        title = f"{result.name}: centred energy, {shown}"
        yield TextTable(title, ("layer", "rank", "null space", "95 % interval", "chance"), rows)


def _shown(row: Mapping[str, Any]) -> tuple[float | str, str]:
    """A share and its interval, or why it is missing."""
    if math.isnan(row["value"]):
        return "-", row["note"]
    return row["value"], f"{row['low']:.3f} to {row['high']:.3f}"


ANALYSIS = LayerNullspace
