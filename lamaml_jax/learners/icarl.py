"""iCaRL: herded exemplars, nearest-mean prediction and distillation (Rebuffi et al. 2017), for known task ids.

Dimensions: B batch, T tasks, C classes over all heads, H classes of one task, M memory slots, N examples of a task,
D features, K exemplars that one step distils.
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
from lamaml_jax.losses import task_loss, task_scores
from lamaml_jax.types import Batch, Info, Learner, Model, NonNegative, Params, Positive, Setting
from lamaml_jax.updates import scan_pieces, sgd_step

Features: TypeAlias = Literal["penultimate", "logits"]

_CHUNK = 100  # examples that pass through the network at once where there may be thousands


class Exemplars(NamedTuple):
    """The memory: M slots shared equally by the exemplar sets, one set per class and task that have ended.

    With n sets, set k has the slots from k * (M // n) up to (k + 1) * (M // n), in the order of herding; a set of a
    class with fewer examples leaves its last slots invalid. Where n exceeds M, the last sets have none.

    Attributes:
        x: Inputs `[M, ...]`.
        y: Labels `[M]`.
        task: Task ids `[M]`.
        valid: bool `[M]`, the slots that hold an exemplar.
        targets: `[M, H]`, the probabilities that the network gave to the classes of the exemplar's own task when a
            task ended last.
        num_sets: int32 scalar, n.
    """

    x: jax.Array
    y: jax.Array
    task: jax.Array
    valid: jax.Array
    targets: jax.Array
    num_sets: jax.Array


class IcarlState(NamedTuple):
    """Weights and the exemplars."""

    params: Params
    memory: Exemplars


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
) -> Learner:
    """Return iCaRL in the variant that GEM's authors made for known task ids, which La-MAML's authors also used.

    A step descends, over the outputs p of a task's own head only,

        cross-entropy of the incoming examples + memory_strength * sum over ended tasks of mean KL(q || p),

    the mean over one exemplar per class of that task, drawn anew for each step; q are the network's outputs on it
    when a task ended last. (Its own paper distils a sigmoid per class, and trains on the exemplars' labels too.)
    At a task's end M // n exemplars of each of its classes are herded (Algorithm 4, each example at most once), n
    counting all classes so far, whose older sets are cut to as many (Algorithm 5). An input is predicted to be of the
    task's class whose exemplars' mean is nearest in feature space (Algorithm 1).

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
    if examples_per_step is None:
        examples_per_step = setting.batch_size
    heads = _heads(setting.class_mask)
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, 1)
    checks.integer("memory", memory, heads.shape[1])
    checks.divisor("examples_per_step", examples_per_step, setting.batch_size)
    checks.choice("features", features, Features)
    num_old_sets = max(setting.num_tasks - 1, 1) * heads.shape[1]
    embed = _embedding(model, features)
    loss_fn = task_loss(model.apply, setting.class_mask)

    def own_logits(params: Params, x: jax.Array, task: jax.Array) -> jax.Array:
        """Return the outputs `[B, H]` of each example's own head."""
        return jnp.take_along_axis(model.apply(params, x), jnp.asarray(heads)[task], axis=1)

    def init(key: chex.PRNGKey, example: Batch) -> IcarlState:
        params = model.init(key, example.x)
        output = jax.eval_shape(own_logits, params, example.x, example.task)
        x, y, task = (jnp.zeros((memory, *a.shape[1:]), a.dtype) for a in example[:3])
        targets = jnp.zeros((memory, output.shape[1]), output.dtype)
        empty = Exemplars(x, y, task, jnp.zeros(memory, bool), targets, jnp.int32(0))
        return IcarlState(params, empty)

    def distillation(params: Params, drawn: Exemplars) -> jax.Array:
        log_p = jax.nn.log_softmax(own_logits(params, drawn.x, drawn.task))
        divergence = optax.losses.kl_divergence(log_p, drawn.targets)
        return jnp.vdot(drawn.valid.astype(divergence.dtype), divergence) / heads.shape[1]

    def use(key: chex.PRNGKey, state: IcarlState, piece: Batch) -> tuple[IcarlState, Info]:
        strength = jnp.where(piece.valid.any(), memory_strength, 0)

        def glance(params: Params, key: chex.PRNGKey) -> tuple[Params, Info]:
            drawn = _one_per_set(key, state.memory, num_old_sets)

            def objective(params: Params, piece: Batch) -> jax.Array:
                return loss_fn(params, piece) + strength * distillation(params, drawn)

            return sgd_step(objective, params, piece, lr, clip_norm=clip_norm)

        params, infos = jax.lax.scan(glance, state.params, jax.random.split(key, glances))
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
        kept = _add_sets(state.memory, data, picks, found)
        logits = _in_chunks(functools.partial(own_logits, params), kept.x, kept.task)
        return IcarlState(params, kept._replace(targets=jax.nn.softmax(logits)))

    def predict(
        state: IcarlState, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        params, kept = state
        exemplars = _in_chunks(functools.partial(embed, params), kept.x)
        members = (kept.y == jnp.arange(setting.num_classes)[:, None]) & kept.valid
        means = _means(exemplars, members)
        if features == "penultimate":
            means = _to_unit_length(means)
        scores = -_squared_distances(embed(params, x), means)
        scores = jnp.where(members.any(axis=1), scores, jnp.finfo(scores.dtype).min)
        return task_scores(scores, setting.class_mask, task)

    return Learner(init, update, predict, end_task, frozenset({"task_id", "task_data"}))


def herd(features: jax.Array, members: jax.Array, num_picks: int) -> tuple[jax.Array, jax.Array]:
    """Pick examples of each class one by one, so that their mean stays nearest to the class's (Algorithm 4).

    The k-th pick is the example, of those not picked before, that minimises || mu - (phi(x) + sum phi(picked)) / k ||.

    Args:
        features: phi, `[N, D]`.
        members: bool `[H, N]`, the examples of each class.
        num_picks: P.

    Returns:
        The picks as rows of `features`, `[P, H]`, and where a class had an example left to pick, bool `[P, H]`.
    """
    means = _means(features, members)
    classes = jnp.arange(members.shape[0])

    def pick(
        carry: tuple[jax.Array, jax.Array], k: jax.Array
    ) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
        total, left = carry
        distances = _squared_distances(k * means - total, features)
        rows = jnp.where(left, distances, jnp.inf).argmin(axis=1)
        found = left.any(axis=1)
        total = total + jnp.where(found[:, None], features[rows], 0)
        return (total, left.at[classes, rows].set(False)), (rows, found)

    _, picked = jax.lax.scan(pick, (jnp.zeros_like(means), members), jnp.arange(1, num_picks + 1))
    return picked


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
        raise ValueError(
            "features is 'penultimate'; it must be 'logits' for a model without features."
        )
    return lambda params, x: _to_unit_length(penultimate(params, x))


def _one_per_set(key: chex.PRNGKey, memory: Exemplars, num_sets: int) -> Exemplars:
    """Draw one exemplar of each of the first `num_sets` sets; rows of sets that are not there are not valid."""
    slots = jnp.arange(memory.y.shape[0])
    share = _share(len(slots), memory.num_sets)
    counts = jnp.zeros(num_sets, jnp.int32).at[slots // share].add(memory.valid, mode="drop")
    ranks = jax.random.randint(key, (num_sets,), 0, jnp.maximum(counts, 1))
    rows = jnp.arange(num_sets) * share + ranks
    x, y, task, targets = (
        a.at[rows].get(mode="clip") for a in (memory.x, memory.y, memory.task, memory.targets)
    )
    return memory._replace(x=x, y=y, task=task, targets=targets, valid=counts > 0)


def _add_sets(memory: Exemplars, data: Batch, picks: jax.Array, found: jax.Array) -> Exemplars:
    """Cut the sets to their new share and append those of `picks`, rows of `data`."""
    slots = jnp.arange(memory.y.shape[0])
    old = memory.num_sets
    new = old + picks.shape[1]
    old_share, share = (_share(len(slots), n) for n in (old, new))
    index, rank = slots // share, slots % share
    is_kept = index < old
    source = jnp.where(is_kept, index * old_share + rank, 0)
    # Slots beyond the last set name a pick that is not there; they are filled with any and not valid.
    row = picks.at[rank, index - old].get(mode="clip")
    is_added = ~is_kept & (index < new) & found.at[rank, index - old].get(mode="clip")

    def fill(kept: jax.Array, offered: jax.Array) -> jax.Array:
        where_kept = is_kept.reshape(-1, *[1] * (kept.ndim - 1))
        return jnp.where(where_kept, kept[source], offered[row])

    return Exemplars(
        fill(memory.x, data.x),
        fill(memory.y, data.y),
        fill(memory.task, data.task),
        jnp.where(is_kept, memory.valid[source], is_added),
        memory.targets,
        new,
    )


def _share(num_slots: int, num_sets: jax.Array) -> jax.Array:
    return jnp.maximum(num_slots // jnp.maximum(num_sets, 1), 1)


def _means(features: jax.Array, members: jax.Array) -> jax.Array:
    """Return the mean features `[H, D]` of each class's members, bool `[H, N]`; 0 where it has none."""
    weights = members.astype(features.dtype)
    return weights @ features / jnp.maximum(weights.sum(axis=1, keepdims=True), 1)


def _to_unit_length(features: jax.Array) -> jax.Array:
    norms = jnp.linalg.norm(features, axis=-1, keepdims=True)
    return features / jnp.maximum(norms, jnp.finfo(features.dtype).tiny)


def _squared_distances(a: jax.Array, b: jax.Array) -> jax.Array:
    """Return `|| a_i - b_j ||^2` of all rows."""
    return (a**2).sum(axis=1)[:, None] - 2 * a @ b.T + (b**2).sum(axis=1)


def _in_chunks(fn: Callable[..., jax.Array], *arrays: jax.Array) -> jax.Array:
    """Return `fn(*arrays)`, computed a part of the rows at a time."""
    return jax.lax.map(lambda row: fn(*(a[None] for a in row))[0], arrays, batch_size=_CHUNK)
