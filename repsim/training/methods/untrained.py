"""The control: an extractor as it was initialised, without a step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor
from torch.optim import Optimizer

from repsim.configuration import build_config
from repsim.errors import UsageError
from repsim.networks.image_spec import ImageSpec
from repsim.training.config import ResNetConfig, TrainConfig
from repsim.training.method import Batch, Method, StepContext
from repsim.training.methods import find_method


class Config(ResNetConfig):
    """The network of another method, with that method's own initialisation."""

    epochs: Literal[0] = Field(0, description="nothing is trained")
    of: str = Field(
        "supervised", description="the method it controls; its first extractor, or METHOD:EXTRACTOR"
    )


class Untrained(Method):
    """No losses, no optimisers: the weights at which the method begins, bit for bit.

    The method has its own defaults but for the seed, which the loop takes care of, and the settings
    of networks that both have.
    """

    config_class = Config
    extractors = ("encoder",)
    config: Config

    def __init__(self, config: Config, spec: ImageSpec) -> None:
        super().__init__(config, spec)
        name, _, extractor = config.of.partition(":")
        method = find_method(name)
        extractor = extractor or method.extractors[0]
        if method is Untrained or extractor not in method.extractors:
            raise UsageError(
                f"of is {config.of!r}; expected a method that is trained, or METHOD:EXTRACTOR"
            )
        built = method(build_config(method.config_class, _common(config, method), "of"), spec)
        self.networks = {"encoder": built.networks[extractor]}

    def optimizers(self) -> dict[str, Optimizer]:
        return {}

    def step(self, batch: Batch, training: StepContext) -> dict[str, Tensor]:
        raise AssertionError("an untrained network takes no step")


def _common(config: Config, method: type[Method]) -> dict[str, object]:
    """The settings of networks that the control and the method have both."""
    own = Config.model_fields.keys() - TrainConfig.model_fields.keys()
    return {key: getattr(config, key) for key in own & method.config_class.model_fields.keys()}


METHOD = Untrained
