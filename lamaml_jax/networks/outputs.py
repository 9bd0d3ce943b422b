"""A check that a model fits a stream, which only traces it.

Dimensions: B batch, C classes.
"""

from typing import Any

import jax

from lamaml_jax import checks
from lamaml_jax.types import Model, Setting


def check_outputs(model: Model, setting: Setting, x: Any) -> None:
    """Raise ValueError unless a model has one output per class; for the host, before anything compiles.

    Args:
        model: The network.
        setting: The stream's static facts, of which `num_classes` is C.
        x: Inputs `[B, ...]`, as arrays or `jax.ShapeDtypeStruct`s: only shapes and dtypes matter.

    Raises:
        ValueError: One sentence that names what the model returns, or raises, and what it must.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, networks
        >>> setting = Setting(2, 6, np.ones((2, 6), bool), batch_size=10, batches_per_epoch=1)
        >>> networks.check_outputs(networks.mlp(6), setting, np.zeros((10, 784), np.float32))
        >>> networks.check_outputs(networks.mlp(5), setting, np.zeros((10, 784), np.float32))
        Traceback (most recent call last):
        ValueError: the model has 5 outputs; it must have 6, the number of classes.
    """
    key = jax.eval_shape(jax.random.key, 0)
    allowed = "a network of such inputs"
    x = jax.ShapeDtypeStruct(x.shape, x.dtype)
    logits = checks.traced(
        "the model", allowed, lambda key, x: model.apply(model.init(key, x), x), key, x
    )
    shape, num_examples = getattr(logits, "shape", None), x.shape[0]
    if shape is None or len(shape) != 2 or shape[0] != num_examples:
        found = type(logits).__name__ if shape is None else f"an array of shape {shape}"
        allowed = f"logits of shape ({num_examples}, {setting.num_classes}), a row per example"
        raise ValueError(f"the model returns {found}; it must return {allowed}.")
    if shape[1] != setting.num_classes:
        others = (
            "" if setting.loss is None else ", which integer labels are: make other targets floats"
        )
        raise ValueError(
            f"the model has {shape[1]} outputs; it must have {setting.num_classes}, the number of classes{others}."
        )
