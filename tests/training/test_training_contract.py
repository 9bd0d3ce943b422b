"""A method of one's own that breaks a promise is told so by `train`, in one sentence that names method and function."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from blobs import NETWORK, blobs

from lamaml_jax import Batch, Learner, Model, Setting, fs_dgpm, learner_factory, online, train

pytestmark = pytest.mark.usefixtures("quick_compile")

METHOD = online(NETWORK, blobs().setting)


def _raising(*args: Any) -> Any:
    raise RuntimeError("mine\nand more")


def _half(state: Any) -> Any:
    return jax.tree.map(lambda a: a.astype(jnp.float16), state)


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "a key in the state": (
        {"init": lambda key, example: {"key": key}},
        r"breaks a promise: state\['key'\] is a key",
    ),
    "no arguments": (
        {"init": lambda: None},
        r"whose init raises TypeError \(.*0 positional arguments but 2 were given\)",
    ),
    "no pair": (
        {"update": lambda key, state, batch: state},
        r"update returns no pair but OnlineState; it must return \(state, info\)",
    ),
    "another tree": (
        {"update": lambda key, state, batch: (state.params, {})},
        "update returns a state of another tree; it must keep the tree, shapes and dtypes",
    ),
    "another dtype": (
        {"update": lambda key, state, batch: (_half(state), {})},
        r"update makes state.params\[.*\] float16\[\d+\], which init made float32\[\d+\]",
    ),
    "an unknown field": (
        {"update": lambda key, state, batch: (state.weights, {})},
        "whose update raises AttributeError .*'weights'.*check_learner\\(mine\\)",
    ),
    "no scalar": (
        {"update": lambda key, state, batch: (state, {"loss": batch.x})},
        r"loss is of shape \(\d+, \d+\); it must be a scalar",
    ),
    "nothing": (
        {"update": lambda key, state, batch: (state, {"loss": None})},
        "loss is a NoneType; it must be a scalar",
    ),
    "a dict in the info": (
        {"update": lambda key, state, batch: (state, {"of": {"loss": jnp.float32(0)}})},
        "of is a dict; it must be a scalar",
    ),
    "a name of the record's": (
        {"update": lambda key, state, batch: (state, {"accuracy": jnp.float32(0)})},
        "accuracy is a name that the record has already; it must be another, such as my_accuracy",
    ),
    "no names": (
        {"update": lambda key, state, batch: (state, jnp.float32(0))},
        "its info must be a dict of scalars by name",
    ),
    "another dtype at the end": (
        {"end_task": lambda key, state, data: _half(state)},
        "end_task makes state.params",
    ),
    "an error at the end": ({"end_task": _raising}, r"whose end_task raises RuntimeError \(mine\)"),
    "two arguments": (
        {"predict": lambda state, x: METHOD.predict(state, x, jnp.int32(0), None)},
        "whose predict raises TypeError",
    ),
    "scores of other width": (
        {"predict": lambda state, x, task, key=None: x},
        r"predict returns float32\[(\d+),\d+\] for \1 inputs; it must return scores \(\1, 3\)",
    ),
    "classes instead of scores": (
        {
            "predict": lambda state, x, task, key=None: METHOD.predict(state, x, task, key).argmax(
                axis=-1
            )
        },
        r"predict returns int32\[\d+\] for",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_promise_is_one_sentence(fault: str) -> None:
    functions, sentence = BROKEN[fault]

    @learner_factory
    def mine(model: Model, setting: Setting) -> Learner:
        return online(model, setting)._replace(**functions)

    with pytest.raises(ValueError, match=f"^learner is mine, .*{sentence}") as caught:
        train(mine, NETWORK, blobs())
    assert "\n" not in str(caught.value)


def test_numbers_of_python_may_be_in_state_and_info() -> None:
    @learner_factory
    def mine(model: Model, setting: Setting) -> Learner:
        learner = online(model, setting)

        def init(key: jax.Array, example: Batch) -> dict[str, Any]:
            return {"inner": learner.init(key, example), "seen": 0}

        def update(key: jax.Array, state: dict[str, Any], batch: Batch) -> tuple[Any, Any]:
            inner, _ = learner.update(key, state["inner"], batch)
            return {"inner": inner, "seen": state["seen"] + 1}, {"one": 1.0}

        def predict(state: Any, x: Any, task: Any, *, key: Any = None) -> jax.Array:
            return learner.predict(state["inner"], x, task, key)

        return Learner(init, update, predict)

    result = train(mine, NETWORK, blobs())
    assert result.state["seen"] == sum(map(blobs().num_batches, range(blobs().setting.num_tasks)))


def test_a_method_that_keeps_nothing_is_trained() -> None:
    @learner_factory
    def chance(model: Model, setting: Setting) -> Learner:
        def predict(state: Any, x: Any, task: Any, key: Any = None) -> jax.Array:
            return jnp.zeros((len(x), setting.num_classes))

        return Learner(lambda key, example: (), lambda key, state, batch: (state, {}), predict)

    result = train(chance, NETWORK, blobs())
    assert not result.diverged.any() and np.isfinite(result.accuracy).all()


def test_what_is_wrong_with_the_model_is_not_the_methods_fault() -> None:
    model = NETWORK._replace(kernels=("nowhere/kernel",) * len(NETWORK.kernels))
    with pytest.raises(ValueError, match=r"^kernels of the model has 'nowhere/kernel'"):
        train(fs_dgpm, model, blobs())


@pytest.mark.parametrize(
    ("needs", "sentence"),
    [
        (frozenset({"mixed"}), "'mixed' is unknown; a method may need 'mixed_stream', 'one_task'"),
        ("task_data", "needs is 'task_data'; it must be a frozenset of 'mixed_stream'"),
    ],
)
def test_needs_that_no_stream_knows_are_one_sentence(needs: Any, sentence: str) -> None:
    def mine(model: Model, setting: Setting) -> Learner:
        return online(model, setting)._replace(needs=needs)

    with pytest.raises(ValueError, match=f"^learner is mine, which breaks a promise: {sentence}"):
        train(mine, NETWORK, blobs())


def test_a_float_that_python_branches_on_is_one_sentence() -> None:
    def mine(model: Model, setting: Setting, *, rate: float = 0.1) -> Learner:
        return online(model, setting, lr=rate if rate > 0 else 0.1)

    with pytest.raises(ValueError, match="mine, which raises TracerBool.* jnp.where or") as caught:
        train(mine, NETWORK, blobs())
    assert "\n" not in str(caught.value)


def test_a_factory_of_the_package_that_returns_nothing_is_told() -> None:
    @learner_factory
    def mine(model: Model, setting: Setting) -> Any:
        return None

    with pytest.raises(
        ValueError, match="mine, which returns a NoneType; it must return a Learner"
    ):
        train(mine, NETWORK, blobs())
