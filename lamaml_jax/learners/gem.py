"""GEM and A-GEM: gradients projected so that the losses on past tasks' memories do not rise.

Both keep the last M / T examples of every task, and differ in what they hold an incoming gradient against: one memory
gradient per past task (GEM), or a single reference gradient (A-GEM). A past task is any that was seen before but the
current one, in whatever order they came, also while it is one that comes back. All examples of a batch are of one task.

Dimensions: T tasks, B batch, M memory slots, m = M / T slots per task.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts import rings
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.projection import project_agem, project_gem
from lamaml_jax.losses import task_loss, task_predict
from lamaml_jax.pieces import scan_pieces
from lamaml_jax.types import (
    Batch,
    Info,
    Learner,
    Model,
    NonNegative,
    Params,
    Positive,
    Setting,
)
from lamaml_jax.updates import clip_by_global_norm, descend

Reference: TypeAlias = Literal["sample", "mean"]


class GemState(NamedTuple):
    """Weights, and what is remembered.

    Attributes:
        params: theta.
        memory: A ring of m slots per task: all fields have a leading axis T.
        first_task: int32 scalar, the task that came first; -1 before any did.
    """

    params: Params
    memory: replay.Memory
    first_task: jax.Array


@learner_factory
def gem(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.01,
    glances: int = 1,
    memory: int = 200,
    margin: NonNegative = 0.5,
    eps: Positive = 1e-3,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
) -> Learner:
    """Return GEM: SGD whose gradient g is projected until it opposes no past task's memory gradient.

    theta <- theta - lr * (g + G'v), v = argmin 1/2 v'(GG' + eps I)v + (Gg)'v subject to v >= margin, where the rows of
    G are the gradients on the past tasks' memories; theta <- theta - lr * g if no product g.g_k is negative.

    Args:
        model: The network.
        setting: The stream's static facts.
        lr: Learning rate.
        glances: Steps on the same incoming examples, each with new memory gradients, >= 1.
        memory: M, slots of all tasks together, >= T; each task's last M // T examples are kept.
        margin: Least entry of v; what is above 0 favours the past tasks (the authors' "memory strength").
        eps: Added to the diagonal of GG'.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
            Examples enter the memory as they arrive; that of the current task is not held against them.
        clip_norm: Clip g and each row of G to this global norm before the projection; None does not clip.

    Returns:
        The learner; its state is a `GemState`, its info `loss`, `gradient_norm` (before clipping) and `projected`,
        the share of steps whose gradient was.

    Raises:
        ValueError: A static argument is out of its range.

    Reference: Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, gem, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> gem(networks.mlp(10), setting, margin=0.0, examples_per_step=1).needs
        frozenset({'one_task'})
    """
    loss_fn = task_loss(model.apply, setting)

    def project(
        key: chex.PRNGKey,
        state: GemState,
        past: jax.Array,
        piece: Batch,
        grads: Params,
        rows: Params,
    ) -> tuple[Params, Params]:
        tasks, count, stop = rings.listed(past)

        def fill(i: jax.Array, rows: Params) -> Params:
            row = jax.grad(loss_fn)(state.params, rings.held(state.memory, tasks[i], piece))
            row, _ = clip_by_global_norm(row, clip_norm)
            return jax.tree.map(lambda all_, one: all_.at[i].set(one), rows, row)

        rows = jax.lax.fori_loop(0, stop, fill, rows)
        is_filled = jnp.arange(setting.num_tasks) < count
        return project_gem(grads, rows, is_filled, margin=margin, eps=eps), rows

    def empty_rows(params: Params) -> Params:
        return jax.tree.map(lambda p: jnp.zeros((setting.num_tasks, *p.shape), p.dtype), params)

    return _learner(
        model,
        setting,
        project,
        empty_rows,
        lr=lr,
        glances=glances,
        memory=memory,
        examples_per_step=examples_per_step,
        clip_norm=clip_norm,
    )


@learner_factory
def agem(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.03,
    glances: int = 1,
    memory: int = 200,
    replay_batch: int = 10,
    reference: Reference = "sample",
    skip_first_task: bool = False,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
) -> Learner:
    """Return A-GEM: SGD whose gradient g is projected until it does not oppose a reference gradient r.

    theta <- theta - lr * g if g.r >= 0, theta <- theta - lr * (g - (g.r / r.r) r) otherwise.

    Args:
        model: The network.
        setting: The stream's static facts.
        lr: Learning rate.
        glances: Steps on the same incoming examples, each with a new reference, >= 1.
        memory: M, slots of all tasks together, >= T; each task's last M // T examples are kept.
        replay_batch: Examples drawn, without replacement, for a sampled reference, >= 1; all that the past tasks'
            memories hold if those are fewer.
        reference: "sample" is the gradient on a batch drawn from the memories of all past tasks (its paper); "mean"
            is the mean of the gradients on each past task's memory (released with La-MAML).
        skip_first_task: Whether the memory of the task that came first is never used (released with La-MAML).
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
            Examples enter the memory as they arrive; that of the current task is not held against them.
        clip_norm: Clip g, and each gradient of a mean reference, to this global norm before the projection; None does
            not clip.

    Returns:
        The learner; its state is a `GemState`, its info as that of `gem`.

    Raises:
        ValueError: A static argument is out of its range.

    Reference: Chaudhry, Ranzato, Rohrbach and Elhoseiny, "Efficient Lifelong Learning with A-GEM", ICLR 2019.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, agem, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> agem(networks.mlp(10), setting, reference="mean", skip_first_task=True).needs
        frozenset({'one_task'})
    """
    checks.integer("replay_batch", replay_batch, 1)
    checks.choice("reference", reference, Reference)
    loss_fn = task_loss(model.apply, setting)

    def sampled(key: chex.PRNGKey, state: GemState, past: jax.Array, piece: Batch) -> Params:
        drawn = rings.sample(key, state.memory, past, piece, replay_batch)
        return jax.grad(loss_fn)(state.params, drawn)

    def mean(key: chex.PRNGKey, state: GemState, past: jax.Array, piece: Batch) -> Params:
        tasks, count, stop = rings.listed(past)

        def add(i: jax.Array, total: Params) -> Params:
            remembered = rings.held(state.memory, tasks[i], piece, i < count)
            grads = jax.grad(loss_fn)(state.params, remembered)
            grads, _ = clip_by_global_norm(grads, clip_norm)
            return jax.tree.map(jnp.add, total, grads)

        total = jax.lax.fori_loop(0, stop, add, jax.tree.map(jnp.zeros_like, state.params))
        return jax.tree.map(lambda g: g / jnp.maximum(count, 1), total)

    refer = {"sample": sampled, "mean": mean}[reference]

    def project(
        key: chex.PRNGKey,
        state: GemState,
        past: jax.Array,
        piece: Batch,
        grads: Params,
        rows: None,
    ) -> tuple[Params, None]:
        if skip_first_task:
            past &= jnp.arange(setting.num_tasks) != state.first_task
        return project_agem(grads, refer(key, state, past, piece)), rows

    return _learner(
        model,
        setting,
        project,
        lambda params: None,
        lr=lr,
        glances=glances,
        memory=memory,
        examples_per_step=examples_per_step,
        clip_norm=clip_norm,
    )


def _learner(
    model: Model,
    setting: Setting,
    project: Callable[..., tuple[Params, Any]],
    workspace: Callable[[Params], Any],
    *,
    lr: NonNegative,
    glances: int,
    memory: int,
    examples_per_step: int | None,
    clip_norm: Positive | None,
) -> Learner:
    """Return SGD with gradients passed through `project(key, state, past, piece, grads, space) -> (grads, space)`.

    `past` says which tasks lie behind. The space is `workspace(params)`, made once per update and handed from step to
    step.
    """
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, setting.num_tasks)
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    loss_fn = task_loss(model.apply, setting)

    def init(key: chex.PRNGKey, example: Batch) -> GemState:
        of_tasks = rings.init(example, setting.num_tasks, memory // setting.num_tasks)
        return GemState(model.init(key, example.x), of_tasks, first_task=jnp.int32(-1))

    def update(key: chex.PRNGKey, state: GemState, batch: Batch) -> tuple[GemState, Info]:
        task = batch.task[0]
        past = rings.past_tasks(state.memory, task)
        is_first = (state.first_task < 0) & batch.valid.any()
        first_task = jnp.where(is_first, task, state.first_task).astype(jnp.int32)
        state = state._replace(first_task=first_task)

        def use(
            key: chex.PRNGKey, carry: tuple[GemState, Any], piece: Batch
        ) -> tuple[tuple[GemState, Any], Info]:
            state, space = carry
            state = state._replace(memory=rings.add(state.memory, task, piece))

            def glance(
                carry: tuple[Params, Any], key: chex.PRNGKey
            ) -> tuple[tuple[Params, Any], Info]:
                params, space = carry
                loss, grads = jax.value_and_grad(loss_fn)(params, piece)
                grads, norm = clip_by_global_norm(grads, clip_norm)
                now = state._replace(params=params)
                projected, space = project(key, now, past, piece, grads, space)
                info = {
                    "loss": loss,
                    "gradient_norm": norm,
                    "projected": _differs(projected, grads),
                }
                return (descend(params, lr, projected), space), info

            (params, space), infos = jax.lax.scan(
                glance, (state.params, space), jax.random.split(key, glances)
            )
            return (state._replace(params=params), space), jax.tree.map(jnp.mean, infos)

        carry = (state, workspace(state.params))
        (state, _), info = scan_pieces(use, key, carry, batch, examples_per_step)
        return state, info

    predict = task_predict(model.apply, setting.class_mask)
    return Learner(init, update, predict, needs=frozenset({"one_task"}))


def _differs(projected: Params, grads: Params) -> jax.Array:
    pairs = zip(jax.tree.leaves(projected), jax.tree.leaves(grads), strict=True)
    return jnp.any(jnp.stack([jnp.any(p != g) for p, g in pairs])).astype(jnp.float32)
