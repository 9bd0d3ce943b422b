"""iCaRL with logits for features reproduces, number by number, what La-MAML's authors' implementation gives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import vectors as reference
from helpers import assert_close

from lamaml_jax import Model, icarl

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)


@reference.in_both_precisions
@pytest.mark.parametrize("name", ["icarl_memory_16", "icarl_memory_6"])
def test_icarl_reproduces_the_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    with reference.opened(name, double) as found:
        vectors, config = found
        settings = ("lr", "memory", "memory_strength", "glances", "clip_norm", "features")
        num_tasks, steps, size, _ = vectors["x"].shape

        def learner(ranks: Any = None) -> Any:
            return icarl(
                Model(lambda key, x: found.tree("params_in"), reference.apply),
                found.setting(size, batches_per_epoch=steps),
                draw=lambda key, glance, sizes: ranks[glance],
                **{k: config[k] for k in settings},
            )

        update = jax.jit(lambda state, batch, ranks: learner(ranks).update(KEY, state, batch))
        end_task, predict = jax.jit(learner().end_task), jax.jit(learner().predict)
        state = learner().init(KEY, reference.batch(vectors["x"][0, 0], vectors["y"][0, 0], 0))
        for task in range(num_tasks):
            for step in range(steps):
                index = num_tasks * task + step
                ranks = np.zeros(
                    (config["glances"], 4), int
                )  # of classes that are not yet there as well
                if task > 0:
                    ranks[:, : 2 * task] = vectors[f"draws/{index}"]
                batch = reference.batch(vectors["x"][task, step], vectors["y"][task, step], task)
                state, info = update(state, batch, ranks)
                assert_close(state.params, found.tree(f"params_after/{index}"), tolerance)
                if config["glances"] == 1:  # theirs is the last glance's, ours the mean
                    assert_close(info["loss"], vectors["loss"][index], tolerance)

            # The released code never herds the last batch.
            herded = slice(0, config["herded_batches"])
            x, y = (vectors[k][task, herded].reshape(-1, *vectors[k].shape[3:]) for k in "xy")
            state = end_task(KEY, state, reference.batch(x, y, task))
            kept = state.memory
            expected = vectors[f"exemplars/{task}"]
            classes, share, _ = expected.shape
            assert kept.y[kept.valid].tolist() == np.repeat(np.arange(classes), share).tolist()
            assert_close(kept.x[kept.valid], expected.reshape(-1, 12), tolerance)
            by_task = vectors[f"exemplar_logits/{task}"].reshape(-1, 3, 2)
            own = by_task[np.arange(classes * share), kept.task[kept.valid]]
            assert_close(kept.targets[kept.valid], np.asarray(jax.nn.softmax(own)), tolerance)
            x = jnp.asarray(vectors["test_x"], jnp.result_type(float))
            for told in range(task + 1):
                predicted = predict(state, x, jnp.int32(told)).argmax(axis=1)
                assert predicted.tolist() == vectors[f"predicted/{task}"][told].tolist()
