"""Image sets as tensors: named sets, folders and ``.npz`` files, their splits, and augmentation.

``repsim.data.fetch`` downloads and ``repsim.data.augment`` transforms; both are imported by name.
"""

from repsim.data.catalog import SETS, load
from repsim.data.imageset import ImageSet, to_input
from repsim.data.splits import Split

__all__ = ["SETS", "ImageSet", "Split", "load", "to_input"]
