"""Training that was stopped goes on to the same bits, or is refused."""

import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import NETWORK, blobs, plain
from helpers import assert_same_bits

from lamaml_jax import Learner, Model, er, online, streams, train
from lamaml_jax.files import read_npz
from lamaml_jax.training import Clock, Interrupted, Progress, plan, saving
from lamaml_jax.training.fingerprints import digest, of_learner
from lamaml_jax.training.planning.fitting import example

pytestmark = pytest.mark.usefixtures("quick_compile")


class Stopped(Exception):
    pass


def test_checkpoints_go_on_to_the_same_bits(tmp_path: pathlib.Path) -> None:
    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise Stopped

    arguments: Any = {"seeds": (0, 1), "checkpoint_dir": tmp_path}
    with pytest.raises(Stopped):
        train(online, NETWORK, blobs(), **arguments, on_task=stop)
    told: list[int] = []
    result = train(
        *(online, NETWORK, blobs()),
        **arguments,
        on_task=lambda progress: told.append(progress.done),
    )
    assert told == [2, 3], "the task that was learnt when on_task failed is not lost"
    assert_same_bits(result.record, plain().record)
    assert_same_bits(result.state, plain().state)
    with pytest.raises(ValueError, match="whose runs differ in seeds"):
        train(online, NETWORK, blobs(), **arguments | {"seeds": (3, 4)})
    with pytest.raises(ValueError, match="whose runs differ in learner"):
        train(er, NETWORK, blobs(), checkpoint_dir=tmp_path)


def few(shift: int = 1, **arguments: Any) -> streams.Benchmark:
    """Return one task of eight examples, whose labels are shifted."""
    x, y = np.arange(40, dtype=np.float32).reshape(8, 5), (np.arange(8) + shift) % 3
    return streams.from_arrays([(x, y)], [(x, y)], **arguments)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("kept")
    train(online, NETWORK, few(), checkpoint_dir=folder)
    return folder


@pytest.mark.parametrize(
    ("stream", "keywords", "what"),
    [
        ({"shift": 0}, {}, "sha256_data"),
        ({"transform": lambda x: -x}, {}, "inputs, sha256_transforms"),
        ({}, {"eval_batch": 7}, "eval_batch"),
    ],
)
def test_checkpoints_of_what_looks_alike_are_refused(
    stream: Any, keywords: Any, what: str, kept: pathlib.Path
) -> None:
    with pytest.raises(ValueError, match=f"whose runs differ in {what};"):
        train(online, NETWORK, few(**stream), checkpoint_dir=kept, **keywords)


def test_checkpoints_of_another_start_are_refused(tmp_path: pathlib.Path) -> None:
    first = train(online, NETWORK, few(), start=None, checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="whose runs differ in start;"):
        train(online, NETWORK, few(), start=first.state, checkpoint_dir=tmp_path)
    evaluation = {"eval": "all", "eval_batch": 1000, "start": digest(first.state)}
    saving.claim(tmp_path / "other", first.plan, evaluation)
    other = jax.tree.map(lambda a: a + 1, first.state)
    with pytest.raises(ValueError, match="whose runs differ in start;"):
        train(online, NETWORK, few(), start=other, checkpoint_dir=tmp_path / "other")


def scaled(by: float) -> Model:
    return Model(plain_init, lambda params, x: jnp.tanh(by * x @ params))


def plain_init(key: jax.Array, x: jax.Array) -> jax.Array:
    return 0.1 * jax.random.normal(key, (x.shape[1], 3))


def test_another_network_of_the_same_shapes_is_refused(tmp_path: pathlib.Path) -> None:
    for model in (scaled(1.0), scaled(1.0)):
        saving.claim(tmp_path, plan(online, model, blobs(), settings={}), {})
    with pytest.raises(ValueError, match="whose runs differ in .*sha256_network"):
        train(online, scaled(2.0), blobs(), checkpoint_dir=tmp_path)


def stepping(by: float) -> Any:
    """Return a method of one's own in one of its versions, whose constants are inside a program of its own."""

    def mine(model: Model, setting: Any, *, lr: float = 0.1, examples: int = 1) -> Learner:
        scaled = jax.jit(lambda a: (a * jnp.full(2, by))[0])
        return online(model, setting, lr=scaled(lr))

    return mine


def closing_over(array: Any) -> Any:
    """Return a method that closes over an array inside a program of its own."""

    def mine(model: Model, setting: Any) -> Learner:
        learner = online(model, setting)
        weighted = jax.jit(lambda scores: scores * array)
        return learner._replace(predict=lambda *of, key=None: weighted(learner.predict(*of)))

    return mine


def test_another_version_of_a_method_is_refused(tmp_path: pathlib.Path) -> None:
    train(stepping(1.0), NETWORK, few(), checkpoint_dir=tmp_path)
    train(stepping(1.0), NETWORK, few(), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="whose runs differ in sha256_learner;"):
        train(stepping(2.0), NETWORK, few(), checkpoint_dir=tmp_path)
    with pytest.raises(ValueError, match="whose runs differ in examples;"):
        train(stepping(1.0), NETWORK, few(), checkpoint_dir=tmp_path, examples=2)


def test_a_method_is_known_by_what_it_computes_whatever_its_rates(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fingerprint(learner: Any, **arguments: Any) -> str:
        seeds, points = arguments.pop("seeds", (0,)), arguments.pop("points", None)
        planned = plan(learner, NETWORK, few(), seeds=seeds, points=points, settings=arguments)
        return of_learner(planned, example(planned.stream))

    first = fingerprint(online)
    for other in ({"lr": 0.7}, {"lr": [0.1, 0.2], "seeds": (1, 2)}, {"points": [{"lr": 0.3}]}):
        assert fingerprint(online, **other) == first
    assert fingerprint(online, clip_norm=1.0) != first
    ones, twos = (np.full(3, value, np.float32) for value in (1, 2))
    assert fingerprint(closing_over(ones)) == fingerprint(closing_over(ones.copy()))
    assert fingerprint(closing_over(ones)) != fingerprint(closing_over(twos))
    # As in a terminal or a notebook, where JAX writes programs in colours.
    monkeypatch.setattr("jax._src.pretty_printer.CAN_USE_COLOR", True)
    assert fingerprint(online) == first


def test_runs_that_began_before_methods_were_fingerprinted_go_on(tmp_path: pathlib.Path) -> None:
    result = train(stepping(1.0), NETWORK, few(), checkpoint_dir=tmp_path)
    described = json.loads((tmp_path / "learner.json").read_text())
    for name in ("sha256_learner", "sha256_probe", "own_learner"):
        del described[name]
    (tmp_path / "learner.json").write_text(json.dumps(described))
    again = train(stepping(1.0), NETWORK, few(), checkpoint_dir=tmp_path)
    assert_same_bits(again.state, result.state)
    assert saving.is_claimed(tmp_path, result.plan, {"eval": "all", "eval_batch": 1000})
    assert not saving.is_claimed(tmp_path, result.plan, {"eval": "all", "eval_batch": 7})
    result.save(tmp_path)


def probing(by: float) -> Any:
    return lambda seed, stream, state, images, task: {"probed": by * jnp.float32(task)}


def test_another_probe_is_refused(tmp_path: pathlib.Path, kept: pathlib.Path) -> None:
    with pytest.raises(ValueError, match="probe is given; .*were begun without one, so"):
        train(online, NETWORK, few(), checkpoint_dir=kept, probe=probing(1.0))
    for _ in range(2):
        train(online, NETWORK, few(), checkpoint_dir=tmp_path, probe=probing(1.0))
    with pytest.raises(ValueError, match="probe is given; .*were begun with another, so"):
        train(online, NETWORK, few(), checkpoint_dir=tmp_path, probe=probing(2.0))
    with pytest.raises(ValueError, match="probe is not given; .*were begun with one, so"):
        train(online, NETWORK, few(), checkpoint_dir=tmp_path)


@pytest.mark.parametrize("is_old", [False, True])
def test_a_clock_may_be_added_to_a_run_that_goes_on(tmp_path: pathlib.Path, is_old: bool) -> None:
    """States that were written before they always had the clock's seconds lack them."""
    arguments: Any = {"checkpoint_dir": tmp_path}
    train(online, NETWORK, blobs(), **arguments, on_task=lambda progress: progress.done == 1)
    if is_old:
        arrays = {n: a for n, a in read_npz(tmp_path / "1").items() if "clock" not in n}
        with (tmp_path / "1").open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    ticks = iter(range(1000))
    clock = Clock(lambda: float(next(ticks)))
    result = train(online, NETWORK, blobs(), **arguments, clock=clock, checkpoint_seconds=1000)
    assert clock["train"] > 0 and result.stages_learnt() == 3
    again = train(online, NETWORK, blobs(), **arguments)
    assert_same_bits(again.state, result.state)


def test_a_task_that_was_left_goes_on_there_whatever_the_next_call_asks(
    tmp_path: pathlib.Path,
) -> None:
    common: Any = {"seeds": (0, 1), "checkpoint_dir": tmp_path}
    with pytest.raises(Interrupted, match="after 0 tasks and 1 batches"):
        train(online, NETWORK, blobs(), **common, should_stop=lambda: True)
    result = train(online, NETWORK, blobs(), **common)
    assert_same_bits(result.record, plain().record)
    assert_same_bits(result.state, plain().state)
