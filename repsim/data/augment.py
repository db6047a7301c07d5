"""Random transforms of image batches, on the device that the batch is on.

Every transform is a module that takes float32 images of shape (n, c, height, width) in [-1, 1]
and returns such images. Each image draws its own parameters from torch's global random numbers, on
the CPU whatever the device, so that ``torch.manual_seed`` fixes them. All parameters of a batch are
drawn first, and come to another device in one transfer.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repsim.data.sets import find_set
from repsim.data.size import Size, sides
from repsim.errors import UsageError, choices

#: The parameters of a transform for each image of a batch, by name.
Parameters = dict[str, Any]

#: The methods whose augmentation ``standard`` makes.
STANDARD = ("simclr", "supervised")


def flips(name: str | os.PathLike[str]) -> bool:
    """Say of a set whether a mirrored image is still of its class; True for files and folders."""
    named = find_set(name)
    return named is None or named.flips


def identity() -> nn.Module:
    """A module that leaves images as they are."""
    return nn.Identity()


def crop_flip(size: int | Size, padding: int | Size = 4, *, flip: bool) -> nn.Module:
    """Shift each image by up to ``padding`` pixels, over black, and mirror half of them.

    The augmentation of He et al. (2016), section 4.2, for supervised training on CIFAR-10.

    Args:
        size: side of the images in pixels, or height and width.
        padding: width of the black border (-1) that each image is given and cropped from; or that
            above and below, and that at the sides.
        flip: whether to mirror, see ``flips``.
    """
    return _UnitRange(_Crop(sides(size), sides(padding)), *_mirror(flip))


def simclr(
    channels: int,
    size: int | Size,
    *,
    flip: bool,
    color_strength: float = 0.5,
    min_area: float = 0.08,
    blur: float = 0.0,
) -> nn.Module:
    """The augmentation of SimCLR; Chen et al. (2020), App. A, by default as for CIFAR-10 in B.9.

    A random crop of ``min_area`` to all of the image at 3/4 to 4/3 of its aspect, stretched back;
    a mirror image half of the time; colour jitter with probability 0.8; grey with probability
    0.2; blur by a Gaussian of 0.1 to 2 pixels, cut off at a tenth of the image, at least 3 pixels.
    Grey images have only brightness and contrast jittered.

    Args:
        channels: 1 or 3.
        size: side of the images in pixels, or height and width.
        flip: whether to mirror, see ``flips``.
        color_strength: s; brightness, contrast and saturation change by up to 0.8 s, hue by 0.2 s.
        min_area: the smallest share of the image that a crop may cover.
        blur: its probability; the paper's is 0.5, and 0 for CIFAR-10.

    Raises:
        UsageError: another number of channels.
    """
    import kornia.augmentation as K

    crop = _stretched_crop(size, min_area)
    strong, weak = 0.8 * color_strength, 0.2 * color_strength
    if channels == 3:
        jitter = _Jitter(strong, strong, strong, weak, probability=0.8)
        return _UnitRange(
            crop, *_mirror(flip), jitter, K.RandomGrayscale(p=0.2), *_blur(blur, size)
        )
    if channels == 1:
        jitter = _Jitter(strong, strong, probability=0.8)
        return _UnitRange(crop, *_mirror(flip), _OnGrey(jitter), *_blur(blur, size))
    raise UsageError(f"simclr augments images of 1 or 3 channels, got {channels}")


def inception(
    channels: int,
    size: int | Size,
    *,
    flip: bool,
    min_area: float = 0.05,
    grey: float = 0.66,
) -> nn.Module:
    """The augmentation of exemplars in the code of Kolesnikov et al. (2019); Szegedy et al. (2015).

    A random crop of ``min_area`` to all of the image at 3/4 to 4/3 of its aspect, stretched back;
    a mirror image half of the time; brightness changed by up to 32 of 255, contrast and saturation
    by up to a half, hue by up to a fifth of a turn; grey, the mean of the channels, with
    probability ``grey``. Grey images have only brightness and contrast changed.

    Args:
        channels: 1 or 3.
        size: side of the images in pixels, or height and width.
        flip: whether to mirror, see ``flips``.
        min_area: the smallest share of the image that a crop may cover.
        grey: the probability of a grey image.

    Raises:
        UsageError: another number of channels.
    """
    crop = _stretched_crop(size, min_area)
    if channels == 3:
        jitter = _Jitter(32 / 255, 0.5, 0.5, 0.2)
        return _UnitRange(crop, *_mirror(flip), jitter, Greyscale(grey))
    if channels == 1:
        return _UnitRange(crop, *_mirror(flip), _OnGrey(_Jitter(32 / 255, 0.5)))
    raise UsageError(f"inception augments images of 1 or 3 channels, got {channels}")


class Greyscale(nn.Module):
    """Replace all channels by their mean, in each image with some probability.

    Args:
        probability: of an image to become grey.
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def forward_parameters(self, shape: Sequence[int]) -> Parameters:
        """The draws for a batch of a shape, on the CPU."""
        return {"drawn": torch.rand(shape[0], 1, 1, 1)}

    def forward(self, images: Tensor, params: Parameters | None = None) -> Tensor:
        drawn = (self.forward_parameters(images.shape) if params is None else params)["drawn"]
        chosen = drawn.to(images.device) < self.probability
        return torch.where(chosen, images.mean(1, keepdim=True), images)


def standard(method: str, channels: int, size: int | Size, *, flip: bool) -> nn.Module:
    """The augmentation that a method trains under by default.

    Args:
        method: ``"simclr"``, see ``simclr``; or ``"supervised"``, ``crop_flip`` by up to an eighth
            of the image.
        channels: 1 or 3.
        size: side of the images in pixels, or height and width.
        flip: whether to mirror, see ``flips``.

    Raises:
        UsageError: another method, or another number of channels.
    """
    if method == "simclr":
        return simclr(channels, size, flip=flip)
    if method == "supervised":
        height, width = sides(size)
        return crop_flip(size, padding=(height // 8, width // 8), flip=flip)
    raise UsageError(f"unknown augmentation {method!r}; {choices(method, STANDARD)}")


def _stretched_crop(size: int | Size, min_area: float) -> nn.Module:
    import kornia.augmentation as K

    # kornia's own mode, "slice", cuts the images out one by one
    height, width = sides(size)
    aspect = width / height
    return K.RandomResizedCrop(
        (height, width),
        scale=(min_area, 1.0),
        ratio=(3 / 4 * aspect, 4 / 3 * aspect),
        cropping_mode="resample",
    )


def _mirror(flip: bool) -> list[nn.Module]:
    import kornia.augmentation as K

    return [K.RandomHorizontalFlip(p=0.5)] if flip else []


def _blur(probability: float, size: int | Size) -> list[nn.Module]:
    import kornia.augmentation as K

    height, width = (max(3, side // 10 | 1) for side in sides(size))  # odd: they have a middle
    blur = K.RandomGaussianBlur((height, width), (0.1, 2.0), p=probability)
    return [blur] if probability > 0 else []


class _UnitRange(nn.Module):
    """Run transforms that work on [0, 1] on images in [-1, 1].

    A transform has ``forward_parameters``, as kornia's have, and is called with what that gave.
    """

    def __init__(self, *steps: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, images: Tensor) -> Tensor:
        steps: list[Any] = list(self.steps)
        drawn = [step.forward_parameters(images.shape) for step in steps]
        x = images * 0.5 + 0.5
        for step, params in zip(steps, _sent(drawn, images.device), strict=True):
            x = step(x, params=params)
        return x.clamp(0, 1) * 2 - 1


def _sent(drawn: list[Parameters], device: torch.device) -> list[Parameters]:
    """Parameters on ``device``, all of them by one transfer.

    Whole numbers stay, of which kornia reads some in Python, and so do the widths of blurs, which
    it checks.
    """
    if device.type == "cpu":
        return drawn
    at = [
        (k, name)
        for k, params in enumerate(drawn)
        for name, value in params.items()
        if isinstance(value, Tensor) and value.is_floating_point() and name != "sigma"
    ]
    values = [drawn[k][name] for k, name in at]
    flat = torch.cat([value.flatten() for value in values]).to(device)
    sent = [dict(params) for params in drawn]
    parts = flat.split([value.numel() for value in values])
    for (k, name), value, part in zip(at, values, parts, strict=True):
        sent[k][name] = part.view(value.shape)
    return sent


class _Crop(nn.Module):
    """Cut each image at random, by whole pixels, out of itself with a black border.

    Args:
        size: height and width of what is cut out.
        border: pixels above and below, and at each side.
    """

    def __init__(self, size: Size, border: Size) -> None:
        super().__init__()
        import kornia.augmentation as K

        self.size, self.border = size, border
        self._corners = K.RandomCrop(size)

    def forward_parameters(self, shape: Sequence[int]) -> Parameters:
        """The columns and rows of the upper left corners, (n, 2), within the border."""
        above, beside = self.border
        n, channels, height, width = shape
        padded = torch.Size((n, channels, height + 2 * above, width + 2 * beside))
        return {"corners": self._corners.forward_parameters(padded)["src"][:, 0]}

    def forward(self, images: Tensor, params: Parameters) -> Tensor:
        above, beside = self.border
        padded = F.pad(images, (beside, beside, above, above))
        left, top = params["corners"].long().view(-1, 2, 1, 1, 1).unbind(1)
        image, channel, row, column = (
            torch.arange(length, device=images.device) for length in (*images.shape[:2], *self.size)
        )
        rows, columns = top + row[:, None], left + column
        return padded[image[:, None, None, None], channel[:, None, None], rows, columns]


#: Parameters of kornia's colour jitter, with their values that change nothing.
_FACTORS = {
    "brightness_factor": 1.0,
    "contrast_factor": 1.0,
    "saturation_factor": 1.0,
    "hue_factor": 0.0,
}


class _Jitter(nn.Module):
    """Change brightness, contrast, saturation and hue of each image, in an order for each batch.

    The parameters are drawn by kornia, and looked at before they go to a device.

    Args:
        brightness: strengths of the changes, as of ``kornia.augmentation.ColorJitter``.
        contrast: as above.
        saturation: as above.
        hue: as above.
        probability: of an image to be changed.
    """

    def __init__(
        self,
        brightness: float,
        contrast: float,
        saturation: float = 0.0,
        hue: float = 0.0,
        *,
        probability: float = 1.0,
    ) -> None:
        super().__init__()
        import kornia.augmentation as K

        self._drawn = K.ColorJitter(brightness, contrast, saturation, hue, p=probability)

    def forward_parameters(self, shape: Sequence[int]) -> Parameters:
        """The factors of each image, and the names of those that change some, in their order."""
        drawn = self._drawn.forward_parameters(torch.Size(shape))
        names = [list(_FACTORS)[k] for k in drawn["order"].tolist()]
        used = [name for name in names if bool((drawn[name] != _FACTORS[name]).any())]
        chosen = drawn["batch_prob"].view(-1, 1, 1, 1)
        return {"used": used, "chosen": chosen, **{name: drawn[name] for name in used}}

    def forward(self, images: Tensor, params: Parameters) -> Tensor:
        import kornia.enhance as enhance

        x = images.clamp(0, 1)
        for name in params["used"]:
            factor = params[name]
            if name == "brightness_factor":
                x = enhance.adjust_brightness_accumulative(x, factor)
            elif name == "contrast_factor":
                x = enhance.adjust_contrast_with_mean_subtraction(x, factor)
            elif name == "saturation_factor":
                x = enhance.adjust_saturation_with_gray_subtraction(x, factor)
            else:
                x = enhance.adjust_hue(x, factor * 2 * math.pi)
        return torch.where(params["chosen"] > 0.5, x.clamp(0, 1), images)


class _OnGrey(nn.Module):
    """Run a transform for colour on images of one channel.

    kornia refuses some transforms of one channel, and its older releases take the mean that
    contrast turns about over the whole batch of such images instead of each image.
    """

    def __init__(self, transform: _Jitter) -> None:
        super().__init__()
        self.transform = transform

    def forward_parameters(self, shape: Sequence[int]) -> Parameters:
        """The parameters of the transform."""
        return self.transform.forward_parameters(shape)

    def forward(self, images: Tensor, params: Parameters) -> Tensor:
        changed: Tensor = self.transform(images.expand(-1, 3, -1, -1), params)
        return changed[:, :1]
