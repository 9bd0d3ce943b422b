"""Images as PNG files, which tfds takes as they are; to encode an array it would need TensorFlow."""

import io

import numpy as np
import numpy.typing as npt
from PIL import Image


def png(image: npt.NDArray[np.uint8]) -> bytes:
    """Return `image`, uint8 `[H, W]` or `[H, W, 3]`, as the bytes of a PNG file, packed quickly rather than tightly."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG", compress_level=1)
    return file.getvalue()
