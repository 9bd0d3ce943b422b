"""Seeds and points: which runs there are."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from blobs import NETWORK, blobs, plain

from lamaml_jax import Learner, Model, Result, networks, online, streams, train
from lamaml_jax.datasets import ImageDataset
from lamaml_jax.training import Runs, plan

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def permuted(mnist: ImageDataset) -> Result:
    stream = streams.mnist_permutations(mnist, num_tasks=2, samples_per_task=40)
    points = [{"lr": 0.03, "stream_seed": 1}, {"lr": 0.03, "stream_seed": 2}]
    return train(online, networks.mlp(10, (8,)), stream, seeds=(0, 1), points=points)


def test_points_may_be_given_and_draw_streams_of_their_own(permuted: Result) -> None:
    of = permuted.plan
    same = train(online, of.model, of.stream, seeds=(0, 1), stream_seed=2, lr=0.03)
    np.testing.assert_array_equal(permuted.accuracy[2:], same.accuracy)
    assert not np.array_equal(permuted.accuracy[:2], permuted.accuracy[2:])


def test_raw_images_are_predicted_through_the_transform_of_their_task(
    permuted: Result, mnist: ImageDataset
) -> None:
    scores = permuted.predict(mnist.test_images[..., 0], task=1)
    right = (scores.argmax(axis=2) == mnist.test_labels).mean(axis=1)
    np.testing.assert_allclose(right, permuted.accuracy[:, -1, 1], rtol=1e-6)


def plainly(model: Model, setting: Any, *, lr=0.1, steps=2) -> Learner:  # type: ignore[no-untyped-def]
    return online(model, setting, lr=lr / steps)


def test_keywords_without_annotations_are_of_their_defaults_types() -> None:
    result = train(plainly, NETWORK, blobs(), seeds=(0, 1), lr=[0.006, 0.1])
    np.testing.assert_array_equal(result.accuracy[:2], plain().accuracy)


def test_seeds_are_integers_of_any_kind() -> None:
    for seeds in (4, np.int64(4), np.array(4), np.array([4]), jnp.arange(4, 5), range(4, 5)):
        assert plan(online, NETWORK, blobs(), seeds=seeds, settings={}).runs.seeds == (4,)


def test_runs_are_listed_point_by_point() -> None:
    runs = Runs((4, 7), ({"lr": 1.0}, {"lr": 2.0}), {"lr": 1.0, "other": 3.0})
    assert [(point["lr"], seed) for point, seed in runs.each()] == [(1, 4), (1, 7), (2, 4), (2, 7)]
    hyper = runs.stacked().hyper
    assert hyper["lr"].tolist() == [1, 1, 2, 2] and hyper["other"].tolist() == [3] * 4


def test_points_say_what_holds_where_they_were_silent() -> None:
    points: list[dict[str, float]] = [{"lr": 0.3}, {"stream_seed": 1234567}, {}]
    planned = plan(online, NETWORK, blobs(), points=points, stream_seed=5, settings={"lr": 0.1})
    assert planned.runs.points == (
        {"lr": 0.3, "stream_seed": 5},
        {"lr": 0.1, "stream_seed": 1234567},
        {"lr": 0.1, "stream_seed": 5},
    )
    own = plan(online, NETWORK, blobs(), points=[{"stream_seed": 3}, {"lr": 0.1}], settings={})
    assert own.runs.points[1] == {"lr": 0.1}  # every seed draws its own


def test_points_may_give_floats_that_are_none_by_default() -> None:
    points: list[dict[str, float]] = [{"clip_norm": 1.0}, {"clip_norm": 2.0}]
    given = plan(online, NETWORK, blobs(), points=points, settings={"lr": 0.1})
    swept = plan(online, NETWORK, blobs(), settings={"lr": 0.1, "clip_norm": [1.0, 2.0]})
    assert (given.runs, given.static) == (swept.runs, swept.static)
    assert set(given.runs.stacked().hyper) == {"lr", "clip_norm"}
    with pytest.raises(ValueError, match="points have no clip_norm where it is None; all must"):
        plan(online, NETWORK, blobs(), points=[*points, {"lr": 0.3}], settings={"lr": 0.1})


def test_a_table_and_a_picture_have_every_setting_that_differs() -> None:
    whole = plain()
    points = ({"lr": 0.1}, {"lr": 0.3, "stream_seed": 1234567})
    runs = whole.plan.runs._replace(seeds=(0,), points=points)
    result = dataclasses.replace(whole, plan=whole.plan._replace(runs=runs))
    assert result.table().splitlines()[0].startswith("| lr | stream_seed | RA |")
    assert result.table().splitlines()[2].startswith("| 0.1 | – |")
    assert result.table().splitlines()[3].startswith("| 0.3 | 1234567 |")
    (axes,) = result.plot().axes
    assert axes.lines[1].get_label() == "lr = 0.3, stream_seed = 1234567"
