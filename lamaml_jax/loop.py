"""A run as pure functions of one seed: draw the stream, initialise, train on one task, evaluate.

A run is `draw_stream` and `init`, then `train_task` and `evaluate` for every task in order; the caller's loop over
tasks shows progress and saves state in between. Within a task it may do so as well, where it calls `train_steps` for
some of the task's batches at a time and then `end_task` instead of `train_task`. Every key is derived from the seed's
key, the task, the epoch and the step, never from how often something was called, so that a resumed run is the same run.
Tasks may so be trained in any order; one that is trained again is shown again in the same order and with the same
draws.

Where tasks are of unequal size, N and M are the largest one's, and a smaller one has fewer batches; the last of each
epoch is padded.

Dimensions: T tasks, N training and M evaluation examples per task, B batch, L layers.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import batching
from lamaml_jax.losses import num_correct
from lamaml_jax.metrics import rate_summary
from lamaml_jax.streams import Benchmark, Stream
from lamaml_jax.types import Info, Learner, State

Hyper: TypeAlias = dict[str, jax.Array]
BuildLearner: TypeAlias = Callable[[Hyper], Learner]
LayerRates: TypeAlias = tuple[jax.Array, jax.Array]


class Seed(NamedTuple):
    """What sets one run apart from the runs beside it.

    Attributes:
        key: All its randomness.
        hyper: Its float hyper-parameters, float32 scalars by name.
        stream_key: The key of a run whose stream it takes; None takes its own. All else is drawn from `key`.
    """

    key: chex.PRNGKey
    hyper: Hyper
    stream_key: chex.PRNGKey | None = None


class TaskLog(NamedTuple):
    """What training on one task reports.

    Attributes:
        infos: The learner's infos, each `[epochs * batches_per_epoch]`, NaN beyond the batches of a smaller task.
        rates: For learnable rates the mean `[L]` and the share at or below zero `[L]` per layer after the task.
        finite: Whether all numbers in state and infos are finite.
    """

    infos: Info
    rates: LayerRates | None
    finite: jax.Array


class Run(NamedTuple):
    """The functions of a run; `images` are the benchmark's, on the device.

    Attributes:
        draw_stream: `draw_stream(seed) -> Stream`.
        init: `init(seed, stream, images) -> state`.
        train_task: `train_task(seed, stream, state, images, task) -> (state, TaskLog)`.
        evaluate: `evaluate(seed, stream, state, images, first, stop) -> accuracy [T]` in [0, 1] on the tasks from
            `first` up to `stop`, NaN elsewhere and where a run has diverged: where scores are not finite. Under a loss
            of the stream's own it is its mean instead.
        train_steps: `train_steps(seed, stream, state, images, task, first, stop) -> (state, infos)`, which trains on
            the batches from `first` up to `stop` of the task's `epochs * batches_per_epoch`; infos as in `TaskLog`,
            zero for all other batches.
        end_task: `end_task(seed, stream, state, images, task) -> (state, rates, finite)`, what comes after a task's
            last batch; rates as in `TaskLog`, and whether all numbers in the state are finite.

    A learner that needs a "mixed_stream" trains on all tasks' examples, shuffled together, in one call of `train_task`.
    """

    draw_stream: Callable[[Seed], Stream]
    init: Callable[[Seed, Stream, jax.Array], State]
    train_task: Callable[[Seed, Stream, State, jax.Array, jax.Array], tuple[State, TaskLog]]
    evaluate: Callable[..., jax.Array]
    train_steps: Callable[..., tuple[State, Info]]
    end_task: Callable[..., tuple[State, LayerRates | None, jax.Array]]


def make_run(benchmark: Benchmark, build: BuildLearner, *, eval_batch: int = 1000) -> Run:
    """Return the functions of a run on `benchmark` with the learner that `build(hyper)` returns.

    Args:
        benchmark: The stream's facts, images and transforms.
        build: Called inside the trace with the seed's float hyper-parameters.
        eval_batch: Examples that are evaluated at once.

    Returns:
        The functions, none of them compiled; `parallel.over_runs` compiles them for many seeds.
    """
    setting = benchmark.setting
    sizes = batching.Sizes.of(benchmark)

    def draw_stream(seed: Seed) -> Stream:
        own = seed if seed.stream_key is None else seed._replace(key=seed.stream_key)
        return benchmark.make_stream(_keys(own)[0])

    def init(seed: Seed, stream: Stream, images: jax.Array) -> State:
        rows = jnp.zeros(setting.batch_size, jnp.int32)
        key = _keys(seed)[1]
        example = batching.batch(key, benchmark, stream, images, jnp.int32(0), rows, rows == 0)
        return build(seed.hyper).init(key, example)

    def train_task(
        seed: Seed, stream: Stream, state: State, images: jax.Array, task: jax.Array
    ) -> tuple[State, TaskLog]:
        mixed = "mixed_stream" in build(seed.hyper).needs
        num_steps = setting.epochs * sizes.num_batches(stream, task, mixed=mixed)
        state, infos = train_steps(seed, stream, state, images, task, 0, num_steps)
        state, rates, _ = end_task(seed, stream, state, images, task)
        finite = _all_finite((state, infos))
        if sizes.train is not None:
            infos = jax.tree.map(
                lambda a: jnp.where(jnp.arange(len(a)) < num_steps, a, jnp.nan), infos
            )
        return state, TaskLog(infos, rates, finite)

    def train_steps(
        seed: Seed,
        stream: Stream,
        state: State,
        images: jax.Array,
        task: jax.Array,
        first: jax.Array | int,
        stop: jax.Array | int,
    ) -> tuple[State, Info]:
        learner = build(seed.hyper)
        mixed = "mixed_stream" in learner.needs
        key_epochs, _, _ = _task_keys(seed, task)
        is_example = sizes.is_example(stream, task, mixed=mixed)
        per_epoch = sizes.num_batches(stream, task, mixed=mixed)

        def draw_epoch(epoch: jax.Array) -> tuple[jax.Array, ...]:
            key_epoch = jax.random.fold_in(key_epochs, epoch)
            key_order, key_steps, key_inputs = jax.random.split(key_epoch, 3)
            order = key_order if not benchmark.is_sequence else None
            return (
                key_steps,
                key_inputs,
                *batching.ordered_rows(order, is_example, setting.batch_size),
            )

        key_steps, key_inputs, rows, valid = jax.lax.map(draw_epoch, jnp.arange(setting.epochs))

        @functools.partial(jax.jit, inline=True)
        def train_batch(state: State, place: jax.Array) -> tuple[State, Info]:
            epoch, step = jnp.divmod(place, per_epoch)
            key = jax.random.fold_in(key_inputs[epoch], step)
            chosen = rows[epoch, step], valid[epoch, step]
            if mixed:
                batch = batching.mixed_batch(key, benchmark, stream, images, *chosen)
            else:
                batch = batching.batch(key, benchmark, stream, images, task, *chosen)
            batch = batch._replace(
                first_epoch=epoch == 0,
                progress=step / per_epoch,
                num_batches=None if isinstance(per_epoch, int) else per_epoch,
            )
            return learner.update(jax.random.fold_in(key_steps[epoch], step), state, batch)

        def train_and_note(place: jax.Array, carry: tuple[State, Info]) -> tuple[State, Info]:
            state, info = train_batch(carry[0], place)
            noted = jax.tree.map(lambda infos, value: infos.at[place].set(value), carry[1], info)
            return state, noted

        # `first` is of the type of the loop's own places, so that what is traced here is not traced again there.
        _, info = jax.eval_shape(train_batch, state, first)
        nothing = jax.tree.map(lambda a: jnp.zeros(rows.shape[0] * rows.shape[1], a.dtype), info)
        # Bounds that are not traced make a loop of known length.
        return jax.lax.fori_loop(first, stop, train_and_note, (state, nothing))

    def end_task(
        seed: Seed, stream: Stream, state: State, images: jax.Array, task: jax.Array
    ) -> tuple[State, LayerRates | None, jax.Array]:
        learner, data = build(seed.hyper), None
        _, key_end, key_data = _task_keys(seed, task)
        if "task_data" in learner.needs:
            is_example = sizes.is_example(stream, task, mixed=False)
            rows = jnp.arange(len(is_example))
            data = batching.batch(
                key_data, benchmark, stream, images, task, rows, jnp.asarray(is_example)
            )
        state = learner.end_task(key_end, state, data)
        lrs = getattr(state, "lrs", None)
        return state, None if lrs is None else rate_summary(lrs), _all_finite(state)

    def evaluate(
        seed: Seed,
        stream: Stream,
        state: State,
        images: jax.Array,
        first: jax.Array,
        stop: jax.Array,
    ) -> jax.Array:
        learner = build(seed.hyper)
        most = stream.test.image.shape[1]
        rows = batching.in_batches(jnp.arange(most), min(eval_batch, most), -1)

        def accuracy(task: jax.Array) -> jax.Array:
            transform = jax.tree.map(lambda a: a[task], stream.transform)
            num_examples = most if sizes.test is None else jnp.asarray(sizes.test)[task]
            keys = jax.random.split(evaluation_key(seed, task), len(rows))

            def count(i: jax.Array, sofar: tuple[jax.Array, jax.Array]) -> Any:
                valid = (rows[i] >= 0) & (rows[i] < num_examples)
                row = jnp.maximum(rows[i], 0)
                image, label = stream.test.image[task, row], stream.test.label[task, row]
                x = benchmark.inputs.evaluation(images, image, transform)
                # Each part takes a key of its own, which jax_debug_key_reuse cannot see in a loop.
                scores = learner.predict(state, x, task, key=jax.random.clone(keys[i]))
                if setting.loss is None:
                    gained = num_correct(scores, jnp.where(valid, label, -1))
                else:
                    gained = jnp.where(valid, setting.loss(scores, label), 0).sum()
                # Other heads' scores are minus infinity; the highest is not finite where the own head's are not.
                finite = jnp.isfinite(scores.max(axis=-1)) | ~valid
                return sofar[0] + gained, sofar[1] & finite.all()

            num_parts = len(rows) if sizes.test is None else -(-num_examples // rows.shape[1])
            nothing = jnp.zeros((), jnp.int32)
            if setting.loss is not None:  # in double precision its sum is as well
                of_part, _ = jax.eval_shape(count, jnp.int32(0), (nothing, jnp.asarray(True)))
                nothing = jnp.zeros((), jnp.promote_types(jnp.float32, of_part.dtype))
            total, finite = jax.lax.fori_loop(0, num_parts, count, (nothing, jnp.asarray(True)))
            return jnp.where(finite, total / num_examples, jnp.nan)

        row = jnp.full(setting.num_tasks, jnp.nan)
        return jax.lax.fori_loop(first, stop, lambda i, row: row.at[i].set(accuracy(i)), row)

    return Run(draw_stream, init, train_task, evaluate, train_steps, end_task)


def evaluation_key(seed: Seed, task: jax.Array | int) -> jax.Array:
    """Return the key of what a run's predictions on a task draw."""
    return jax.random.fold_in(_keys(seed)[3], task)


def _keys(seed: Seed) -> jax.Array:
    """Return the keys of stream, initial weights, training and evaluation."""
    # Every function of a run splits the seed's key anew and takes a part of its own: not a key used twice, which
    # jax_debug_key_reuse is told by the clone.
    return jax.random.split(jax.random.clone(seed.key), 4)


def _task_keys(seed: Seed, task: jax.Array) -> jax.Array:
    """Return the keys of a task's epochs, of its end, and of the data handed over there."""
    return jax.random.split(jax.random.fold_in(_keys(seed)[2], task), 3)


def _all_finite(tree: chex.ArrayTree) -> jax.Array:
    leaves = jax.tree.leaves(tree)
    return jnp.all(jnp.stack([jnp.asarray(True), *(jnp.isfinite(leaf).all() for leaf in leaves)]))
