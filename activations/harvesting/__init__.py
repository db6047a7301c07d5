"""Networks and examples into stores."""

from repsim.activations.harvesting.harvest import harvest, plan_harvest
from repsim.activations.harvesting.heads import generated_images, head_features, linear_head
from repsim.activations.harvesting.loaders import ShuffledLoader
from repsim.activations.harvesting.runs import ImageLoader, harvest_run

__all__ = [
    "ImageLoader",
    "ShuffledLoader",
    "generated_images",
    "harvest",
    "harvest_run",
    "head_features",
    "linear_head",
    "plan_harvest",
]
