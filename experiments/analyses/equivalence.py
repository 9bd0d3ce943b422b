"""The meta-gradient against the gradient of its surrogate, at the weights of a trained network (Appendix B)."""

import functools
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from experiments.analyses.folder import About, Part
from experiments.reporting.drawing import COLORS, MARKERS, subplots
from experiments.runs.config import Config
from lamaml_jax import checks, losses, parallel, replay
from lamaml_jax.analysis import log_log_slope, meta_gradient_gaps
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.pieces import split
from lamaml_jax.types import Batch

EXPONENTS = range(2, 21)
"""Of the rates 2^-2 to 2^-20; the steps of many pieces cross kinks even at the text's 2^-12."""

FILE = "equivalence.json"
"""What `measure` returned, in the folder of the analysis."""

_TOLERANCE = 0.1


def read_steps(texts: Sequence[str], batch_size: int) -> list[int]:
    """Read the numbers of inner steps, each a divisor of the batch or at least no more than it.

    Raises:
        ValueError: One is no number of pieces of a batch.
    """
    steps = []
    for text in texts:
        if not text.isdecimal():
            raise ValueError(f"inner_steps is {text!r}; it must be an integer.")
        checks.pieces("inner_steps", int(text), batch_size)
        steps.append(int(text))
    return steps


def measure(
    config: Config, dataset: ImageDataset | None, inner_steps: Sequence[int]
) -> dict[str, Any]:
    """Train on all tasks but the last, and return the gaps there with a batch of the last task.

    Args:
        config: Of one seed of a learner with a memory.
        dataset: The images.
        inner_steps: Numbers of inner steps K.

    Returns:
        `rates`, the norm of the joint gradient, and by K the gaps, the slope between neighbouring rates, and `up_to`:
        the highest rate up to which every slope is 2 within 0.1.
    """
    params, incoming, replayed = _trained(config, dataset)
    benchmark = config.make_benchmark(dataset)
    model = config.model(benchmark.setting.num_classes)
    loss_fn = losses.task_loss(model.apply, benchmark.setting)
    rates = 2.0 ** -np.array(EXPONENTS)
    found: dict[str, Any] = {"rates": rates.tolist(), "steps": {}}
    with jax.enable_x64(True):
        params, incoming, replayed = jax.tree.map(_in_double, (params, incoming, replayed))
        for k in inner_steps:
            gaps = jax.jit(
                lambda k=k: meta_gradient_gaps(
                    loss_fn, params, rates, split(incoming, k), replay.join(replayed, incoming)
                )
            )()
            surrogate = np.asarray(gaps.surrogate)
            slopes = [
                log_log_slope(rates[i : i + 2], surrogate[i : i + 2]) for i in range(len(rates) - 1)
            ]
            found["gradient_norm"] = float(gaps.gradient_norm)
            found["steps"][str(k)] = {
                "surrogate": surrogate.tolist(),
                "joint": np.asarray(gaps.joint).tolist(),
                "slopes": slopes,
                "up_to": _up_to(rates, slopes),
            }
    return found


def table(found: Mapping[str, Any]) -> list[list[str]]:
    """Return what `measure` found as a table, a row per rate."""
    heads = ("to the surrogate", "slope", "to the joint loss")
    rows = [["rate", *(f"{head}, K = {k}" for k in found["steps"] for head in heads)]]
    for i, exponent in enumerate(EXPONENTS):
        cells = []
        for of in found["steps"].values():
            slope = f"{of['slopes'][i]:.3f}" if i < len(of["slopes"]) else "–"
            cells += [f"{of['surrogate'][i]:.3e}", slope, f"{of['joint'][i]:.3e}"]
        rows.append([f"2^-{exponent}", *cells])
    return rows


def parts(found: Mapping[str, Any]) -> list[Part]:
    """Return what `measure` found with its picture."""
    reach = {
        k: "at no rate here" if of["up_to"] is None else f"up to a rate of {of['up_to']:.3g}"
        for k, of in found["steps"].items()
    }
    part = Part(
        "equivalence",
        "Distances of the meta-gradient",
        f"Over the inner rate; the joint gradient's norm is {found['gradient_norm']:.4g}.",
        table(found),
        functools.partial(plot, found),
        ("inner steps", "rate", "to the surrogate", "to the joint loss"),
        [
            (k, *values)
            for k, of in found["steps"].items()
            for values in zip(found["rates"], of["surrogate"], of["joint"], strict=True)
        ],
        [f"K = {k}: a slope of 2, within 0.1, {text}." for k, text in reach.items()],
    )
    return [part]


def read(root: pathlib.Path, about: About) -> list[Part]:
    """Return the parts of a finished analysis in its folder."""
    return parts(json.loads((root / FILE).read_bytes()))


def plot(found: Mapping[str, Any], title: str, *, narrow: bool = False) -> Figure:
    """Draw the gaps over the rates on logarithmic axes, beside lines of slope 1 and 2."""
    figure, (ax,) = subplots(title, (6.4, 5.0), narrow=narrow)
    rates = np.array(found["rates"])
    for i, (k, of) in enumerate(found["steps"].items()):
        color, marker = COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)]
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 5}
        ax.loglog(rates, of["surrogate"], label=f"to surrogate, K = {k}", **style)
        ax.loglog(rates, of["joint"], mfc="white", label=f"to joint loss, K = {k}", **style)
    first = next(iter(found["steps"].values()))
    for power, at in ((1, first["joint"][-1]), (2, first["surrogate"][-1])):
        line = at * (rates / rates[-1]) ** power
        ax.loglog(rates, line, ":", color="grey", zorder=0)
        below: dict[str, Any] = {"xytext": (6, -3), "textcoords": "offset points", "va": "top"}
        ax.annotate(f"slope {power}", (rates[-2], line[-2]), color="black", **below)
    ax.set_xlabel("inner rate α")
    ax.set_ylabel("distance (global norm)")
    ax.grid(color="lightgrey", linewidth=0.6)
    figure.legend(loc="outside lower center", ncols=2, frameon=False)
    return figure


def _trained(config: Config, dataset: ImageDataset | None) -> tuple[Any, Batch, Batch]:
    """Return the weights before the last task, a batch of it, and as many examples of the memory."""
    benchmark, mesh = config.make_benchmark(dataset), parallel.run_mesh()
    functions = config.make_run(benchmark)
    images, seeds = (
        parallel.replicate(benchmark.images, mesh),
        parallel.place(config.runs().stacked(), mesh),
    )
    stream = parallel.over_runs(functions.draw_stream, mesh, 1)((seeds,), ())
    state = parallel.over_runs(functions.init, mesh, 1)((seeds, stream), (images,))
    train = parallel.over_runs(functions.train_task, mesh, 1)
    last = benchmark.setting.num_tasks - 1
    for task in range(last):
        state, _ = train((seeds, stream, state), (images, np.int32(task)))

    seed, stream, state = jax.tree.map(lambda a: a[0], (seeds, stream, state))
    size = benchmark.setting.batch_size
    transform = jax.tree.map(lambda a: a[last], stream.transform)
    x = benchmark.inputs.evaluation(images, stream.train.image[last, :size], transform)
    y = stream.train.label[last, :size]
    incoming = Batch(x, y, jnp.full_like(y, last), y >= 0)
    replayed = replay.sample(jax.random.fold_in(seed.key, size), state.memory, size)
    return state.params, incoming, replayed


def _in_double(a: Any) -> jax.Array:
    a = np.asarray(a)
    return jnp.asarray(a, jnp.float64 if a.dtype == np.float32 else a.dtype)


def _up_to(rates: np.ndarray, slopes: Sequence[float]) -> float | None:
    """Return the highest rate up to which, from the lowest on, all slopes are 2."""
    reached = None
    for rate, slope in zip(rates[:-1][::-1], slopes[::-1], strict=True):
        if abs(slope - 2) > _TOLERANCE:
            break
        reached = float(rate)
    return reached
