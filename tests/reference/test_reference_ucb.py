"""UCB's step reproduces, number by number, what its authors' implementation gives."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
import vectors as reference
from helpers import assert_close

from lamaml_jax import Model, ucb

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)


@reference.in_both_precisions
@pytest.mark.parametrize("name", ["first_task", "first_task_kl_gradient", "second_task"])
def test_a_step_reproduces_the_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    """Of their first step: later ones still draw with the first deviation. The second task's head they do not train."""
    with reference.opened(f"ucb_{name}", double) as found:
        vectors, config = found
        task, samples, size = config["task"], config["mc_samples"], config["batch_size"]
        num_batches = config["batches_per_epoch"]
        # Their loss is `nll_weight` times the batch's sum + `kl_weight_released` / batches times log q - log p.
        scale = config["nll_weight"] * size
        kl_weight = config["kl_weight_released"] * size / scale
        eps = [found.tree(f"eps/0/{sample}") for sample in range(samples)]
        stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *eps)
        learner = ucb(
            Model(lambda key, x: found.tree("mean_in"), reference.apply),
            found.setting(size, num_batches),
            lr=config["lr"] * scale,
            kl_weight=kl_weight if config["kl_has_gradient"] else 0.0,
            noise=lambda key, sample, mean: jax.tree.map(lambda leaf: leaf[sample], stacked),
            **{k: config[k] for k in ("prior_pi", "prior_std1", "prior_std2", "mc_samples")},
        )
        batch = reference.batch(vectors["x"][0], vectors["y"][0], task)
        start = learner.init(KEY, batch)._replace(rho=found.tree("rho_in"))
        if task > 0:
            start = learner.end_task(KEY, start, None)
            rates = jax.tree.map(lambda rate: scale * rate, found.tree("mean_rates"))
            assert_close(body(start.lrs), rates, tolerance)
        state, info = jax.jit(learner.update)(KEY, start, batch)

        compared = body if task > 0 else dict
        for part in ("mean", "rho"):
            expected = found.tree(f"{part}_after/0")
            assert_close(compared(getattr(state, part)), compared(expected), tolerance)
        log_q, log_p = (
            vectors[k][0][:, [0, 1 + task]].sum(axis=1).mean() for k in ("log_q", "log_p")
        )
        assert_close(info["kl"], log_q - log_p, tolerance)
        loss = scale * info["loss"] + config["kl_weight_released"] / num_batches * info["kl"]
        assert_close(loss, vectors["loss"][0], tolerance)


def body(params: Any) -> Any:
    return {name: params[name] for name in ("kernel_0", "bias_0")}
