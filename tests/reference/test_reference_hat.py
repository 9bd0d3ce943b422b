"""HAT reproduces, number by number, what its authors' implementation gives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vectors as reference
from helpers import assert_close

from lamaml_jax import Model, hat

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)


def gate_params(params: Any, gates: Any) -> Any:
    ends = [jnp.ones(12), *gates, jnp.zeros(6)]
    kernels = {f"kernel_{i}": jnp.minimum(ends[i][:, None], ends[i + 1]) for i in range(3)}
    return kernels | {f"bias_{i}": ends[i + 1] for i in range(3)}


@reference.in_both_precisions
@pytest.mark.parametrize("name", ["first_task", "second_task", "second_task_saturated"])
def test_hat_reproduces_its_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    with reference.opened(f"hat_{name}", double) as found:
        vectors, config = found
        task, (steps, size, _) = config["task"], vectors["x"].shape
        learner = hat(
            Model(
                lambda key, x: found.tree("params_in"),
                reference.apply,
                None,
                (8, 8),
                gate_params,
            ),
            # The released slope rises by b / B in B steps, which are the first of B + 1 where it rises by b / (B - 1).
            found.setting(size, batches_per_epoch=steps + 1),
            **{k: config[k] for k in ("lr", "s_max", "sparsity", "clip_norm")},
        )
        batches = [
            reference.batch(x, y, task, progress=jnp.asarray(step / (steps + 1)))
            for step, (x, y) in enumerate(zip(vectors["x"], vectors["y"], strict=True))
        ]
        embeddings = tuple(found.tree("embeddings_in").values())
        state = learner.init(KEY, batches[0])
        state = state._replace(embeddings=embeddings, ended=jnp.arange(3) < task)
        update = jax.jit(learner.update)
        for step, batch in enumerate(batches):
            state, info = update(KEY, state, batch)
            assert_close(state.params, found.tree(f"params_after/{step}"), tolerance)
            expected = found.tree(f"embeddings_after/{step}")
            assert_close(dict(zip("01", state.embeddings, strict=True)), expected, tolerance)
            assert_close(info["loss"], vectors["loss"][step], tolerance)

        logits = learner.predict(state, batches[0].x, jnp.int32(task))
        own = slice(2 * task, 2 * task + 2)
        assert_close(logits[:, own], vectors["logits"], tolerance)
        _, info = update(
            KEY, learner.end_task(KEY, state, None), batches[0]._replace(task=batches[0].task + 1)
        )
        mask = np.concatenate(list(found.tree("mask_out").values()))
        assert_close(info["capacity_used"], mask.mean(), tolerance)
