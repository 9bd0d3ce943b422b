"""What --diagnostics measures of all seeds as a run goes: against the library's functions, and at no cost where off."""

import pathlib
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from photographs import photographs, small
from running import Stopped, run_train, stop_after

from experiments.runs import diagnostics, dynamics, probes, runner, workdirs
from experiments.runs.config import Config
from lamaml_jax import losses, parallel, replay
from lamaml_jax.loop import Seed
from lamaml_jax.pieces import split
from lamaml_jax.types import Batch
from lamaml_jax.updates import lookahead

pytestmark = pytest.mark.usefixtures("quick_compile")


FAST = (
    *("--learner=la_er", "--packaged_mnist", "--smoke", "--samples_per_task=20"),
    "--set=lr_lr=1",  # for rates that get below zero
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("run")
    run_train(*FAST, f"--workdir={workdir}", "--diagnostics")
    return workdir


def test_histograms_are_of_all_seeds_and_layers(run: pathlib.Path) -> None:
    found, results = dynamics.read(run), workdirs.read_results(run)
    shares = found["rate_histogram"]
    assert shares.shape == (2, 4, len(results["layer_names"]), len(dynamics.RATE_EDGES) - 1)
    np.testing.assert_allclose(shares.sum(axis=-1), 1, rtol=1e-5)
    below = dynamics.RATE_EDGES[1:] <= 0
    nonpositive = results["rate_share_nonpositive"]
    np.testing.assert_allclose(shares[..., below].sum(axis=-1), nonpositive, atol=1e-6)
    assert nonpositive[:, -1].max() > 0
    assert (run / "rate_histogram.png").stat().st_size > 10_000
    assert (run / "dynamics.png").stat().st_size > 10_000


def test_a_rate_falls_into_the_bin_up_to_its_value() -> None:
    rates = np.array([[-2.0, 0.0], [-1e-5, 5.0]])
    bins = np.flatnonzero(dynamics.histogram(rates))
    edges = dynamics.RATE_EDGES
    assert edges[bins].tolist() == [-np.inf, -1e-4, 1.0]
    assert dynamics.histogram(rates)[bins].tolist() == [0.25, 0.5, 0.25]
    assert np.isnan(dynamics.histogram(np.array([0.1, np.nan]))).all()


@pytest.mark.parametrize(("task", "inside"), [(2, False), (0, True), (1, True)])
def test_interrupted_run_keeps_all(
    task: int,
    inside: bool,
    run: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    of_run = (f"--workdir={tmp_path}", "--diagnostics", "--checkpoint_minutes=1e-9")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(task, patch, inside=inside)
        run_train(*FAST, *of_run)
    run_train(*FAST, *of_run)
    for name, rates in diagnostics.read_rates(run).items():
        np.testing.assert_array_equal(diagnostics.read_rates(tmp_path)[name], rates, err_msg=name)
    whole, kept = dynamics.read(run), dynamics.read(tmp_path)
    assert set(whole) == set(kept) >= {"gradient_cosine", "rate_histogram"}
    for name, array in whole.items():
        np.testing.assert_array_equal(kept[name], array, err_msg=name)
    assert np.isnan(whole["gradient_cosine"][:, 0]).all()  # nothing is remembered yet
    assert np.isfinite(whole["gradient_cosine"][:, 1:]).all()


def probed(of: Config) -> tuple[dict[str, Any], Any, Any, Any]:
    """Return what the probe measures of a state that remembers four examples, and the state, stream and images."""
    benchmark = of.make_benchmark(photographs())
    functions = of.make_run(benchmark)
    seed = Seed(jax.random.key(3), {name: jnp.float32(v) for name, v in of.floats().items()})
    stream = jax.jit(functions.draw_stream)(seed)
    images = jnp.asarray(benchmark.images)
    state = jax.jit(functions.init)(seed, stream, images)
    remembered = examples(benchmark, stream, images, 0, slice(0, 4))
    state = state._replace(memory=replay.add_ring(state.memory, remembered))
    probe = jax.jit(probes.dynamics(of, benchmark))
    return probe(seed, stream, state, images, jnp.int32(1)), state, stream, benchmark


def examples(benchmark: Any, stream: Any, images: Any, task: int, rows: slice) -> Batch:
    transform = jax.tree.map(lambda a: a[task], stream.transform)
    x = benchmark.inputs.evaluation(images, stream.train.image[task, rows], transform)
    y = stream.train.label[task, rows]
    return Batch(x, y, jnp.full_like(y, task), y >= 0)


def test_look_ahead_is_measured_as_the_update_takes_it() -> None:
    # A memory that holds nothing but what is replayed leaves no chance: one example, drawn over and over.
    of = small("c_maml", "inner_lr=0.5", "inner_steps=5", "replay_batch=1", "memory=1")
    measured, state, stream, benchmark = probed(of)
    loss = losses.task_loss(of.model(10).apply, benchmark.setting)
    images = jnp.asarray(benchmark.images)
    replayed = replay.sample(jax.random.key(0), state.memory, 1)
    memory_gradient = flat(jax.grad(loss)(state.params, replayed))
    cosines, meta_losses = [], []
    for i in range(4):  # of 45 examples
        incoming = examples(benchmark, stream, images, 1, slice(10 * i, 10 * i + 10))
        gradient = flat(jax.grad(loss)(state.params, incoming))
        norms = np.linalg.norm(gradient) * np.linalg.norm(memory_gradient)
        cosines.append(gradient @ memory_gradient / norms)
        clip = of.keywords["inner_clip"]
        fast = lookahead(loss, state.params, 0.5, split(incoming, 5), inner_clip=clip)
        both = replay.join(replayed, incoming)
        meta_losses.append([float(loss(params, both)) for params in (state.params, *fast)])
    np.testing.assert_allclose(measured["gradient_cosine"], np.mean(cosines), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(measured["meta_loss"], np.mean(meta_losses, axis=0), rtol=1e-3)
    assert len(np.unique(np.round(measured["meta_loss"], 4))) == 6


def flat(tree: Any) -> np.ndarray:
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def test_what_is_off_costs_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs are the same as with diagnostics, but for the one that measures."""
    over_runs, texts = parallel.over_runs, []

    def noting(*arguments: Any) -> types.SimpleNamespace:
        def lower(*shapes: Any) -> Any:
            lowered = over_runs(*arguments).lower(*shapes)
            texts.append(lowered.as_text())
            return lowered

        return types.SimpleNamespace(lower=lower)

    monkeypatch.setattr(parallel, "over_runs", noting)
    runner.run(small("er"), photographs(), tmp_path / "off")
    without = texts.copy()
    texts.clear()
    runner.run(small("er"), photographs(), tmp_path / "on", diagnose=True)
    assert texts[:-1] == without and len(without) == 5


def test_learner_without_memory_or_rates_measures_nothing(tmp_path: pathlib.Path) -> None:
    arguments = ("--learner=online", "--packaged_mnist", "--smoke", "--samples_per_task=20")
    run_train(*arguments, f"--workdir={tmp_path}", "--diagnostics")
    assert not (tmp_path / "dynamics.npz").exists()


def test_other_files_are_named(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (tmp_path / "dynamics.npz").write_bytes((run / "dynamics.npz").read_bytes())
    with pytest.raises(ValueError, match="dynamics.npz is of another run"):
        dynamics.begin(tmp_path, {"gradient_cosine": np.zeros(2)}, None, 2, 7)
    (tmp_path / "dynamics.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="dynamics.npz is damaged"):
        dynamics.begin(tmp_path, {"gradient_cosine": np.zeros(2)}, None, 2, 7)
