"""The analyses of gradients, alignment and equivalence: what is measured where, and that runs stay as they are."""

import functools
import itertools
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from analysing import TINY, colors, config
from running import run_script, run_train

from experiments import alignment, equivalence
from experiments.analyses import alignment as gradients
from experiments.runs import probes, workdirs
from lamaml_jax import losses, replay
from lamaml_jax.analysis import gradient_alignment
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.loop import Seed
from lamaml_jax.types import Batch

# Alignment.


@pytest.mark.usefixtures("quick_compile")
def test_gradients_are_of_the_memory_and_of_held_out_data_of_each_task(mnist: ImageDataset) -> None:
    of = config("er")
    benchmark = of.make_benchmark(mnist)
    functions = of.make_run(benchmark)
    key = jax.random.key(3)
    seed = Seed(key, {name: jnp.float32(value) for name, value in of.floats().items()})
    stream = jax.jit(functions.draw_stream)(seed)
    images, task = jnp.asarray(benchmark.images), 2

    def examples(part: str, of_task: int, rows: slice) -> Batch:
        transform = jax.tree.map(lambda a: a[of_task], stream.transform)
        image, label = (a[of_task, rows] for a in getattr(stream, part)[:2])
        x = benchmark.inputs.evaluation(images, image, transform)
        return Batch(x, label, jnp.full_like(label, of_task), label >= 0)

    state = jax.jit(functions.init)(seed, stream, images)
    for old, rows in ((0, slice(0, 7)), (1, slice(0, 4))):
        state = state._replace(memory=replay.add_ring(state.memory, examples("train", old, rows)))
    probe = jax.jit(probes.alignment(of, benchmark))
    measured = probe(seed, stream, state, images, jnp.int32(task))

    loss = losses.task_loss(of.model(10).apply, benchmark.setting)
    remembered = [examples("train", 0, slice(0, 7)), examples("train", 1, slice(0, 4))]
    expected = {
        "memory": [*remembered, examples("train", 2, slice(0, 200))],
        "held_out": [examples("test", i, slice(0, 200)) for i in range(3)],
    }
    for source, batches in expected.items():
        align = jax.jit(functools.partial(gradient_alignment, loss))
        for what, found in align(state.params, batches)._asdict().items():
            old, new = found[0, 1], (found[0, 2] + found[1, 2]) / 2
            np.testing.assert_allclose(measured[f"{what}_among_old_{source}"], old, rtol=1e-4)
            np.testing.assert_allclose(measured[f"{what}_against_new_{source}"], new, rtol=1e-4)


def test_measuring_alignment_changes_nothing_of_the_runs(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script(alignment, *TINY, "--learner=er", "--num_seeds=2", f"--workdir={tmp_path / 'a'}")
    assert "| ER |" in capsys.readouterr().out
    run_train(
        *TINY, "--learner=er", "--num_seeds=2", "--eval=needed", f"--workdir={tmp_path / 'b'}"
    )
    measured, plain = (workdirs.read_results(tmp_path / f) for f in ("a/er", "b"))
    for name, values in plain.items():
        np.testing.assert_array_equal(measured[name], values)
    cosine = measured["cosine_against_new_memory"]
    assert np.isnan(cosine[:, 0]).all() and (np.abs(cosine[:, 1:]) <= 1).all()
    assert np.isnan(measured["cosine_among_old_memory"][:, :2]).all()
    assert {path.name for path in (tmp_path / "a").glob("*.png")} == {
        "alignment_cosine.png",
        "alignment_dot.png",
    }


def aligned(num_tasks: int, num_seeds: int) -> dict[str, np.ndarray]:
    """Return the results of a run in which every pair of tasks is aligned by 0.5."""
    found: dict[str, np.ndarray] = {
        "seeds": np.arange(num_seeds),
        "diverged": np.zeros(num_seeds, bool),
        "accuracy": np.zeros((num_seeds, num_tasks + 1, num_tasks)),
    }
    for source, what, (pairs, first) in itertools.product(
        ("memory", "held_out"), ("cosine", "dot"), (("among_old", 2), ("against_new", 1))
    ):
        values = np.full((num_seeds, num_tasks), 0.5)
        values[:, :first] = np.nan
        found[f"{what}_{pairs}_{source}"] = values
    return found


def test_what_two_tasks_do_not_define_is_a_dash_without_a_panel() -> None:
    runs = {"er": aligned(2, 2)}
    cosine, _ = gradients.parts(runs)
    assert cosine.table[1] == ["ER", "–", "50 ± 0", "–", "50 ± 0"]
    titles = [ax.get_title() for ax in cosine.plot("").axes]
    assert titles == [
        "old tasks against the new one,\nfrom the memory",
        "old tasks against the new one,\nfrom held-out data",
    ]
    assert len(gradients.parts({"er": aligned(3, 2)})[0].plot("").axes) == 4


def test_alignment_of_one_seed_has_no_spread_and_diverged_seeds_do_not_count() -> None:
    (cosine, _), second = gradients.parts({"er": aligned(3, 1)}), aligned(3, 2)
    assert cosine.table[1] == ["ER", *["50"] * 4]
    second["diverged"][:] = True
    (cosine, _) = gradients.parts({"er": second})
    assert cosine.table[1] == ["ER", *["–"] * 4]
    json.dumps(gradients.numbers({"er": second}), allow_nan=False)
    cosine.plot("")


def test_alignment_needs_two_tasks(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_script(alignment, *TINY, "--num_tasks=1", f"--workdir={tmp_path / 'x'}")
    assert "num_tasks is 1; it must be at least 2" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_learner_looks_the_same_whichever_others_are_drawn() -> None:
    runs = {name: aligned(3, 2) for name in ("er", "la_maml")}
    both, alone = (gradients.plot(of, "cosine", "") for of in (runs, {"la_maml": runs["la_maml"]}))
    assert colors(both, "La-MAML") == colors(alone, "La-MAML") != colors(both, "ER")


# Equivalence.


def test_the_gap_to_the_surrogate_falls_twice_as_fast_as_that_to_the_joint_loss(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_script(equivalence, *TINY, "--inner_steps=2", f"--workdir={tmp_path}")
    found = json.loads((tmp_path / "equivalence.json").read_text())
    for of in found["steps"].values():
        assert of["slopes"][-1] == pytest.approx(2, abs=0.1)
        assert of["joint"][-2] / of["joint"][-1] == pytest.approx(2, abs=0.1)
        assert of["up_to"] is not None
    assert "a slope of 2, within 0.1, up to" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        run_script(equivalence, *TINY, "--inner_steps=11", f"--workdir={tmp_path}")
    assert "inner_steps is 11" in capsys.readouterr().err


def test_equivalence_takes_no_more_seeds_than_it_uses(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_script(equivalence, *TINY, "--num_seeds=7", f"--workdir={tmp_path / 'x'}")
    assert "num_seeds is 7; it must be 1 or left out" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
