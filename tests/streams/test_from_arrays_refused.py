"""What a stream of one's own arrays refuses: every mistake in one sentence, before anything compiles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lamaml_jax.streams import from_arrays

X, Y = np.zeros((4, 3), np.float32), np.arange(4) % 2
GOOD = [(X, Y)]


class Unreadable:
    """Like a tensor of another library that numpy may not read."""

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        """Refuse."""
        raise RuntimeError("call detach() first")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], []), "train_tasks holds 0 tasks and test_tasks 0"),
        ((GOOD, []), "train_tasks holds 1 tasks and test_tasks 0"),
        (([None], GOOD), "train_tasks holds None alone"),
        (((X, Y), (X, Y)), r"train_tasks\[0\] is a ndarray; it must be a pair of a task's inputs"),
        (([(X, Y, Y)], GOOD), r"train_tasks\[0\] is a tuple of 3; it must be a pair"),
        (({0: (X, Y)}, GOOD), "train_tasks is a dict; it must be a list of pairs of inputs and"),
        ((GOOD, 1), "test_tasks is a int; it must be a list of pairs"),
        ((GOOD, [None]), r"test_tasks\[0\] is a NoneType; it must be a pair"),
        (
            ([([[1.0, 2.0], [3.0]], [0, 1])], GOOD),
            r"inputs of train_tasks\[0\] is a list that numpy cannot read; it must be an array: ",
        ),
        (
            ([(X, Unreadable())], GOOD),
            r"labels of train_tasks\[0\] is a Unreadable that numpy .*: call detach\(\) first$",
        ),
        (
            ([(np.ma.masked_array(X, X == 0), Y)], GOOD),
            r"inputs of train_tasks\[0\] is masked; it must be an array without missing values",
        ),
        (
            ([(X, Y[:3])], GOOD),
            r"train_tasks\[0\] has inputs of shape \(4, 3\) and labels of shape \(3,\)",
        ),
        (([(X[:0], Y[:0])], GOOD), r"train_tasks\[0\] has no example"),
        (
            ([(np.full((4, 3), np.nan), Y)], GOOD),
            r"train_tasks\[0\] has inputs that are not finite",
        ),
        (
            (GOOD, [(X - [0, 0, np.inf], Y)]),
            r"test_tasks\[0\] has inputs that are not finite",
        ),
        (
            (GOOD, [(X, np.array([0.0, 1, np.inf, 0]))]),
            r"test_tasks\[0\] has labels that are not finite",
        ),
        (([(X, Y - 1)], GOOD), r"train_tasks\[0\] has integer labels of shape \(4,\) from -1"),
        (([(X, Y[:, None])], GOOD), r"train_tasks\[0\] has integer labels of shape \(4, 1\)"),
        (([(X, np.eye(2, dtype=int)[Y])], GOOD), r"classes \[N\], .* one-hot rows their argmax"),
        (([(X.astype(str), Y)], GOOD), r"train_tasks\[0\] has inputs of dtype <U32; .* numbers"),
        (
            ([(X, np.array(["cat", "dog"])[Y])], GOOD),
            r"train_tasks\[0\] has labels of dtype <U3; they must be integers, a class each",
        ),
        (
            ([(X[:, :2], Y)], GOOD),
            r"train_tasks\[0\] has x of float32 and shape \(4, 2\); all tasks",
        ),
        (([(X.astype(np.uint8), Y)], GOOD), r"train_tasks\[0\] has x of uint8"),
        (
            ([(np.full((4, 3), 2**40), Y)], [(np.ones((4, 3), int), Y)]),
            "an input has 1099511627776 at .*, which int32 cannot",
        ),
        (
            ([(np.full((4, 3), 1e300), Y)], GOOD),
            "an input has 1e\\+300 at \\[0, 0\\], which float32 cannot hold",
        ),
        (([(X, Y + 2**33)], GOOD), r"train_tasks.0. has label .*; it must be in \[0, 1000000\)"),
        (([(X, Y.astype(np.float32))], GOOD), r"train_tasks\[0\] has y of float32"),
    ],
)
def test_bad_arrays_are_named(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(*arguments)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"heads": "own"}, "heads is 'own'; it must be one of 'shared', 'per_task'"),
        (
            {"num_classes": 1},
            r"train_tasks.0. has label 1; it must be in \[0, 1\), as num_classes says",
        ),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_stages": 2}, "num_stages is 2; it must be None without a sequence"),
        ({"sequence": [0, 1]}, r"sequence is int64 of shape \(2,\)"),
        ({"sequence": [(0, 4)]}, r"sequence\[0\] is task 0, example 4; there must be such"),
        ({"sequence": [(0, 0), (1, 0)]}, r"sequence\[1\] is task 1, example 0"),
        ({"sequence": [(0, 0)], "epochs": 2}, "epochs is 2; it must be 1 with a sequence"),
        (
            {"sequence": [(0, 0)], "num_stages": 2},
            r"num_stages is 2; it must be an integer in \[1, 1\]",
        ),
        ({"eval_split": "validation"}, "held_out is 0.1; it must hold out an example of each task"),
        (
            {"eval_split": "validation", "held_out": 1},
            r"held_out is 1; it must be a number in \(0, 1\)",
        ),
        ({"eval_split": "validation", "held_out": "0.2"}, "held_out is '0.2'; it must be a number"),
        ({"held_out": 0.2}, "held_out is 0.2; it must be None with eval_split 'test'"),
        (
            {"sequence": [(0, 0)], "held_out": 0.2},
            "held_out is 0.2; it must be None with eval_split 'test'",
        ),
        ({"sequence": [(0, 0), (1,)]}, "sequence is a list that numpy cannot read"),
    ],
)
def test_bad_keywords_are_named(keywords: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(GOOD, GOOD, **keywords)


def test_labels_that_count_over_all_tasks_are_no_heads_of_their_own() -> None:
    of_all = [(X, Y), (X, Y + 2)]
    with pytest.raises(ValueError, match="task 1 has labels from 2 to 3; with heads 'per_task' "):
        from_arrays(of_all, of_all, heads="per_task")
    stream = from_arrays(of_all, of_all, heads="per_task", num_classes=4)
    assert stream.setting.num_classes == 8
    with pytest.raises(ValueError, match="must be 'shared' for labels of float32: classes are"):
        floats = [(X, Y.astype(np.float32))]
        from_arrays(floats, floats, heads="per_task")


def test_a_target_that_float32_cannot_hold_is_named() -> None:
    targets = np.array([1.0, 2.0, 1e300, 3.0])
    with pytest.raises(
        ValueError, match=r"a target has 1e\+300 at \[2\], which float32 cannot hold"
    ):
        from_arrays([(X, targets)], [(X, targets)])


IMAGES = [(np.zeros((4, 2, 2), np.uint8), Y)]


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"transform": "flat"}, r"transform is 'flat'; it must be a function transform\(x\) of a "),
        (
            {"transform": lambda x: x @ jnp.ones((3, 3))},
            r"transform raises TypeError on inputs of uint8 and shape \(10, 2, 2\); .* in JAX: .+",
        ),
        (
            {"transform": np.asarray},
            "transform raises TracerArrayConversionError on inputs of uint8",
        ),
        (
            {"transform": lambda x: x.reshape(10, 4)},
            r"transform raises TypeError on inputs of uint8 and shape \(11, 2, 2\); .* of any size",
        ),
        (
            {"transform": lambda x: x.reshape(-1)},
            r"transform returns shape \(40,\) for .*\(10, 2, 2\); it must return a row per example",
        ),
        (
            {"transform": lambda x: x.sum(axis=0, keepdims=True), "batch_size": 1},
            r"transform returns shape \(1, 2, 2\) for .*\(2, 2, 2\); it must return a row per",
        ),
        (
            {"transform": lambda x: (x, x)},
            "transform returns a tuple for .*; it must return an array",
        ),
        ({"augment": 2}, r"augment is 2; it must be a function augment\(key, x\)"),
        (
            {"augment": lambda x: x},
            r"augment raises TypeError on inputs .* argument but 2 were given",
        ),
        (
            {"augment": lambda key, x: x + jax.random.normal(key, x.shape)},
            r"augment returns float32 of shape \(10, 2, 2\) for inputs of uint8 .* must keep both",
        ),
        (
            {"augment": lambda key, x: x[:, 1:]},
            r"augment returns uint8 of shape \(10, 1, 2\) for .* must keep both",
        ),
    ],
)
def test_what_is_wrong_with_a_function_of_inputs_is_said_at_once(
    keywords: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(IMAGES, IMAGES, **keywords)


def test_what_a_function_of_inputs_raised_is_kept() -> None:
    def transform(x: jax.Array) -> jax.Array:
        raise KeyError("mean")

    with pytest.raises(ValueError, match="transform raises KeyError .*'mean'$") as caught:
        from_arrays(IMAGES, IMAGES, transform=transform)
    assert isinstance(caught.value.__cause__, KeyError)
