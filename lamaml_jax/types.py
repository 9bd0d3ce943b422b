"""The contracts that everything else keeps: model, stream setting, batch and learner.

Dimensions: T tasks, B batch, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, Protocol, TypeAlias

import chex
import jax
import numpy as np

Params: TypeAlias = chex.ArrayTree
State: TypeAlias = Any
Gates: TypeAlias = Sequence[jax.Array]
"""What multiplies the hidden units of a network: one vector per gated layer, in order."""
Info: TypeAlias = dict[str, jax.Array]
"""What an update reports and does not carry: scalars by name."""


class Range(NamedTuple):
    """The values that a float hyper-parameter may take, checked on the host before anything compiles."""

    text: str
    contains: Callable[[float], bool]


NonNegative: TypeAlias = Annotated[
    float | jax.Array, Range("a finite number >= 0", lambda v: v >= 0)
]
Positive: TypeAlias = Annotated[float | jax.Array, Range("a finite number > 0", lambda v: v > 0)]


Loss: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]


class Setting(NamedTuple):
    """Static facts of a stream, known before anything is traced.

    Attributes:
        num_tasks: T.
        num_classes: C, the outputs of the network over all heads.
        class_mask: bool `[T, C]`, the outputs that belong to each task's head.
        batch_size: B, examples that arrive at once.
        batches_per_epoch: Incoming batches in one pass over a task, the longest where tasks are not equally long.
        epochs: Passes over each task; 1 is the single-pass protocol.
        loss: What is minimised of every example, `loss(outputs [B, C], y [B, ...]) -> [B]`; None stands for the
            cross-entropy over the outputs of the example's task. Under another loss all tasks share all outputs.
    """

    num_tasks: int
    num_classes: int
    class_mask: np.ndarray
    batch_size: int
    batches_per_epoch: int
    epochs: int = 1
    loss: Loss | None = None


class Batch(NamedTuple):
    """Examples, with what a learner may know of them.

    A compiled program cannot refuse what breaks this contract: `check_batch` does, on the host.

    Attributes:
        x: Inputs `[B, ...]`.
        y: Labels `[B]`, counted over all heads, in `[0, C)` and of the example's own task's head; under a loss of the
            stream's own whatever that compares outputs with, `[B, ...]`.
        task: Task ids `[B]` in `[0, T)`.
        valid: bool `[B]`; an invalid row is padding, which comes last, and changes nothing.
        first_epoch: bool scalar: these examples are seen for the first time.
        progress: Scalar in [0, 1), the share of the epoch that lies behind; None lets methods that anneal within an
            epoch (HAT) count batches themselves.
        num_batches: int scalar, the batches of this task's epoch; None where that is the setting's
            `batches_per_epoch`, as in all streams whose tasks are equally long.
        logits: What a learner's memory keeps of the network's outputs, for the first R <= B rows, `[R, C]`; None where
            it keeps none, and in all that a stream brings.
    """

    x: jax.Array
    y: jax.Array
    task: jax.Array
    valid: jax.Array
    first_epoch: jax.Array | bool = True
    progress: jax.Array | float | None = None
    num_batches: jax.Array | int | None = None
    logits: jax.Array | None = None


class Apply(Protocol):
    """`apply(params, x, gates=None) -> logits [B, C]`; a plain `apply(params, x)` is one as well.

    `gates` are passed by name, and only by methods that mask units, to models that have `gate_sizes`.
    """

    def __call__(self, params: Params, x: jax.Array, /, *args: Any, **kwargs: Any) -> jax.Array:
        """Return the logits `[B, C]` of inputs `x [B, ...]`."""


class Model(NamedTuple):
    """A network as pure functions; any framework's, or hand-written.

    Attributes:
        init: `init(key, x) -> params` for inputs shaped like `x [B, ...]`.
        apply: `apply(params, x, gates=None) -> logits [B, C]`.
        features: `features(params, x) -> [B, D]`, the penultimate activations, for methods that classify by them.
        gate_sizes: Units per hidden layer that `gates` multiply, for methods that mask units.
        gate_params: `gate_params(params, gates) -> tree like params`, which parameter belongs to which gates: the
            smaller gate of the two units that a weight joins, and a bias's unit's gate. An input counts as a gate
            of 1, an output as one of 0. For methods that protect the parameters of masked units.
        kernels: The paths of the kernels that multiply the layers' inputs, as "Dense_0/kernel", from the first layer to
            the output layer, for methods that protect what old inputs reach.
        layer_inputs: `layer_inputs(params, x) -> one array [N, D] per kernel`, in their order: the rows that multiply
            the kernel, reshaped to `[D, units]`, equally many of each example and example by example; of a convolution
            the patches of all images.
        source: The name and arguments of the function of `networks` that made it, for files; None of one's own.
    """

    init: Callable[[chex.PRNGKey, jax.Array], Params]
    apply: Apply
    features: Callable[[Params, jax.Array], jax.Array] | None = None
    gate_sizes: tuple[int, ...] = ()
    gate_params: Callable[[Params, Gates], Params] | None = None
    kernels: tuple[str, ...] = ()
    layer_inputs: Callable[[Params, jax.Array], tuple[jax.Array, ...]] | None = None
    source: Mapping[str, Any] | None = None


class Predict(Protocol):
    """`predict(state, x, task, key=None) -> scores [B, C]`."""

    def __call__(
        self, state: State, x: jax.Array, task: jax.Array, key: chex.PRNGKey | None = None
    ) -> jax.Array:
        """Return the scores `[B, C]` of inputs `x [B, ...]` that belong to task `task []`."""


def _keep(key: chex.PRNGKey, state: State, data: Batch | None) -> State:
    return state


class Learner(NamedTuple):
    """A continual-learning method as pure functions, made by a factory whose keywords are its configuration.

    Of tasks it may be assumed that ids are names, not an order: a task may come at any time and come back, as the same
    task, and it counts as seen from its first valid example on. All valid examples of one batch, and of a task's data,
    are of one task. Most methods take each example's task by itself, and so learn from batches that mix tasks as well;
    GEM and A-GEM take the first row's task for all, and HAT leaves out rows of other tasks than its step's first.
    Every call of `end_task` ends a task: one that ends again is consolidated again.

    Attributes:
        init: `init(key, example) -> state`; `example` is an incoming `Batch` and only its shapes matter. Shapes
            and dtypes of the state are fixed from here on, and its numbers are finite: one that is NaN or infinite
            says that the run has diverged.
        update: `update(key, state, batch) -> (state, info)`: all that the method does with one incoming batch,
            its glances, replay and memory included.
        predict: `predict(state, x, task, key=None) -> scores [B, C]`.
        end_task: `end_task(key, state, data) -> state`, the identity unless the method consolidates. `data` is the
            task's training data as one `Batch` if `needs` has "task_data", else None.
        needs: What the method needs of a stream, a subset of {"task_id", "task_data", "one_task", "mixed_stream"}: the
            true task at test, all of a task's training data at its end, batches of one task each, and all tasks
            shuffled together instead of in order.
    """

    init: Callable[[chex.PRNGKey, Batch], State]
    update: Callable[[chex.PRNGKey, State, Batch], tuple[State, Info]]
    predict: Predict
    end_task: Callable[[chex.PRNGKey, State, Batch | None], State] = _keep
    needs: frozenset[str] = frozenset()
