"""How much memory a learner's state takes beyond the network's weights (the paper's Table 7)."""

import math
from typing import NamedTuple

import chex
import jax

from lamaml_jax.types import Batch, Learner, Model, Params, State


class Storage(NamedTuple):
    """Bytes of a learner's state.

    Attributes:
        weights: The network's own, which every method has.
        replay: Examples kept, with what is stored beside them.
        per_parameter: Numbers kept for every weight, such as rates, deviations or Fisher information.
        other: All else.
    """

    weights: int
    replay: int
    per_parameter: int
    other: int


def measure(learner: Learner, model: Model, example: Batch) -> Storage:
    """Measure the state of a learner without building it.

    Args:
        learner: Whose state is a NamedTuple; examples are kept in its field `memory`.
        model: The network it was made for.
        example: An incoming batch; only its shapes matter.

    Returns:
        Its size in bytes.
    """

    def init(seed: jax.Array, example: Batch) -> tuple[Params, State]:
        key = jax.random.key(seed)
        return model.init(key, example.x), learner.init(key, example)

    params, state = jax.eval_shape(init, 0, example)

    def is_per_parameter(tree: chex.ArrayTree) -> bool:
        return _shapes(tree) == _shapes(params)

    weights = _num_bytes(params)
    replay = per_parameter = other = 0
    for name, field in zip(state._fields, state, strict=True):
        if name == "memory":
            replay += _num_bytes(field)
            continue
        for part in jax.tree.leaves(field, is_leaf=is_per_parameter):
            if is_per_parameter(part):
                per_parameter += _num_bytes(part)
            else:
                other += _num_bytes(part)
    return Storage(weights, replay, per_parameter - weights, other)


def _shapes(tree: chex.ArrayTree) -> list[tuple[int, ...]]:
    return [leaf.shape for leaf in jax.tree.leaves(tree)]


def _num_bytes(tree: chex.ArrayTree) -> int:
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))
