"""Elastic weight consolidation: SGD held back where past tasks' Fisher information is high (Kirkpatrick et al. 2017).

Dimensions: T tasks, B batch, N examples of a task.
"""

from typing import Literal, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.losses import require_classes, task_loss, task_predict, task_scores
from lamaml_jax.pieces import scan_pieces
from lamaml_jax.types import Batch, Info, Learner, Model, NonNegative, Params, Positive, Setting
from lamaml_jax.updates import clip_by_global_norm, descend

Fisher: TypeAlias = Literal["per_example", "batch"]
FisherLabels: TypeAlias = Literal["model", "data"]


class EwcState(NamedTuple):
    """Weights, and what past tasks hold on to: sums over them, shaped like the weights.

    Attributes:
        params: theta.
        fisher: sum_t F_t.
        fisher_params: sum_t F_t theta*_t.
    """

    params: Params
    fisher: Params
    fisher_params: Params


@learner_factory
def ewc(
    model: Model,
    setting: Setting,
    *,
    lr: NonNegative = 0.001,
    penalty: NonNegative = 100.0,
    fisher: Fisher = "per_example",
    fisher_labels: FisherLabels = "model",
    fisher_examples: int | None = None,
    examples_per_step: int | None = None,
    clip_norm: Positive | None = None,
) -> Learner:
    """Return EWC: SGD on the incoming examples' loss plus lambda/2 sum_t sum_i F_ti (theta_i - theta*_ti)^2 (eq. 3).

    theta*_t are the weights at the end of task t, F_t the diagonal of the Fisher information there. The penalty's
    gradient needs no more than two running sums, exactly, however many tasks there are:

        lambda sum_t F_t (theta - theta*_t) = lambda ((sum_t F_t) theta - sum_t F_t theta*_t).

    The sum is over ends of tasks: one that comes back and ends again adds a term, with its Fisher and weights then.

    MER's code, where the MNIST baselines come from, has no half before its lambda: its lambda is half of `penalty`. It
    also takes fisher="batch", fisher_labels="data", fisher_examples=10.

    Args:
        model: The network.
        setting: The stream's static facts.
        lr: Learning rate.
        penalty: lambda. SGD diverges in weights where lr * lambda * sum_t F_t > 2.
        fisher: "per_example" is the mean of the squared gradients of single examples' log-likelihood, an estimate of
            the Fisher information; "batch" the squared gradient of their mean, as in MER's code: with labels from the
            model the former over N, in expectation.
        fisher_labels: "model" draws each example's label from the model's own distribution over the task's outputs,
            which is what the Fisher information, and with it eq. 3, is an expectation under; "data" takes the given
            labels, as many implementations do: that estimate vanishes where they are fitted.
        fisher_examples: Estimate on so many of the task's examples, drawn at random without replacement, >= 1; None
            takes all.
        examples_per_step: Incoming examples that share a step, a divisor of B; None takes the whole batch.
        clip_norm: Clip the gradient of loss and penalty together to this global norm; None does not clip.

    Returns:
        The learner; its state is an `EwcState`, its info `loss` (without the penalty) and `gradient_norm` (with it).

    Raises:
        ValueError: A static argument is out of its range.

    Reference:
        Kirkpatrick et al., "Overcoming catastrophic forgetting in neural networks", PNAS 2017.

    Example:
        >>> import numpy as np
        >>> from lamaml_jax import Setting, ewc, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> ewc(networks.mlp(10), setting, penalty=20.0).needs
        frozenset({'task_data'})
    """
    require_classes("ewc", setting)
    checks.choice("fisher", fisher, Fisher)
    checks.choice("fisher_labels", fisher_labels, FisherLabels)
    if fisher_examples is not None:
        checks.integer("fisher_examples", fisher_examples, 1)
    examples_per_step = checks.step_size(examples_per_step, setting.batch_size)
    loss_fn = task_loss(model.apply, setting)

    def init(key: chex.PRNGKey, example: Batch) -> EwcState:
        params = model.init(key, example.x)
        # Two trees of zeros: a state that holds one buffer twice cannot be donated.
        return EwcState(params, *(jax.tree.map(jnp.zeros_like, params) for _ in range(2)))

    def step(key: chex.PRNGKey, state: EwcState, piece: Batch) -> tuple[EwcState, Info]:
        strength = jnp.where(piece.valid.any(), penalty, 0.0)  # a piece of padding pulls nowhere
        loss, grads = jax.value_and_grad(loss_fn)(state.params, piece)
        grads = jax.tree.map(
            lambda g, p, f, fp: g + strength.astype(g.dtype) * (f * p - fp), grads, *state
        )
        grads, norm = clip_by_global_norm(grads, clip_norm)
        params = descend(state.params, lr, grads)
        return state._replace(params=params), {"loss": loss, "gradient_norm": norm}

    def update(key: chex.PRNGKey, state: EwcState, batch: Batch) -> tuple[EwcState, Info]:
        return scan_pieces(step, key, state, batch, examples_per_step)

    def squared_gradient(key: chex.PRNGKey, params: Params, batch: Batch) -> Params:
        if fisher_labels == "model":
            scores = task_scores(model.apply(params, batch.x), setting.class_mask, batch.task)
            drawn = jax.random.categorical(key, scores)
            batch = batch._replace(y=drawn.astype(batch.y.dtype))
        return jax.tree.map(jnp.square, jax.grad(loss_fn)(params, batch))

    def estimate(key: chex.PRNGKey, params: Params, batch: Batch) -> Params:
        if fisher == "batch":
            return squared_gradient(key, params, batch)

        def add(key: chex.PRNGKey, total: Params, example: Batch) -> tuple[Params, Info]:
            return jax.tree.map(jnp.add, total, squared_gradient(key, params, example)), {}

        # One by one: a vmap over examples would write every example's gradient to memory (on CPU 20 times slower).
        total, _ = scan_pieces(add, key, jax.tree.map(jnp.zeros_like, params), batch, 1)
        return jax.tree.map(lambda f: f / jnp.maximum(batch.valid.sum(), 1), total)

    def end_task(key: chex.PRNGKey, state: EwcState, data: Batch | None) -> EwcState:
        if data is None:
            raise ValueError("data is None; it must be the task's training data.")
        if fisher_examples is not None:
            key_rows, key = jax.random.split(key)
            rows = jax.random.permutation(key_rows, len(data.y))
            rows = rows[jnp.argsort(~data.valid[rows])][:fisher_examples]  # padding last
            x, y, task, valid = (a[rows] for a in data[:4])
            data = data._replace(x=x, y=y, task=task, valid=valid)
        params = state.params
        new = estimate(key, params, data)
        return EwcState(
            params,
            jax.tree.map(jnp.add, state.fisher, new),
            jax.tree.map(lambda fp, f, p: fp + f * p, state.fisher_params, new, params),
        )

    return Learner(
        init,
        update,
        task_predict(model.apply, setting.class_mask),
        end_task,
        frozenset({"task_data"}),
    )
