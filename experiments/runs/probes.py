"""What a run can measure of its state as each task arrives, beside training; it changes nothing of the run.

Dimensions: T tasks, N examples per task, M memory slots.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp

from experiments.runs.config import Config
from lamaml_jax import losses
from lamaml_jax.analysis import gradient_alignment, old_and_new
from lamaml_jax.loop import Seed
from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.types import Batch, State

Probe: TypeAlias = Callable[[Seed, Stream, State, jax.Array, jax.Array], dict[str, jax.Array]]
"""`probe(seed, stream, state, images, task) -> scalars by name`, just before training on `task`."""

ALIGNMENT = tuple(
    f"{what}_{pairs}_{source}"
    for source in ("memory", "held_out")
    for what in ("cosine", "dot")
    for pairs in ("among_old", "against_new")
)
"""What the probe of that name measures: means over pairs of tasks."""

_EXAMPLES = 200


def alignment(config: Config, benchmark: Benchmark) -> Probe:
    """Return the probe of gradient alignment (Appendix D, Figure 4).

    As a task arrives, one gradient is taken for every task seen and one for the new one, at the weights at hand. The
    gradients "memory" are those that a learner can have: of the memory's examples of each old task, and of 200 of the
    new task's training examples; "held_out" are of 200 evaluation examples of every task.
    """
    setting = benchmark.setting
    loss_fn = losses.task_loss(config.model(setting.num_classes).apply, setting.class_mask)
    tasks = jnp.arange(setting.num_tasks)

    def probe(
        seed: Seed, stream: Stream, state: State, images: jax.Array, task: jax.Array
    ) -> dict[str, jax.Array]:
        def loss_on(pool: Batch) -> Callable[[Any, jax.Array], jax.Array]:
            return lambda params, valid: loss_fn(params, pool._replace(valid=valid))

        def inputs(image: jax.Array, of: jax.Array) -> jax.Array:
            transform = jax.tree.map(lambda a: a[of], stream.transform)
            return benchmark.inputs.evaluation(images, image, transform)

        image, label = (a[:, :_EXAMPLES] for a in stream.train)
        memory = state.memory
        pool = Batch(
            x=jnp.concatenate([memory.x, inputs(image[task], task)]),
            y=jnp.concatenate([memory.y, label[task]]),
            task=jnp.concatenate([memory.task, jnp.full_like(label[task], task)]),
            valid=jnp.zeros(0, bool),
        )
        slot = jnp.arange(len(pool.y))
        is_kept = slot < jnp.minimum(memory.seen, len(memory.y))
        is_new = slot >= len(memory.y)
        rows = jnp.where(
            tasks[:, None] == task,
            is_new,
            is_kept & (pool.task == tasks[:, None]) & (tasks[:, None] < task),
        )
        remembered = gradient_alignment(loss_on(pool), state.params, rows, present=rows.any(axis=1))

        image, label = (a[:, :_EXAMPLES] for a in stream.test)

        def loss_of_task(params: Any, of: jax.Array) -> jax.Array:
            y = label[of]
            return loss_fn(
                params, Batch(inputs(image[of], of), y, jnp.broadcast_to(of, y.shape), y >= 0)
            )

        held_out = gradient_alignment(loss_of_task, state.params, tasks, present=tasks <= task)
        means = [
            mean
            for found in (remembered, held_out)
            for similarity in (found.cosine, found.dot)
            for mean in old_and_new(similarity, task)
        ]
        return dict(zip(ALIGNMENT, means, strict=True))

    return probe


PROBES: dict[str, Callable[[Config, Benchmark], Probe]] = {"alignment": alignment}
