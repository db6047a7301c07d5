"""Measure how far an encoder and a generator invert each other.

    repsim inversion bigan
    repsim inversion bigan latent_regressor autoencoder --split 'test[:1000]'

Euclidean distances, mean over examples: of images x to G(E(x)), of generated images G(z) to
G(E(G(z))), and of their noise z to E(G(z)). Beside each stands the same distance with the examples
shuffled; their ratio is 1 where a reconstruction says nothing of its own image. An autoencoder has
images alone. Each network normalises by statistics of the side that it is shown. Runs the networks
themselves: nothing needs to be harvested.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from repsim.activations.analyses import base
from repsim.activations.analyses.base import Analysis, Context, Inputs, TextTable
from repsim.activations.harvesting.provenance import data_provenance, extractor_provenance
from repsim.ambient import full_precision
from repsim.batch_statistics import put
from repsim.configuration import setting
from repsim.data import to_input
from repsim.devices import find_device
from repsim.errors import UsageError
from repsim.results import Table

if TYPE_CHECKING:
    from jaxtyping import Float

    from repsim.activations.harvesting.brought import Brought
    from repsim.data import ImageSet
    from repsim.training.run import Extractor
    from repsim.training.sides import Side

#: Images shown to a network together.
_TOGETHER = 500


@dataclass(frozen=True)
class Config(base.Config):
    """Settings of a measurement of inversion."""

    seed: int = setting(0, "of the noise, and of the order of shuffled examples", ge=0, le=1 << 62)


@dataclass(frozen=True)
class Inversion:
    """The distance of examples to what is made of them again.

    Attributes:
        of: the examples: ``images``, ``generated`` images or ``codes``.
        n: their number.
        error: mean Euclidean distance of an example to its own reconstruction.
        shuffled: the same to the reconstruction of another example.
        ratio: of the two.
    """

    of: str
    n: int
    error: float
    shuffled: float
    ratio: float


def inversion_of(
    of: str, examples: Float[Tensor, "n ..."], found: Float[Tensor, "n ..."], seed: int = 0
) -> Inversion:
    """Distances of examples to their reconstructions, and to others' (Donahue et al. 2017).

    Args:
        of: what the examples are.
        examples: two at least.
        found: what was made of each again.
        seed: of the order in which each example is beside the next one's reconstruction.

    Raises:
        UsageError: a single example.
    """
    n = len(examples)
    if n < 2:
        raise UsageError(f"{of} are {n}; expected two at least, one to shuffle with")
    x, y = (each.flatten(1).double() for each in (examples, found))
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(x.device)
    error = float((x - y).norm(dim=1).mean())
    shuffled = float((x[order] - y[order.roll(1)]).norm(dim=1).mean())
    return Inversion(of, n, error, shuffled, error / shuffled)


@dataclass(frozen=True)
class Examples:
    """Examples on the CPU, and what a run makes of them again.

    Attributes:
        images: (n, c, h, w) real images x.
        again: G(E(x)).
        codes: (n, latent) noise z; None without a generator of noise, as the others then are.
        generated: G(z).
        codes_again: E(G(z)).
        generated_again: G(E(G(z))).
    """

    images: Tensor
    again: Tensor
    codes: Tensor | None = None
    generated: Tensor | None = None
    codes_again: Tensor | None = None
    generated_again: Tensor | None = None

    def inversions(self, seed: int = 0) -> list[Inversion]:
        """Distances of each kind of examples, shuffled in the order of a seed."""
        pairs = {
            "images": (self.images, self.again),
            "generated": (self.generated, self.generated_again),
            "codes": (self.codes, self.codes_again),
        }
        return [
            inversion_of(of, examples, found, seed)
            for of, (examples, found) in pairs.items()
            if examples is not None and found is not None
        ]


@full_precision()
@torch.no_grad()
def made_again(
    extractor: Extractor, images: ImageSet, seed: int = 0, *, device: torch.device | str = "cpu"
) -> Examples:
    """Images, and as many generated ones with their noise, as a run makes them again.

    Args:
        extractor: the encoder.
        images: real images.
        seed: of the noise.
        device: where to compute.

    Raises:
        UsageError: a run that makes no images of codes.
    """
    # Settings of runs need pydantic, which reading results does not.
    from repsim.training.adversarial import noise_for
    from repsim.training.inverting import Inverting, as_code
    from repsim.training.sides import measure_generator

    method = extractor.run.load_method(extractor.epoch)
    for network in method.networks.values():
        network.to(device)
    x = to_input(images.images)
    if not isinstance(method, Inverting):
        if method.reconstructions(x[:2].to(device)) is None:
            raise _nothing_to_invert(extractor)
        return Examples(x, _shown(method.reconstructions, x, device))
    config = method.config
    put(method.networks["generator"], measure_generator(method))

    def codes(side: Side, images: Tensor) -> Tensor:
        encoder = extractor.load(side).to(device)
        return _shown(lambda some: as_code(config, encoder(some)), images, device)

    z = noise_for(config, len(images), generator=torch.Generator().manual_seed(seed))
    made = _shown(method.made_of, z, device)
    again = codes("generated", made)
    return Examples(
        images=x,
        again=_shown(method.made_of, codes("real", x), device),
        codes=z,
        generated=made,
        codes_again=again,
        generated_again=_shown(method.made_of, again, device),
    )


def inversions_of_run(
    extractor: Extractor, images: ImageSet, seed: int = 0, *, device: torch.device | str = "cpu"
) -> list[Inversion]:
    """Distances of a run's encoder and generator; arguments and errors as of ``made_again``."""
    return made_again(extractor, images, seed, device=device).inversions(seed)


def _shown(network: Any, rows: Tensor, device: torch.device | str) -> Tensor:
    """The output of a network for rows, on the CPU."""
    return torch.cat([network(part.to(device)).float().cpu() for part in rows.split(_TOGETHER)])


def _nothing_to_invert(extractor: Extractor | Brought) -> UsageError:
    return UsageError(
        f"{extractor.label} makes no images of codes again; expected a run of bigan, "
        "latent_regressor, joint_latent_regressor or autoencoder"
    )


class InversionOf(Analysis[Config]):
    """Reconstruction errors of encoders and generators, both ways."""

    config_class = Config
    result = Table
    layer_settings = ()
    figures = ("table",)

    def compute(self, inputs: Inputs, context: Context) -> Table:
        (extractor,), images = inputs.extractors, inputs.images["compared"]
        if extractor.run is None:
            raise _nothing_to_invert(extractor)
        device = find_device(context.device)
        found = inversions_of_run(extractor, images, self.config.seed, device=device)
        return Table.of(
            "inversion",
            [{"network": inputs.names[0], **asdict(each)} for each in found],
            descriptions={
                "error": "mean Euclidean distance to the own reconstruction",
                "shuffled": "the same to another example's",
                "ratio": "of the two: 1 where reconstructions say nothing of their own",
            },
            provenance={
                "network": extractor_provenance(extractor),
                "images": data_provenance(images),
            },
        )

    def images_shown(self, sizes: Mapping[str, int]) -> int:
        return 3 * sizes["compared"]

    def report_all(self, results: Sequence[Table]) -> Iterator[TextTable | str]:
        rows = [row for result in results for row in result.rows()]
        columns = ("network", "of", "n", "error", "shuffled", "ratio")
        yield TextTable(
            "distance of examples to their reconstructions",
            columns,
            [[row[column] for column in columns] for row in rows],
        )


ANALYSIS = InversionOf
