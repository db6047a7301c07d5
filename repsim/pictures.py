"""One decoder of image files: every mode of Pillow as 8-bit grey or colour, or refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim.errors import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

Size = tuple[int, int]  # height and width in pixels

#: EXIF tag of the orientation; TIFF tags of the bits of a sample and of the meaning of zero.
ORIENTATION, BITS_PER_SAMPLE, PHOTOMETRIC = 0x0112, 258, 262
WHITE_IS_ZERO = 0

#: Orientations in which height and width change places.
_SIDEWAYS = (5, 6, 7, 8)

#: Formats whose 16-bit grey has a defined white, to which Pillow scales or which the file tells.
_DEEP_FORMATS = ("PNG", "PPM", "TIFF", "JPEG2000")

_WITH_ALPHA = ("LA", "La", "PA", "RGBA", "RGBa")
_PLAIN = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")

#: Formats whose further frames are no images of their own: previews and layers.
_ONE_PICTURE = ("MPO", "PSD")


def is_grey(image: Image) -> bool:
    """Tell if an opened image is stored as 8- or 16-bit grey."""
    return image.mode == "L" or _is_deep(image)


def has_frames(image: Image) -> bool:
    """Tell if an opened file holds several images: an animation, or pages."""
    return bool(getattr(image, "is_animated", False)) and image.format not in _ONE_PICTURE


def upright_size(image: Image) -> Size:
    """Height and width of an opened image as ``pixels`` turns it."""
    if image.format == "TIFF":
        image.load()
    sideways = _orientation(image) in _SIDEWAYS
    return (image.width, image.height) if sideways else (image.height, image.width)


def pixels(image: Image, called: str, *, grey: bool, size: Size | None = None) -> np.ndarray:
    """Pixels of an opened image, turned as the camera was held.

    16-bit grey is scaled so that white is 255. Palettes, CMYK and other colour spaces become RGB as
    Pillow converts them; profiles of colour are not applied.

    Args:
        image: as ``PIL.Image.open`` gave it.
        called: the image in errors.
        grey: one channel, of an image that ``is_grey``; otherwise three.
        size: height and width to which it is stretched bilinearly; None leaves it as it is.

    Returns:
        uint8, shape (height, width, 1 or 3).

    Raises:
        DataError: transparent pixels, or numbers without a defined white.
    """
    from PIL.Image import Resampling

    image.load()
    plain = (
        _opaque(image, called) if image.mode in _PLAIN + _WITH_ALPHA else _eight_bit(image, called)
    )
    shown = _turned(plain, _orientation(image)).convert("L" if grey else "RGB")
    if size is not None:
        shown = shown.resize(size[::-1], Resampling.BILINEAR)
    return np.asarray(shown).reshape(shown.height, shown.width, -1)


def _orientation(image: Image) -> int:
    """The EXIF orientation still to be undone, 1 to 8; 1 where there is none that can be read."""
    if image.format == "TIFF":  # Pillow turns these as it loads them
        return 1
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except (SyntaxError, ValueError, KeyError, TypeError, OSError):  # of damaged EXIF, whose
        return 1  # image is sound
    return found if found in range(1, 9) else 1


def _turned(image: Image, orientation: int) -> Image:
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }
    return image.transpose(turns[orientation]) if orientation in turns else image


def _opaque(image: Image, called: str) -> Image:
    """The image itself, or without its alpha, which hides nothing."""
    if image.mode not in _WITH_ALPHA and "transparency" not in image.info:
        return image
    # Pillow converts La only to LA, and some releases not at all from LA's neighbours
    full = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if np.asarray(full.getchannel("A")).min() < 255:
        raise _transparent(called)
    return full


def _transparent(called: str) -> DataError:
    return DataError(
        f"{called} has transparent pixels, whose colour depends on what is behind; save it without "
        "transparency, on the background that it should have"
    )


def _is_deep(image: Image) -> bool:
    """16-bit grey with a defined white; older Pillow has mode I for it in some formats."""
    deep = image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM"))
    return deep and image.format in _DEEP_FORMATS


def _eight_bit(image: Image, called: str) -> Image:
    """16-bit grey as 8-bit grey."""
    from PIL.Image import fromarray

    if not _is_deep(image):
        raise DataError(
            f"{called} holds numbers without a defined white (mode {image.mode}, "
            f"{image.format}); save it as PNG with 8 or 16 bits"
        )
    values = np.asarray(image).astype(np.float64)
    if (values == image.info.get("transparency")).any():
        raise _transparent(called)
    tags = getattr(image, "tag_v2", {})
    white = 2.0 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:  # Pillow inverts such images of 8 bits only
        values = white - values
    return fromarray(np.rint(values * (255 / white)).astype(np.uint8))
