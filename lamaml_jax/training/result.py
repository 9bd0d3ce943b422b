"""What training gives back: measurements, tables and pictures of them, and the trained learners, to keep and to use.

Dimensions: R runs (seeds, point by point), P points, S stages (the tasks that are learnt), T tasks, B batch, C classes.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from lamaml_jax import checks, hyper, metrics, parallel, streams
from lamaml_jax.loop import Seed, evaluation_key, make_run
from lamaml_jax.streams import Benchmark
from lamaml_jax.training import description, saving
from lamaml_jax.training.planning import Plan
from lamaml_jax.training.tabulating import tabulate
from lamaml_jax.types import State

if TYPE_CHECKING:
    from matplotlib.figure import Figure

METRICS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "ra": metrics.retained_accuracy,
    "la": metrics.learning_accuracy,
    "bti": metrics.backward_transfer,
    "fwt": metrics.forward_transfer,
}
"""Of an accuracy matrix, by name."""


class NotMeasured(ValueError, AttributeError):
    """Runs have no measurement of this name; `hasattr` says so as well."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """Runs that have been trained, point by point and within a point seed by seed.

    Attributes:
        plan: What was trained: learner, model, settings, seeds and points.
        record: All that was measured, by name; see `recording`.
        state: The learners' states with the axis of runs first, on the host.
    """

    plan: Plan
    record: dict[str, np.ndarray]
    state: State

    @property
    def accuracy(self) -> np.ndarray:
        """Accuracies in [0, 1], `[R, S + 1, T]`: row 0 before training, then after each stage; NaN where diverged.

        Raises:
            NotMeasured: The runs minimised a loss of their own, so that they have `eval_loss` instead.
        """
        if "accuracy" not in self.record:
            raise NotMeasured("The runs were trained with a loss of their own; see `eval_loss`.")
        return self.record["accuracy"]

    @property
    def eval_loss(self) -> np.ndarray:
        """Mean losses on evaluation data `[R, S + 1, T]`, of runs with a loss of their own.

        Raises:
            NotMeasured: The runs classify, so that they have `accuracy` instead.
        """
        if "eval_loss" not in self.record:
            raise NotMeasured("The runs classify; see `accuracy`.")
        return self.record["eval_loss"]

    @property
    def seeds(self) -> np.ndarray:
        """The seed of every run `[R]`."""
        return self.record["seeds"]

    @property
    def points(self) -> list[dict[str, float]]:
        """What sets the point of every run apart: swept settings by name."""
        return [dict(point) for point, _ in self.plan.runs.each()]

    @property
    def diverged(self) -> np.ndarray:
        """Which runs met a number that is not finite `[R]`."""
        return self.record["diverged"]

    def metrics(self) -> dict[str, np.ndarray]:
        """Return RA, LA, BTI and FWT of every run `[R]`, by name, over the tasks that were learnt.

        Of a sequence all tasks count. Under a loss of the runs' own they are what the formulas make of losses: the mean
        loss in the end, when just learnt, how far it rose since, and how far earlier tasks changed it. NaN is what is
        undefined: where tasks do not come one after the other, all but RA; where a run diverged, everything; where a
        mean loss overflowed, which is infinite then, its difference from another such.
        """
        with np.errstate(invalid="ignore"):  # a loss that overflowed, minus another
            found = self._metrics_of_whole()
        return {name: np.where(self.diverged, np.nan, of_runs) for name, of_runs in found.items()}

    def stages_learnt(self) -> int:
        """Return how many tasks, or parts of a sequence, were learnt before training ended."""
        # A mean loss may overflow where training was well.
        is_known = ~np.isnan(self._evaluations()[:, list(self.plan.rows)]).all(axis=(0, 2))
        return int(np.flatnonzero(is_known).max(initial=-1)) + 1

    def __repr__(self) -> str:
        """Say what was trained, without arrays."""
        plan = self.plan
        return (
            f"Result({hyper.name_of(plan.learner)}, {len(self.seeds)} runs, {self.stages_learnt()} of "
            f"{len(plan.rows)} stages learnt)\n{self.table()}"
        )

    def _repr_markdown_(self) -> str:
        return self.table()

    def table(self) -> str:
        """Return a Markdown table with a row per point: mean ± standard deviation over seeds, accuracies in percent.

        Runs that diverged are left out; it says which, and in which task.
        """
        return tabulate(self)

    def plot(self) -> "Figure":
        """Return a figure of the mean over the tasks learnt so far, after each of them: a line and band per point.

        Runs that diverged are left out. A line has gaps where not all of these tasks were evaluated. The figure shows
        itself where it is the last line of a notebook's cell, and leaves pyplot alone.
        """
        from lamaml_jax.training.plotting import plot_progress

        return plot_progress(self)

    def state_of(self, run: int) -> State:
        """Return one run's state, such as a learner's functions take.

        Args:
            run: In the order of `seeds` and `points`.

        Raises:
            ValueError: There is no such run.
        """
        checks.integer("run", run, 0, len(self.seeds) - 1)
        return jax.tree.map(lambda a: a[run], self.state)

    def predict(
        self, x: Any, task: int = 0, *, run: int | None = None, eval_batch: int = 1000
    ) -> np.ndarray:
        """Return the learners' scores on inputs of a task.

        Args:
            x: `[B, ...]`, as the stream's own are before they are transformed: a task that turns or shuffles pixels
                does so with these.
            task: Of all inputs.
            run: Of which run; None stands for all.
            eval_batch: Inputs that go through the network at once, which bounds the memory; as many at once as in
                training by default. The last bits of scores may depend on it.

        Returns:
            `[R, B, C]`, or `[B, C]` of one run; outputs of other heads than the task's are at minus infinity.

        Raises:
            ValueError: An argument is out of its range, or `x` is not of the stream's shape or kind.
        """
        stream, num_runs = self.plan.stream, len(self.seeds)
        checks.integer("task", task, 0, stream.setting.num_tasks - 1)
        checks.integer("eval_batch", eval_batch, 1)
        if run is not None:
            checks.integer("run", run, 0, num_runs - 1)
        inputs = streams.stored_like("x", x, stream.images)

        chosen = slice(None) if run is None else slice(run, run + 1)
        call = self._called(self._scoring(len(self.seeds[chosen])), chosen)
        parts = [call(part, np.int32(task)) for part in _parts(inputs, eval_batch)]
        found = np.concatenate(parts, axis=1)[:, : len(inputs)]
        return found if run is None else found[0]

    def evaluate(self, stream: Benchmark | None = None, *, eval_batch: int = 1000) -> np.ndarray:
        """Return the accuracies, or mean losses, of all runs on the evaluation data of a stream `[R, T]`.

        Args:
            stream: With the same inputs, heads and tasks, such as new data of these; None takes the runs' own. The loss
                is the runs', whatever the stream's.
            eval_batch: As for `train`; the same gives the same bits as training did.

        Raises:
            ValueError: The stream does not fit; or the result was loaded, and has none.
        """
        stream = self.plan.stream if stream is None else description.fitted(stream, self.plan)
        if not len(stream.images):
            raise ValueError("stream is not given; a saved learner holds no data to evaluate on.")
        functions = make_run(stream, self.plan.build, eval_batch=eval_batch)
        num_tasks = np.int32(stream.setting.num_tasks)

        def accuracy(seed: Seed, state: State, images: jax.Array) -> jax.Array:
            return functions.evaluate(
                seed, functions.draw_stream(seed), state, images, 0, num_tasks
            )

        program = parallel.over_runs(accuracy, parallel.run_mesh(), len(self.seeds))
        return self._called(program, slice(None))(stream.images)

    def save(self, directory: str | pathlib.Path) -> None:
        """Write learner.json, learner.npz and results.npz, which `load` reads; nothing in them is pickled.

        Args:
            directory: Created if it is not there; the runs' own `checkpoint_dir` may be taken.

        Raises:
            ValueError: It holds other runs, which differ in what is named.
        """
        saving.save(pathlib.Path(directory), self.plan, self.record, self.state)

    @staticmethod
    def load(directory: str | pathlib.Path, **given: Any) -> "Result":
        """Return what `save` has written.

        Args:
            directory: The folder.
            **given: What a file cannot hold: the `learner`, `model`, `stream` or `loss` where they are not this
                package's own, and settings of the learner that are functions, by name. It is warned of what computes
                something else than what was trained, as far as that can be told.

        Raises:
            ValueError: A file is missing or damaged, or something must be given.
        """
        return Result(*saving.load(pathlib.Path(directory), given))

    def _evaluations(self) -> np.ndarray:
        return self.accuracy if "accuracy" in self.record else self.eval_loss

    def _metrics_of_whole(self) -> dict[str, np.ndarray]:
        """Return the metrics of all runs; they mean nothing of those that diverged."""
        done, tasks = self.stages_learnt(), self.plan.tasks()
        values = self._evaluations().astype(np.float64)
        found = dict.fromkeys(METRICS, np.full(len(values), np.nan))
        if not done:
            return found
        if not self.plan.is_mixed():
            values = values[:, : done + 1]
        if tasks is None:
            return found | {"ra": metrics.retained_accuracy(values)}
        if self.plan.is_mixed():
            return found | {"ra": metrics.retained_accuracy(values[:, :, list(tasks)])}
        return {name: metric(values[:, :, list(tasks[:done])]) for name, metric in METRICS.items()}

    @functools.cached_property
    def _scoring(self) -> Callable[[int], Callable[..., Any]]:
        """Return the program that scores inputs for so many runs: the same one each time, so that it compiles once."""

        def scores(seed: Seed, state: State, x: jax.Array, task: jax.Array) -> jax.Array:
            stream = self.plan.stream
            drawn = make_run(stream, self.plan.build).draw_stream(seed)
            transform = jax.tree.map(lambda a: a[task], drawn.transform)
            x = stream.inputs.evaluation(x, jnp.arange(len(x)), transform)
            learner = self.plan.build(seed.hyper)
            return learner.predict(state, x, task, evaluation_key(seed, task))

        return functools.cache(functools.partial(parallel.over_runs, scores, parallel.run_mesh()))

    def _called(self, program: Callable[..., Any], chosen: slice) -> Callable[..., np.ndarray]:
        """Return what calls a program of `parallel.over_runs` on the chosen runs with what they share."""
        mesh = parallel.run_mesh()
        runs = jax.tree.map(lambda a: a[chosen], (self.plan.runs.stacked(), self.state))
        num_runs, placed = len(self.seeds[chosen]), parallel.place(runs, mesh)

        def call(*shared: Any) -> np.ndarray:
            return parallel.collect(program(placed, parallel.replicate(shared, mesh)), num_runs)

        return call


def _parts(inputs: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Yield the inputs in parts of one shape; the last is filled up with copies of its last."""
    if len(inputs) <= size:
        yield inputs
        return
    for first in range(0, len(inputs), size):
        part = inputs[first : first + size]
        yield np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
