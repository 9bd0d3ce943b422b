"""BGD, A-GEM and EWC reproduce, number by number, what public code of them gives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits
from vectors import NUM_TASKS, batch, in_both_precisions, names, opened

from lamaml_jax import Batch, agem, bgd, ewc

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
VECTORS = {"bgd": 2, "agem": 5, "ewc": 2}


@pytest.mark.parametrize(("learner", "count"), VECTORS.items())
def test_all_vectors_are_there(learner: str, count: int) -> None:
    assert len(names(learner)) == count


@in_both_precisions
@pytest.mark.parametrize("name", names("bgd"))
def test_bgd_reproduces_its_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    with opened(name, double) as vectors:
        arrays, config = vectors
        keywords = {k: config[k] for k in ("mean_eta", "std_init", "mc_samples", "clip_norm")}
        setting = vectors.setting(arrays["y"].shape[1])

        @jax.jit
        def update(eps: Any, state: Any, batch: Batch) -> Any:
            def noise(key: Any, sample: jax.Array, mean: Any) -> Any:
                return jax.tree.map(lambda leaf: leaf[sample], eps)

            model = vectors.model("mean_in")
            return bgd(model, setting, noise=noise, **keywords).update(KEY, state, batch)

        batches = [
            batch(x, y, config["task"]) for x, y in zip(arrays["x"], arrays["y"], strict=True)
        ]
        state = bgd(vectors.model("mean_in"), setting, **keywords).init(KEY, batches[0])
        assert_close(state.std, vectors.tree("std_in"), tolerance)
        for step, incoming in enumerate(batches):
            eps = [vectors.tree(f"eps/{step}/{i}") for i in range(config["mc_samples"])]
            stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *eps)
            state, info = update(stacked, state, incoming)
            assert state.std["kernel_0"].dtype == (jnp.float64 if double else jnp.float32)
            assert_close(state.mean, vectors.tree(f"mean_after/{step}"), tolerance)
            assert_close(state.std, vectors.tree(f"std_after/{step}"), tolerance)
            assert_close(info["loss"], arrays["mean_loss"][step], tolerance)


@in_both_precisions
@pytest.mark.parametrize("name", names("agem"))
def test_agem_reproduces_the_released_numbers(name: str, double: bool, tolerance: float) -> None:
    """The memories are filled by the learner itself, at a rate of zero."""
    with opened(name, double) as vectors:
        arrays, config = vectors
        kept = ("memory", "reference", "skip_first_task", "clip_norm")
        keywords = {k: config[k] for k in kept}
        filling = agem(
            vectors.model(), vectors.setting(config["slots_per_task"]), lr=0.0, **keywords
        )
        fill = jax.jit(filling.update)
        past = [
            batch(x, y, task)
            for task, (x, y) in enumerate(zip(arrays["memory_x"], arrays["memory_y"], strict=True))
        ]
        state = filling.init(KEY, past[0])
        for examples in past:
            state, _ = fill(KEY, state, examples)
        assert_same_bits(state.params, vectors.tree("params_in"))
        setting = vectors.setting(len(arrays["y"]))
        learner = agem(
            vectors.model(), setting, lr=config["lr"], glances=config["glances"], **keywords
        )
        incoming = batch(arrays["x"], arrays["y"], config["task"])
        state, info = jax.jit(learner.update)(KEY, state, incoming)
        assert state.params["kernel_0"].dtype == (jnp.float64 if double else jnp.float32)
        assert_close(state.params, vectors.tree("params_out"), tolerance)
        assert float(info["projected"]) == np.mean(arrays["product"] < 0) == config["violated"]


@in_both_precisions
@pytest.mark.parametrize("name", names("ewc"))
def test_ewc_reproduces_mers_numbers(name: str, double: bool, tolerance: float) -> None:
    """MER's code takes the Fisher on a task's first examples: they are what the learner is shown at its end."""
    with opened(name, double) as vectors:
        arrays, config = vectors
        kept = ("lr", "penalty", "fisher", "fisher_labels", "clip_norm")
        keywords = {k: config[k] for k in kept}
        learner = ewc(vectors.model(), vectors.setting(arrays["y"].shape[1]), **keywords)
        update, end_task = jax.jit(learner.update), jax.jit(learner.end_task)
        batches = [
            batch(*examples)
            for examples in zip(arrays["x"], arrays["y"], arrays["task"], strict=True)
        ]
        state = learner.init(KEY, batches[0])
        per_task = len(batches) // NUM_TASKS
        for step, incoming in enumerate(batches):
            state, _ = update(KEY, state, incoming)
            assert state.params["kernel_0"].dtype == (jnp.float64 if double else jnp.float32)
            assert_close(state.params, vectors.tree(f"params_after/{step}"), tolerance)
            task, is_last = step // per_task, (step + 1) % per_task == 0
            if is_last and task + 1 < NUM_TASKS:
                x, y = (arrays[k][task * per_task : step + 1] for k in ("x", "y"))
                first = config["fisher_examples_first"]
                shown = batch(x.reshape(-1, x.shape[-1])[:first], y.ravel()[:first], task)
                before = state.fisher
                state = end_task(KEY, state, shown)
                fisher = jax.tree.map(jnp.subtract, state.fisher, before)
                assert_close(fisher, vectors.tree(f"fisher/{task}"), tolerance)
                assert_close(state.params, vectors.tree(f"fisher_params/{task}"), tolerance)
