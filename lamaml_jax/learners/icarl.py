"""iCaRL: herded exemplars, nearest-mean prediction and distillation (Rebuffi et al. 2017), for known task ids.

Dimensions: B batch, T tasks, C classes over all heads, H classes of one task, M memory slots, N examples of a task,
D features.
"""

import functools
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax

from lamaml_jax import checks
from lamaml_jax.learners.parts.exemplars import (
    Draw,
    Exemplars,
    class_means,
    draw_uniformly,
    herd,
    one_per_set,
    put_sets,
    set_sizes,
    squared_distances,
)
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.losses import require_classes, task_loss, task_scores
from lamaml_jax.pieces import filled_up, scan_pieces
from lamaml_jax.types import Batch, Info, Learner, Model, NonNegative, Params, Positive, Setting
from lamaml_jax.updates import sgd_step

Features: TypeAlias = Literal["penultimate", "logits"]

_CHUNK = 100  # examples that pass through the network at once where there may be thousands


class IcarlState(NamedTuple):
    """Weights and the exemplars."""

    params: Params
    memory: Exemplars


@learner_factory
def icarl(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.03,
    memory: int = 200,
    memory_strength: NonNegative = 1.0,
    glances: int = 1,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
    features: Features = "penultimate",
    draw: Draw | None = None,
) -> Learner:
    """Return iCaRL in the variant that GEM's authors made for known task ids, which La-MAML's authors also used.

    A step descends, over the outputs p of a task's own head only,

        cross-entropy of the incoming examples + memory_strength * sum over ended tasks of mean KL(q || p),

    the mean over one exemplar per class of that task, drawn anew for each step; q are the network's outputs on it
    when a task ended last. (Its own paper distils a sigmoid per class, and trains on the exemplars' labels too.)
    At a task's end M // n exemplars of each of its classes are herded (Algorithm 4, each example at most once), n
    counting all classes so far, whose older sets are cut to as many (Algorithm 5). An input is predicted to be of the
    task's class whose exemplars' mean is nearest in feature space (Algorithm 1).

    Tasks may come in any order, share batches, and come back: a step does not distil the tasks of its own examples,
    and the sets of a task that ends again are herded anew in place of the old.

    Args:
        model: The network.
        setting: The stream's static facts; all tasks must have equally many classes.
        lr: Learning rate.
        memory: M, exemplars over all classes, at least as many as a task has classes. Classes that find no slot left
            have none, and are not told apart.
        memory_strength: Weight of the distillation.
        glances: SGD steps on the same incoming examples, each with its own draw of exemplars, >= 1.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
        clip_norm: Clip gradients to this global norm; None does not clip.
        features: "penultimate" takes the last hidden activations scaled to unit length, and so their means (its own
            paper); "logits" takes the outputs, for herding those of the task's own head (released by GEM).
        draw: Replaces the draws of exemplars: `draw(key, glance, sizes) -> ranks`, which exemplar of each of the sets
            of `sizes [(T - 1) H]`, those of all tasks but the current, the step of index `glance` distils.

    Returns:
        The learner; its state is an `IcarlState`, its info `loss` and `gradient_norm`. Its scores are minus the
        squared distances; a class without exemplars has the lowest number there is, and so do all classes of a task
        that has not ended.

    Raises:
        ValueError: A static argument is out of its range, or the model does not offer the features.

    Reference:
        Rebuffi, Kolesnikov, Sperl and Lampert, "iCaRL: Incremental Classifier and Representation Learning", CVPR
        2017; Lopez-Paz and Ranzato, "Gradient Episodic Memory for Continual Learning", NeurIPS 2017.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, icarl, networks
        >>> heads = np.kron(np.eye(2), np.ones((1, 5))) > 0
        >>> setting = Setting(2, 10, heads, batch_size=10, batches_per_epoch=1)
        >>> sorted(icarl(networks.mlp(10), setting, memory=50).needs)
        ['task_data', 'task_id']
    """
    heads = _heads(setting.class_mask)
    require_classes("icarl", setting)
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, heads.shape[1])
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    checks.choice("features", features, Features)
    draw = draw or draw_uniformly
    embed = _embedding(model, features)
    loss_fn = task_loss(model.apply, setting)

    def own_logits(params: Params, x: jax.Array, task: jax.Array) -> jax.Array:
        """Return the outputs `[B, H]` of each example's own head."""
        return jnp.take_along_axis(model.apply(params, x), jnp.asarray(heads)[task], axis=1)

    def init(key: chex.PRNGKey, example: Batch) -> IcarlState:
        params = model.init(key, example.x)
        output = jax.eval_shape(own_logits, params, example.x, example.task)
        x, y, task = (jnp.zeros((memory, *a.shape[1:]), a.dtype) for a in example[:3])
        targets = jnp.zeros((memory, output.shape[1]), output.dtype)
        places = jnp.full(setting.num_tasks, setting.num_tasks, jnp.int32)
        empty = Exemplars(x, y, task, jnp.zeros(memory, bool), targets, places)
        return IcarlState(params, empty)

    def distillation(params: Params, drawn: Exemplars) -> jax.Array:
        log_p = jax.nn.log_softmax(own_logits(params, drawn.x, drawn.task))
        divergence = optax.losses.kl_divergence(log_p, drawn.targets)
        return jnp.vdot(drawn.valid.astype(divergence.dtype), divergence) / heads.shape[1]

    def use(key: chex.PRNGKey, state: IcarlState, piece: Batch) -> tuple[IcarlState, Info]:
        strength = jnp.where(piece.valid.any(), memory_strength, 0)
        # A task alone is its own other, which it does not distil: a network need not take an empty batch.
        others = jnp.arange(max(setting.num_tasks - 1, 1))
        others += others >= piece.task[piece.valid.argmax()]
        others %= setting.num_tasks
        sizes = set_sizes(state.memory, others)

        def glance(params: Params, inputs: tuple[jax.Array, chex.PRNGKey]) -> tuple[Params, Info]:
            index, key = inputs
            drawn = one_per_set(state.memory, others, draw(key, index, sizes))
            is_current = ((drawn.task[:, None] == piece.task) & piece.valid).any(axis=1)
            examples = Batch(drawn.x, drawn.y, drawn.task, drawn.valid & ~is_current)
            drawn = drawn._replace(x=filled_up(examples, piece).x, valid=examples.valid)

            def objective(params: Params, piece: Batch) -> jax.Array:
                return loss_fn(params, piece) + strength * distillation(params, drawn)

            return sgd_step(objective, params, piece, lr, clip_norm=clip_norm)

        keys = jax.random.split(key, glances)
        params, infos = jax.lax.scan(glance, state.params, (jnp.arange(glances), keys))
        return state._replace(params=params), jax.tree.map(jnp.mean, infos)

    def update(key: chex.PRNGKey, state: IcarlState, batch: Batch) -> tuple[IcarlState, Info]:
        return scan_pieces(use, key, state, batch, examples_per_step)

    def end_task(key: chex.PRNGKey, state: IcarlState, data: Batch | None) -> IcarlState:
        if data is None:
            raise ValueError("data is None; it must be the examples of the task that ends.")
        params = state.params
        task = data.task[data.valid.argmax()]
        embedded = _in_chunks(functools.partial(embed, params), data.x)
        if features == "logits":
            embedded = jnp.where(jnp.asarray(setting.class_mask)[task], embedded, 0)
        members = (data.y == jnp.asarray(heads)[task][:, None]) & data.valid
        picks, found = herd(embedded, members, memory // heads.shape[1])
        kept = put_sets(state.memory, data, task, picks, found)
        logits = _in_chunks(functools.partial(own_logits, params), kept.x, kept.task)
        kept = kept._replace(targets=jnp.where(kept.valid[:, None], jax.nn.softmax(logits), 0))
        has_examples = data.valid.any()
        kept = jax.tree.map(lambda new, old: jnp.where(has_examples, new, old), kept, state.memory)
        return IcarlState(params, kept)

    def predict(
        state: IcarlState, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        params, kept = state
        exemplars = _in_chunks(functools.partial(embed, params), kept.x)
        members = (kept.y == jnp.arange(setting.num_classes)[:, None]) & kept.valid
        means = class_means(jnp.where(kept.valid[:, None], exemplars, 0), members)
        if features == "penultimate":
            means = _to_unit_length(means)
        scores = -squared_distances(embed(params, x), means)
        scores = jnp.where(members.any(axis=1), scores, jnp.finfo(scores.dtype).min)
        return task_scores(scores, setting.class_mask, task)

    return Learner(init, update, predict, end_task, frozenset({"task_id", "task_data"}))


def _heads(class_mask: np.ndarray) -> np.ndarray:
    """Return the classes of each task, `[T, H]`."""
    sizes = class_mask.sum(axis=1)
    if sizes.min() != sizes.max():
        raise ValueError(
            f"class_mask has from {sizes.min()} to {sizes.max()} classes per task; "
            "it must have equally many for icarl."
        )
    return np.nonzero(class_mask)[1].reshape(len(class_mask), -1)


def _embedding(model: Model, features: Features) -> Callable[[Params, jax.Array], jax.Array]:
    penultimate = model.features
    if features == "logits":
        return model.apply
    if penultimate is None:
        raise checks.UnfitModel(
            "features is 'penultimate'; it must be 'logits' for a model without features."
        )
    return lambda params, x: _to_unit_length(penultimate(params, x))


def _to_unit_length(features: jax.Array) -> jax.Array:
    norms = jnp.linalg.norm(features, axis=-1, keepdims=True)
    return features / jnp.maximum(norms, jnp.finfo(features.dtype).tiny)


def _in_chunks(fn: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Return `fn(*arrays)`, computed a part of the rows at a time."""
    return jax.lax.map(lambda row: fn(*(a[None] for a in row))[0], arrays, batch_size=_CHUNK)
