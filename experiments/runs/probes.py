"""What a run can measure of its state as each task arrives, beside training; it changes nothing of the run.

Dimensions: T tasks, N examples per task, M memory slots.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from experiments.runs.config import Config
from lamaml_jax import losses, replay
from lamaml_jax.analysis import gradient_alignment, old_and_new
from lamaml_jax.loop import Seed
from lamaml_jax.pieces import split
from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.training import Probe
from lamaml_jax.types import Batch, State
from lamaml_jax.updates import lookahead

ALIGNMENT = tuple(
    f"{what}_{pairs}_{source}"
    for source in ("memory", "held_out")
    for what in ("cosine", "dot")
    for pairs in ("among_old", "against_new")
)
"""What the probe of that name measures: means over pairs of tasks."""

LOOKING_AHEAD = ("la_maml", "sync_la_maml", "c_maml")

_EXAMPLES = 200
_BATCHES = 20


def alignment(config: Config, benchmark: Benchmark) -> Probe:
    """Return the probe of gradient alignment (Appendix D, Figure 4).

    As a task arrives, one gradient is taken for every task seen and one for the new one, at the weights at hand. The
    gradients "memory" are those that a learner can have: of the memory's examples of each old task, and of 200 of the
    new task's training examples; "held_out" are of 200 evaluation examples of every task.
    """
    setting = benchmark.setting
    loss_fn = losses.task_loss(config.model(setting.num_classes).apply, setting)
    tasks = jnp.arange(setting.num_tasks)

    def probe(
        seed: Seed, stream: Stream, state: State, images: jax.Array, task: jax.Array
    ) -> dict[str, jax.Array]:
        def loss_on(pool: Batch) -> Callable[[Any, jax.Array], jax.Array]:
            return lambda params, valid: loss_fn(params, pool._replace(valid=valid))

        def inputs(image: jax.Array, of: jax.Array) -> jax.Array:
            transform = jax.tree.map(lambda a: a[of], stream.transform)
            return benchmark.inputs.evaluation(images, image, transform)

        image, label = (a[:, :_EXAMPLES] for a in stream.train[:2])
        memory = state.memory
        pool = Batch(
            x=jnp.concatenate([memory.x, inputs(image[task], task)]),
            y=jnp.concatenate([memory.y, label[task]]),
            task=jnp.concatenate([memory.task, jnp.full_like(label[task], task)]),
            valid=jnp.zeros(0, bool),
        )
        slot = jnp.arange(len(pool.y))
        is_kept = slot < jnp.minimum(memory.seen, len(memory.y))
        is_new = (slot >= len(memory.y)) & (pool.y >= 0)
        rows = jnp.where(
            tasks[:, None] == task,
            is_new,
            is_kept & (pool.task == tasks[:, None]) & (tasks[:, None] < task),
        )
        remembered = gradient_alignment(loss_on(pool), state.params, rows, present=rows.any(axis=1))

        image, label = (a[:, :_EXAMPLES] for a in stream.test[:2])

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


def dynamics(config: Config, benchmark: Benchmark) -> Probe:
    """Return the probe of what an update does as a task arrives, over 20 batches of the task's training examples.

    Of a learner with a reservoir it is `gradient_cosine`, the mean cosine between the gradient of an incoming batch and
    that of all that is remembered, NaN while that is nothing. Of one that looks ahead it is also `meta_loss` `[K + 1]`,
    the mean loss at theta_0 to theta_K on the meta-batch, incoming and replayed examples. All at the weights and rates
    with which the task begins: no update is made.
    """
    setting, keywords = benchmark.setting, config.keywords
    loss_fn = losses.task_loss(config.model(setting.num_classes).apply, setting)

    def probe(
        seed: Seed, stream: Stream, state: State, images: jax.Array, task: jax.Array
    ) -> dict[str, jax.Array]:
        memory = getattr(state, "memory", None)
        if (
            not isinstance(memory, replay.Memory)
            or memory.seen.ndim
            or not hasattr(state, "params")
        ):
            return {}
        floats = {**keywords, **seed.hyper}
        rates = getattr(state, "lrs", floats.get("inner_lr"))
        slots = jnp.arange(len(memory.y))
        remembered = Batch(memory.x, memory.y, memory.task, slots < memory.seen)
        of_memory = ravel_pytree(jax.grad(loss_fn)(state.params, remembered))[0]

        def measure(inputs: tuple[jax.Array, jax.Array]) -> dict[str, jax.Array]:
            key, rows = inputs
            transform = jax.tree.map(lambda a: a[task], stream.transform)
            x = benchmark.inputs.evaluation(images, stream.train.image[task, rows], transform)
            y = stream.train.label[task, rows]
            incoming = Batch(x, y, jnp.full_like(y, task), y >= 0)
            of_batch = ravel_pytree(jax.grad(loss_fn)(state.params, incoming))[0]
            norms = jnp.linalg.norm(of_batch) * jnp.linalg.norm(of_memory)
            measured = {"gradient_cosine": jnp.vdot(of_batch, of_memory) / norms}
            if config.learner in LOOKING_AHEAD:
                trajectory = lookahead(
                    loss_fn,
                    state.params,
                    rates,
                    split(incoming, keywords["inner_steps"]),
                    inner_lr_relu=keywords["inner_lr_relu"],
                    inner_clip=floats["inner_clip"],
                    inner_clip_norm=floats.get("inner_clip_norm"),
                )
                replayed = replay.sample(key, memory, keywords["replay_batch"])
                meta_batch = replay.join(replayed, incoming)
                at = [loss_fn(params, meta_batch) for params in (state.params, *trajectory)]
                measured["meta_loss"] = jnp.stack(at)
            return measured

        size = setting.batch_size
        count = min(_BATCHES, stream.train.image.shape[1] // size)
        rows = jnp.arange(count * size).reshape(count, size)
        keys = jax.random.split(jax.random.fold_in(jax.random.clone(seed.key), task), count)
        measured = jax.lax.map(measure, (keys, rows))
        has_examples = (stream.train.label[task, rows] >= 0).any(axis=1)
        return jax.tree.map(
            lambda a: a.mean(axis=0, where=has_examples.reshape(-1, *[1] * (a.ndim - 1))), measured
        )

    return probe


PROBES: dict[str, Callable[[Config, Benchmark], Probe]] = {"alignment": alignment}
