"""Training that was stopped goes on to the same bits, or is refused."""

import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import NETWORK, blobs, plain
from helpers import assert_same_bits

from lamaml_jax import Model, er, online, streams, train
from lamaml_jax.training import Progress, plan, saving
from lamaml_jax.training.description import digest

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
