"""Networks that settings ask for, made only as far as there is room for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from repsim.reading import Damaged
from repsim.space import in_words

#: Functions that make new tensors, as modules do for their weights.
_MAKERS = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn, torch.arange)


class Room(TorchFunctionMode):
    """A block in which networks are made, up to ``most`` bytes of tensors.

    A tensor takes memory when it is filled, so one that is too large is let go in time.

    Raises:
        Damaged: they take more.
    """

    def __init__(self, most: float) -> None:
        super().__init__()
        self._most = most
        self._taken = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if func in _MAKERS and isinstance(made, Tensor):
            self._taken += made.nbytes
            if self._taken > self._most:
                raise Damaged(
                    f"the networks that it describes take more than {in_words(self._most)}, for "
                    "which there is room"
                )
        return made
