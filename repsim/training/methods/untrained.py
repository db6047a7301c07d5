"""The control: an extractor as it was initialised, without a step."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.optim import Optimizer

from repsim.networks import Discriminator, ResNet
from repsim.training.config import ResNetConfig
from repsim.training.method import Batch, DataFacts, Method, Training


class Config(ResNetConfig):
    """The network of another method, with that method's own initialisation."""

    epochs: Literal[0] = Field(0, description="nothing is trained")
    network: Literal["resnet", "discriminator"] = Field("resnet", description="which network")


class Untrained(Method):
    """No losses, no optimisers."""

    config_class = Config
    extractors = ("encoder",)
    config: Config

    def __init__(self, config: Config, facts: DataFacts) -> None:
        super().__init__(config, facts)
        if config.network == "resnet":
            resnet = ResNet(facts.channels, config.depth, config.width)
            resnet.head = nn.Linear(resnet.feature_dim, facts.classes)
            self.networks = {"encoder": resnet}
        else:
            self.networks = {"encoder": Discriminator(facts.channels, width=config.width)}

    def optimizers(self) -> dict[str, Optimizer]:
        return {}

    def step(self, batch: Batch, training: Training) -> dict[str, Tensor]:
        raise AssertionError("an untrained network takes no step")


METHOD = Untrained
