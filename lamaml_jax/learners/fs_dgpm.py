"""FS-DGPM: steps outside the space of old inputs, from the loss at weights perturbed inside it (Deng et al. 2021).

Dimensions: B batch, K inner steps, M memory slots, D inputs of a layer, k directions of its basis.
"""

import functools
from typing import Annotated, Literal, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp
import optax

from lamaml_jax import checks, replay
from lamaml_jax.learners.parts import bases
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.optimizer import make_descent
from lamaml_jax.learners.parts.soft import Soft, SoftState, make_soft_weights
from lamaml_jax.losses import mean_over_valid, task_loss, task_predict
from lamaml_jax.pieces import filled_pieces, split
from lamaml_jax.types import (
    Batch,
    Info,
    Learner,
    Model,
    NonNegative,
    Params,
    Positive,
    Range,
    Setting,
)
from lamaml_jax.updates import Order, clip_by_global_norm, descend

Perturbation: TypeAlias = Literal["flatten", "look_ahead"]
GradientAt: TypeAlias = Literal["perturbed", "unperturbed"]
_Share: TypeAlias = Annotated[float | jax.Array, Range("a number in (0, 1]", lambda v: 0 < v <= 1)]
_Momentum: TypeAlias = Annotated[
    float | jax.Array, Range("a number in [0, 1)", lambda v: 0 <= v < 1)
]

_MOST = 1 - 1e-11  # of the rows' squared length that a basis may hold, as released


class FsDgpmState(NamedTuple):
    """Weights, examples, and what is known of the inputs of ended tasks.

    Attributes:
        params: theta.
        memory: One reservoir of M slots for all tasks.
        bases: V of each layer that has one, `[D, k]`, whose columns beyond the directions kept are zero.
        soft: The weights lambda of its directions.
        opt_state: The momentum of theta.
        seen: bool `[T]`, the tasks that an example was seen of.
        is_based: bool scalar, whether there is a basis: a task has ended.
    """

    params: Params
    memory: replay.Memory
    bases: bases.Bases
    soft: SoftState
    opt_state: optax.OptState
    seen: jax.Array
    is_based: jax.Array


@learner_factory
def fs_dgpm(
    model: Model,
    setting: Setting,
    *,
    perturbation: Perturbation = "flatten",
    soft: Soft = "released",
    lr: NonNegative = 0.01,
    momentum: _Momentum = 0.9,
    perturbation_lr: NonNegative = 0.05,
    weights_lr: NonNegative = 0.01,
    temperature: Positive = 10.0,
    threshold: _Share = 0.99,
    threshold_step: NonNegative = 0.0005,
    inner_steps: int = 2,
    glances: int = 5,
    memory: int = 200,
    replay_batch: int = 10,
    basis_examples: int | None = None,
    order: Order = "first",
    gradient_at: GradientAt = "perturbed",
    clip_norm: Positive | None = 2.0,
    inner_clip: Positive | None = 2.0,
    replacement: bool = False,
    shuffle_glances: bool = True,
    draw: replay.Draw | None = None,
) -> Learner:
    """Return FS-DGPM, and by its keywords La-DGPM, DGPM, FS-GPM and La-GPM.

    With V the basis of a layer's old inputs, lambda the weights of its directions and P = V diag(lambda) V', each of K
    pieces of the incoming batch makes one step of the perturbation, inside the basis,

        theta_{k+1} = theta_k +- perturbation_lr * P grad l(theta_k, piece k),

    uphill to "flatten" the loss's sharpness, downhill to "look_ahead". L is the mean over theta_1..theta_K of the loss
    on replayed and incoming examples, G its gradient in theta_0, and the step, SGD with momentum, is along G - P G:
    outside the basis. Before the first task's end there is no basis, and neither is projected. Biases have none, nor
    has the output layer where tasks have heads of their own. At a task's end each basis is made anew, of the principal
    directions of what the layer gets of remembered examples, and momentum and lambda begin anew, lambda at 1.

    lambda follows dL/dlambda, down to flatten and up in a look-ahead, before the step. "learnt" keeps it in [0, 1] by
    clipping, which is not the authors' way; theirs, "released", puts lambda through sigmoid(temperature * lambda)
    in every glance, and makes the gradient step only in the first one after a task's end: it stays within 1e-4 of 1,
    so that "off", where lambda is 1, gives the same for less.

    Args:
        model: A network with `kernels` and `layer_inputs`.
        setting: The stream's static facts.
        perturbation: "flatten" (FS) or "look_ahead" (La).
        soft: What becomes of lambda: "released", "learnt" or "off" (FS-GPM, La-GPM).
        lr: Learning rate of theta.
        momentum: Of theta's and lambda's steps; below 1.
        perturbation_lr: eta_1.
        weights_lr: eta_2, the learning rate of lambda.
        temperature: tau, of the released lambda.
        threshold: The share of squared length that a basis holds after the first task.
        threshold_step: What each further task that was seen adds to it, up to 1 - 1e-11.
        inner_steps: K, the pieces of ceil(B / K) examples that the incoming batch is cut into; in [1, B].
        glances: Steps on the same incoming examples, each with its own draw, >= 1.
        memory: M, slots of the reservoir, >= 1. Examples enter it after their last glance, in a task's first epoch.
        replay_batch: Examples replayed in each step, >= 1.
        basis_examples: Remembered examples that the bases are made from, in [1, M]; None takes all.
        order: "first" treats the inner gradients as constants; "second" differentiates through them.
        gradient_at: "perturbed" steps along the gradient of L; "unperturbed" (DGPM) along that of the same loss at
            theta_0, so that the perturbation moves lambda alone.
        clip_norm: Clip G, before its projection, and dL/dlambda, each to this global norm; None does not clip.
        inner_clip: Clip the projected inner gradients elementwise to +-this; None does not clip.
        replacement: Whether one step may replay an example twice.
        shuffle_glances: Whether every glance reshuffles the incoming examples.
        draw: Replaces the draw of a glance: `draw(key, memory, batch) -> (incoming, replayed)`.

    Returns:
        The learner; its state is an `FsDgpmState`, its info, of the last glance, `loss`, `gradient_norm` (before
        clipping and projection) and `capacity_used`, the weighted share of a layer's inputs that its basis holds.

    Raises:
        ValueError: A static argument is out of its range, or the model does not offer its layers' inputs.

    Reference:
        Deng, Chen, Hao, Wang and Heng, "Flattening Sharpness for Dynamic Gradient Projection Memory Benefits Continual
        Learning", NeurIPS 2021.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, fs_dgpm, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> fs_dgpm(networks.mlp(10), setting, perturbation="look_ahead", soft="off").needs
        frozenset()
    """
    checks.choice("perturbation", perturbation, Perturbation)
    checks.pieces("inner_steps", inner_steps, setting.batch_size)
    checks.integer("glances", glances, 1)
    checks.integer("memory", memory, 1)
    checks.integer("replay_batch", replay_batch, 1)
    checks.integer("replay_batch", replay_batch, 1, None if replacement else memory)
    if basis_examples is not None:
        checks.integer("basis_examples", basis_examples, 1, memory)
    checks.choice("order", order, Order)
    checks.choice("gradient_at", gradient_at, GradientAt)
    kernels, inputs_of = bases.layers_of(model, setting, "fs_dgpm")
    num_examples = basis_examples or memory
    loss_fn = task_loss(model.apply, setting)
    draw = draw or functools.partial(
        replay.draw, size=replay_batch, replacement=replacement, shuffle=shuffle_glances
    )
    descent = make_descent(optax.sgd(lr, momentum=momentum), lr)
    soft_weights = make_soft_weights(soft, weights_lr, momentum, temperature, clip_norm)
    sign = 1.0 if perturbation == "flatten" else -1.0

    def init(key: chex.PRNGKey, example: Batch) -> FsDgpmState:
        params, kept = model.init(key, example.x), replay.init(example, memory)
        shapes = jax.eval_shape(inputs_of, params, kept.x[:num_examples])
        empty = bases.init(params, kernels, shapes)
        seen, is_based = jnp.zeros(setting.num_tasks, bool), jnp.zeros((), bool)
        start = soft_weights.init(empty), descent.init(params)
        return FsDgpmState(params, kept, empty, *start, seen, is_based)

    def perturbed_loss(
        params: Params,
        weights: bases.Weights,
        state: FsDgpmState,
        pieces: list[Batch],
        joint: Batch,
    ) -> jax.Array:
        losses = []
        for piece in pieces:
            grads = jax.grad(loss_fn)(params, piece)
            if order == "first":
                grads = jax.lax.stop_gradient(grads)
            projected = bases.inside(grads, kernels, state.bases, weights)
            # Without a basis the perturbation is in all directions.
            grads = jax.tree.map(functools.partial(jnp.where, state.is_based), projected, grads)
            if inner_clip is not None:
                grads = jax.tree.map(lambda g: jnp.clip(g, -inner_clip, inner_clip), grads)
            params = descend(params, -sign * perturbation_lr, grads)
            losses.append(loss_fn(params, joint))
        return mean_over_valid(jnp.stack(losses), filled_pieces(pieces))

    def update(key: chex.PRNGKey, state: FsDgpmState, batch: Batch) -> tuple[FsDgpmState, Info]:
        keys = jax.random.split(key, 1 + glances)
        has_examples = batch.valid.any()
        drawn = jax.lax.map(lambda key: draw(key, state.memory, batch), keys[1:])
        kept = replay.add_reservoir(
            keys[0],
            replay.after(state.memory, drawn[1]),
            batch._replace(valid=batch.valid & batch.first_epoch),
        )
        rows = jnp.where(batch.valid, batch.task, setting.num_tasks)
        state = state._replace(memory=kept, seen=state.seen.at[rows].set(True, mode="drop"))

        def glance(state: FsDgpmState, drawn: tuple[Batch, Batch]) -> tuple[FsDgpmState, Info]:
            incoming, replayed = drawn
            pieces, joint = split(incoming, inner_steps), replay.join(replayed, incoming)
            loss, (grads, weights_grads) = jax.value_and_grad(perturbed_loss, argnums=(0, 1))(
                state.params, state.soft.weights, state, pieces, joint
            )
            if gradient_at == "unperturbed":
                loss, grads = jax.value_and_grad(loss_fn)(state.params, joint)
            grads, norm = clip_by_global_norm(grads, clip_norm)
            # Uphill in a look-ahead: either way what old and new tasks agree on is released.
            downhill = jax.tree.map(lambda g: sign * g, weights_grads)
            learnt = soft_weights.step(state.soft, downhill, state.is_based & has_examples)
            grads = bases.outside(grads, kernels, state.bases, learnt.weights)
            params, opt_state = descent.step(state.params, state.opt_state, grads, has_examples)
            info = {"loss": loss, "gradient_norm": norm}
            return state._replace(params=params, soft=learnt, opt_state=opt_state), info

        state, infos = jax.lax.scan(glance, state, drawn)
        info = jax.tree.map(lambda values: values[-1], infos)
        return state, {**info, "capacity_used": bases.used(state.bases, state.soft.weights)}

    def end_task(key: chex.PRNGKey, state: FsDgpmState, data: Batch | None) -> FsDgpmState:
        held = replay.sample(key, state.memory, num_examples, replacement=False)
        earlier_tasks = jnp.maximum(state.seen.sum() - 1, 0)
        share = jnp.minimum(threshold + earlier_tasks * threshold_step, _MOST)
        directions = tuple(
            bases.principal_directions(bases.without_padding(rows, held.valid), share)
            for rows in inputs_of(state.params, held.x)
        )
        return state._replace(
            bases=directions,
            soft=soft_weights.init(directions),
            opt_state=descent.init(state.params),
            is_based=state.memory.seen > 0,
        )

    return Learner(init, update, task_predict(model.apply, setting.class_mask), end_task)
