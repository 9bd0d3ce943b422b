"""La-MAML: look-ahead with one learnable rate per weight, which also makes the outer step (the paper's Algorithm 1).

K inner steps on pieces of the incoming batch, and then one outer step with the gradient of the meta-loss, on replayed
and incoming examples, in the weights before the look-ahead.

Dimensions: B batch, K inner steps, M memory slots.
"""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from lamaml_jax import replay
from lamaml_jax.learners.parts.bases import Bases
from lamaml_jax.learners.parts.distillation import empty_memory
from lamaml_jax.learners.parts.factory import learner_factory
from lamaml_jax.learners.parts.gradient_projection import make_projector
from lamaml_jax.learners.parts.look_ahead import PushEpochs, look_ahead_learner
from lamaml_jax.learners.parts.reduction import ReductionState
from lamaml_jax.types import Batch, Learner, Model, NonNegative, Params, Positive, Setting
from lamaml_jax.updates import MetaLossAt, Order, descend, modulated_step


class LaMamlState(NamedTuple):
    """Weights theta, one learning rate alpha per weight, the replay memory, and what keywords add to the method."""

    params: Params
    lrs: Params
    memory: replay.Memory
    reduction: ReductionState = ()
    bases: Bases = ()


@learner_factory
def la_maml(
    model: Model,
    setting: Setting,
    *,
    lr_init: NonNegative = 0.15,
    lr_lr: NonNegative = 0.3,
    inner_steps: int = 10,
    glances: int = 5,
    memory: int = 200,
    replay_batch: int = 10,
    order: Order = "first",
    clip_norm: Positive | None = 2.0,
    meta_loss_at: MetaLossAt = "every",
    inner_lr_relu: bool = True,
    inner_clip: Positive | None = None,
    inner_clip_norm: Positive | None = None,
    replacement: bool = True,
    age_inclusive: bool = True,
    push_epochs: PushEpochs = "first",
    shuffle_glances: bool = True,
    gradient_projection: Positive | None = None,
    projection_directions: int = 30,
    outer_scale: Positive | None = None,
    draw: replay.Draw | None = None,
    distill: Positive | None = None,
    variance_reduction: NonNegative | None = None,
) -> Learner:
    """Return La-MAML, Algorithm 1: per-weight rates learnt by hypergradient, which also make the outer step.

    alpha <- alpha - eta * dL/dalpha, then theta <- theta - max(0, alpha) * dL/dtheta with the updated alpha.

    Args:
        model: The network.
        setting: The stream's static facts.
        lr_init: alpha_0, the initial rate of every weight.
        lr_lr: eta, the learning rate of the rates.
        inner_steps: K, the pieces of ceil(B / K) examples that the incoming batch is cut into; in [1, B].
        glances: Meta-updates per incoming batch, >= 1.
        memory: M, slots of the replay memory, >= 1.
        replay_batch: Examples replayed in each meta-batch, >= 1.
        order: "first" treats the inner gradients as constants; "second" differentiates through them.
        clip_norm: Clip the two meta-gradients separately to this global norm; None does not clip.
        meta_loss_at: "every" averages the meta-loss over theta_1..theta_K (released); "last" is theta_K's (text).
        inner_lr_relu: Whether inner steps use max(0, alpha) (released on MNIST) or alpha.
        inner_clip: Clip inner gradients elementwise to +-this; None does not clip.
        inner_clip_norm: Before that clip each inner gradient to this global norm, so that the first look-aheads of a
            deep network do not blow up; None does not clip.
        replacement: Whether one meta-batch may replay an example twice (released) or not (text).
        age_inclusive: The released reservoir's rule, a hair under uniform; False is uniform (text).
        push_epochs: Whether examples enter the memory in their "first" epoch only (released) or in "every" one
            (text). They enter once per batch, after the first glance's draw.
        shuffle_glances: Whether every glance reshuffles the incoming batch (released).
        gradient_projection: tau, which shortens the outer step's gradient of each kernel along what its layer gets of
            remembered examples, as they are at the last task's end: by the factor tau / (r + tau) along a principal
            direction with r times the energy of the strongest, before the rates multiply it. None steps along the whole
            gradient. The model must have `kernels` and `layer_inputs`; with heads per task the last kernel, which is
            the heads', is left whole.
        projection_directions: The most directions of a layer that are shortened, the strongest; >= 1.
        outer_scale: What multiplies the outer step, whose shortening and clipping it can make up for; None is 1.
        draw: Replaces the draw of a glance: `draw(key, memory, batch) -> (incoming, replayed)`, the latter with the
            memory's `logits` where there is `distill`.
        distill: Weight in the meta-loss of the mean squared distance from the network's logits of replayed examples
            to those that it gave when they entered the memory, which keeps them (DER++); None keeps none.
        variance_reduction: r of VR-MCL, usually below 1: before clipping, both meta-gradients g become estimates
            e_b = g(theta_b) + r (e_{b-1} - g(theta_{b-1})) with both g on this glance's examples and b counting
            glances, which costs a second g; None takes g as it is.

    Returns:
        The learner; its state is a `LaMamlState`, its info, of the last glance, `loss`, `gradient_norm`
        and `lr_gradient_norm` (norms before clipping).

    Raises:
        ValueError: A static argument is out of its range, or the model does not offer what a keyword needs.

    Reference: Gupta, Yadav and Paull, "La-MAML: Look-ahead Meta Learning for Continual Learning", NeurIPS 2020.

    Example:
        >>> import jax, numpy as np
        >>> from lamaml_jax import Batch, Setting, la_maml, networks
        >>> setting = Setting(2, 10, np.ones((2, 10), bool), batch_size=10, batches_per_epoch=1)
        >>> learner = la_maml(networks.mlp(10), setting, glances=1)
        >>> x, y = jax.numpy.ones((10, 784)), jax.numpy.arange(10)
        >>> batch = Batch(x, y, task=jax.numpy.zeros(10, int), valid=jax.numpy.ones(10, bool))
        >>> key = jax.random.key(0)
        >>> state, info = learner.update(key, learner.init(key, batch), batch)
        >>> int(state.memory.seen)
        10
    """
    projector = make_projector(model, setting, gradient_projection, projection_directions)

    def init(key: chex.PRNGKey, example: Batch) -> LaMamlState:
        params = model.init(key, example.x)
        rates = optax.tree.full_like(params, lr_init)
        kept = empty_memory(model.apply, params, example, memory, distill)
        return LaMamlState(params, rates, kept, bases=projector.init(params, kept))

    def outer_step(
        state: LaMamlState, grads: Params, lr_grads: Params, has_examples: jax.Array
    ) -> LaMamlState:
        lrs = descend(state.lrs, lr_lr, lr_grads)
        grads = projector.outside(state.bases, grads)
        if outer_scale is not None:
            grads = jax.tree.map(lambda g: jnp.asarray(outer_scale, g.dtype) * g, grads)
        return state._replace(params=modulated_step(state.params, lrs, grads), lrs=lrs)

    learner = look_ahead_learner(
        model,
        setting,
        init,
        lambda state: state.lrs,
        outer_step,
        inner_steps=inner_steps,
        glances=glances,
        memory=memory,
        replay_batch=replay_batch,
        order=order,
        clip_norm=clip_norm,
        meta_loss_at=meta_loss_at,
        inner_lr_relu=inner_lr_relu,
        inner_clip=inner_clip,
        inner_clip_norm=inner_clip_norm,
        replacement=replacement,
        age_inclusive=age_inclusive,
        push_epochs=push_epochs,
        shuffle_glances=shuffle_glances,
        draw=draw,
        distill=distill,
        variance_reduction=variance_reduction,
    )
    return projector.renewing(learner)
