"""HAT, hard attention to the task: every task gates the units that it uses and keeps their weights (Serra et al. 2018).

Dimensions: B batch, T tasks, L gated layers, N units of a layer.
"""

import functools
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.losses import task_loss, task_scores
from lamaml_jax.pieces import scan_pieces
from lamaml_jax.types import (
    Batch,
    Gates,
    Info,
    Learner,
    Model,
    NonNegative,
    Params,
    Positive,
    Setting,
)
from lamaml_jax.updates import clip_by_global_norm, descend

_EMBEDDING_LIMIT = 6.0
_COSH_LIMIT = 50.0


class HatState(NamedTuple):
    """Weights, and which units each task uses.

    Attributes:
        params: theta.
        embeddings: e, one array `[T, N]` per gated layer; a task's gates are sigmoid(s e).
        trained: bool `[T]`, the tasks trained since a task ended last.
        ended: bool `[T]`, the tasks that have ended, whose gates at s_max hold the weights.
        batches: int32 scalar, the batches since a task ended last.
    """

    params: Params
    embeddings: tuple[jax.Array, ...]
    trained: jax.Array
    ended: jax.Array
    batches: jax.Array


@learner_factory
def hat(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.05,
    s_max: Positive = 400.0,
    sparsity: NonNegative = 0.75,
    glances: int = 1,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
    binarise: bool = False,
) -> Learner:
    """Return HAT: SGD through gates that are learnt per task, with the weights of earlier tasks held.

    Unit i of a gated layer is multiplied by a_i = sigmoid(s e_i) (eq. 1), e being the task's embedding and s rising
    within each epoch of B batches from 1 / s_max to s_max (eq. 3):

        s = 1 / s_max + (s_max - 1 / s_max) b / (B - 1),  b = 0..B-1,

    or s_max where an epoch is one batch. (Released: b / B, which never gets to s_max.) Batches that do not tell their
    `progress` are counted from the last task's end. With m the cumulative mask, the
    largest gates at s_max over the other tasks that have ended, a step descends

        cross-entropy + sparsity * sum_i a_i (1 - m_i) / sum_i (1 - m_i)   (eqs. 4 and 5)

    with the gradient of the weight between units i and j times 1 - min(m_i, m_j) (eq. 2), a bias's times 1 - m_i,
    and an embedding's times s_max (cosh(s e) + 1) / (s (cosh(e) + 1)) (section 2.5), which undoes what s does to it.
    There s e is clipped to +-50, and e to +-6 after each step; e starts from a standard normal, and a gate that rounds
    to 1 has no gradient, as released. No gate guards the output layer: tasks need heads of their own, which other
    tasks' examples do not reach.

    Tasks may come in any order, end more than once and come back: a task's own gates do not hold its weights, those
    of all others do. A step learns one task, that of its first example, and leaves examples of other tasks out: where
    batches mix tasks, take `examples_per_step=1`.

    Args:
        model: A network with `gate_sizes` and `gate_params`.
        setting: The stream's static facts.
        lr: Learning rate of weights and embeddings.
        s_max: The slope of the gates at an epoch's end, at a task's end and in predictions.
        sparsity: Weight of the regulariser, which leaves units to later tasks.
        glances: SGD steps on the same examples, >= 1.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
        clip_norm: Clip the gradients of weights and of embeddings, each to this global norm (released: both together);
            None does not clip.
        binarise: Whether gates become 0 or 1 at a task's end and in predictions. Then weights that an earlier task
            uses do not move at all, nor do its logits; in the paper's soft form (False) they move by little, because
            of the few gates that a task may leave between 0 and 1.

    Returns:
        The learner; its state is a `HatState`, its info `loss`, `gradient_norm` and `embedding_gradient_norm`
        (norms before clipping) and `capacity_used`, the mean of the cumulative mask. A task never trained is
        predicted through its initial embedding.

    Raises:
        ValueError: A static argument is out of its range, or the model has no gates.

    Reference:
        Serra, Suris, Miron and Karatzoglou, "Overcoming Catastrophic Forgetting with Hard Attention to the Task",
        ICML 2018.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, hat, networks
        >>> heads = np.kron(np.eye(2), np.ones((1, 5))) > 0
        >>> setting = Setting(2, 10, heads, batch_size=10, batches_per_epoch=1)
        >>> sorted(hat(networks.mlp(10), setting, binarise=True).needs)
        ['one_task', 'task_id']
    """
    checks.integer("glances", glances, 1)
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    gate_params = model.gate_params
    if not model.gate_sizes or gate_params is None:
        raise checks.UnfitModel(
            "model has no gates; it must have gate_sizes and gate_params for hat."
        )

    def init(key: chex.PRNGKey, example: Batch) -> HatState:
        key_params, key_embeddings = jax.random.split(key)
        keys = jax.random.split(key_embeddings, len(model.gate_sizes))
        embeddings = tuple(
            jax.random.normal(k, (setting.num_tasks, units))
            for k, units in zip(keys, model.gate_sizes, strict=True)
        )
        trained, ended = (jnp.zeros(setting.num_tasks, bool) for _ in range(2))
        params = model.init(key_params, example.x)
        return HatState(params, embeddings, trained, ended, jnp.int32(0))

    def final_gates(embedding: jax.Array) -> jax.Array:
        if binarise:
            return (embedding > 0).astype(embedding.dtype)
        return jax.nn.sigmoid(s_max * embedding)

    def cumulative_mask(state: HatState, task: jax.Array) -> Gates:
        others = state.ended & (jnp.arange(setting.num_tasks) != task)
        return [jnp.where(others[:, None], final_gates(e), 0).max(axis=0) for e in state.embeddings]

    def objective(params: Params, gates: Gates, piece: Batch, mask: Gates) -> jax.Array:
        loss_fn = task_loss(functools.partial(model.apply, gates=gates), setting)
        return loss_fn(params, piece) + sparsity * _share_of_free_units(gates, mask)

    def update(key: chex.PRNGKey, state: HatState, batch: Batch) -> tuple[HatState, Info]:
        num_batches = setting.batches_per_epoch if batch.num_batches is None else batch.num_batches
        progress = batch.progress
        if progress is None:
            progress = state.batches % num_batches / num_batches
        s = _slope(progress, num_batches, s_max)

        def use(key: chex.PRNGKey, state: HatState, piece: Batch) -> tuple[HatState, Info]:
            holds_examples = piece.valid.any()
            task = piece.task[piece.valid.argmax()]
            piece = piece._replace(valid=piece.valid & (piece.task == task))
            mask = cumulative_mask(state, task)
            free = jax.tree.map(lambda gate: 1 - gate, gate_params(state.params, mask))
            # What is only padding moves nothing: its rate is 0, and its row is beyond the tables and so not written.
            rate = jnp.where(holds_examples, lr, 0)
            row = jnp.where(holds_examples, task, setting.num_tasks)

            def glance(state: HatState, _: None) -> tuple[HatState, Info]:
                embedding = tuple(e[task] for e in state.embeddings)
                gates = tuple(jax.nn.sigmoid(s * e) for e in embedding)
                loss, (grads, gate_grads) = jax.value_and_grad(objective, argnums=(0, 1))(
                    state.params, gates, piece, mask
                )
                grads = jax.tree.map(lambda g, free: g * free, grads, free)
                embedding_grads = tuple(
                    g * _compensated_slope(e, s, s_max)
                    for g, e in zip(gate_grads, embedding, strict=True)
                )
                grads, norm = clip_by_global_norm(grads, clip_norm)
                embedding_grads, embedding_norm = clip_by_global_norm(embedding_grads, clip_norm)
                params = descend(state.params, rate, grads)
                embedding = descend(embedding, rate, embedding_grads)
                embeddings = tuple(
                    table.at[row].set(jnp.clip(e, -_EMBEDDING_LIMIT, _EMBEDDING_LIMIT), mode="drop")
                    for table, e in zip(state.embeddings, embedding, strict=True)
                )
                info = {
                    "loss": loss,
                    "gradient_norm": norm,
                    "embedding_gradient_norm": embedding_norm,
                    "capacity_used": jnp.concatenate(mask).mean(),
                }
                return state._replace(params=params, embeddings=embeddings), info

            state, infos = jax.lax.scan(glance, state, length=glances)
            state = state._replace(trained=state.trained.at[row].set(True, mode="drop"))
            return state, jax.tree.map(jnp.mean, infos)

        state = state._replace(batches=state.batches + batch.valid.any())
        return scan_pieces(use, key, state, batch, examples_per_step)

    def end_task(key: chex.PRNGKey, state: HatState, data: Batch | None) -> HatState:
        nothing = jax.tree.map(jnp.zeros_like, (state.trained, state.batches))
        ended = state.ended | state.trained
        return HatState(state.params, state.embeddings, nothing[0], ended, nothing[1])

    def predict(
        state: HatState, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        gates = [final_gates(e[task]) for e in state.embeddings]
        logits = model.apply(state.params, x, gates=gates)
        return task_scores(logits, setting.class_mask, task)

    return Learner(init, update, predict, end_task, needs=frozenset({"task_id", "one_task"}))


def _slope(
    progress: jax.Array | float, num_batches: jax.Array | int, s_max: jax.Array | float
) -> jax.Array | float:
    """Return s for a batch whose share of the epoch's batches behind it is `progress`."""
    done = jnp.minimum(progress * num_batches / jnp.maximum(num_batches - 1, 1), 1.0)
    # Of a single batch there is no earlier one to anneal from.
    return jnp.where(num_batches == 1, s_max, 1 / s_max + (s_max - 1 / s_max) * done)


def _share_of_free_units(gates: Gates, mask: Gates) -> jax.Array:
    """Return the share that the gates take of the units which no other task uses; 0 where there are none."""
    free = 1 - jnp.concatenate(mask)
    return jnp.vdot(jnp.concatenate(gates), free) / jnp.maximum(
        free.sum(), jnp.finfo(free.dtype).tiny
    )


def _compensated_slope(
    embedding: jax.Array, s: jax.Array | float, s_max: jax.Array | float
) -> jax.Array:
    """Return da/de times the compensation of section 2.5.

    As da/de = s / (2 (cosh(s e) + 1)), the two cancel to s_max / (2 (cosh(e) + 1)) while |s e| <= 50. Multiplied as
    released they are rounding errors from s e = 12 on in single precision, and 0 where the gate rounds to 1. The
    latter is kept, as it matters: late in an epoch the regulariser cannot close a gate that is fully open.
    """
    beyond = jnp.exp(jnp.minimum(_COSH_LIMIT - jnp.abs(s * embedding), 0))
    slope = s_max / 2 / (jnp.cosh(embedding) + 1) * beyond
    return jnp.where(jax.nn.sigmoid(s * embedding) < 1, slope, 0)
