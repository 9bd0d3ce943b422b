"""Inner gradients that are clipped, against hand-computed steps."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close

from lamaml_jax import hypergradients, lookahead

pytestmark = pytest.mark.usefixtures("quick_compile")

ORDERS = pytest.mark.parametrize("order", ["first", "second"])


@ORDERS
def test_inner_gradients_are_clipped_elementwise(order: str) -> None:
    slopes = [jnp.array([0.5, -3.0, 2.0]), jnp.array([-0.1, -1.5, -9.0])]
    trajectory = lookahead(jnp.vdot, jnp.zeros(3), 1.0, slopes, inner_clip=1.0, order=order)
    assert_close(trajectory[0], [-0.5, 1.0, -1.0])
    assert_close(trajectory[1], [-0.4, 2.0, 0.0])


@ORDERS
def test_inner_gradients_are_clipped_to_a_global_norm(order: str) -> None:
    slopes = [jnp.array([3.0, -4.0]), jnp.array([0.3, 0.4]), jnp.zeros(2)]
    options: dict[str, Any] = {"inner_clip_norm": 2.5, "order": order}
    trajectory = lookahead(jnp.vdot, jnp.zeros(2), 1.0, slopes, **options)
    assert_close(trajectory, [np.array(at) for at in ([-1.5, 2.0], [-1.8, 1.6], [-1.8, 1.6])])
    _, grads, lr_grads = hypergradients(jnp.vdot, jnp.ones(2), 1.0, slopes, slopes[0], **options)
    assert np.all(np.isfinite(grads)) and np.isfinite(lr_grads)  # though one piece has no gradient
