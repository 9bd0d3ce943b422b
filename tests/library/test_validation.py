"""A bad batch is refused on the host, in one sentence; a good one, and what stands in its padding, is not."""

import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import SETTING, make_batch

from lamaml_jax import Batch, check_batch

BATCH = jax.tree.map(np.array, make_batch(0, task=1))


def changed(name: str, row: int, value: Any) -> Batch:
    """Return BATCH with one entry changed."""
    field = getattr(BATCH, name).copy()
    field[row] = value
    return BATCH._replace(**{name: field})


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray])
def test_good_batches_pass(convert: Any) -> None:
    batch = jax.tree.map(convert, BATCH)
    check_batch(SETTING, batch)
    check_batch(SETTING, batch._replace(x=batch.x.astype(jnp.bfloat16)))
    check_batch(SETTING, batch._replace(x=(255 * batch.x).astype(np.uint8)))
    check_batch(SETTING, Batch(*batch[:4]))
    check_batch(SETTING, jax.tree.map(convert, make_batch(0, size=23)), task_data=True)


def test_padding_may_hold_anything() -> None:
    x, y, task, valid = (np.array(a) for a in BATCH[:4])
    valid[6:], y[6:], task[6:], x[6:] = False, -7, 99, np.nan
    check_batch(SETTING, Batch(x, y, task, valid))
    check_batch(SETTING, Batch(x, y, task, np.zeros(10, bool)))


def test_several_tasks_pass_where_they_are_asked_for() -> None:
    pair = [jax.tree.map(lambda a: a[:5], make_batch(0, task)[:4]) for task in range(2)]
    mixed = Batch(*(np.concatenate(arrays) for arrays in zip(*pair, strict=True)))
    check_batch(SETTING, mixed, one_task=False)
    sentence = "task[5] is 1; it must be 0, the task of the first row, as a batch holds one task."
    for keywords in ({}, {"one_task": False, "task_data": True}):
        with pytest.raises(ValueError, match=rf"^{re.escape(sentence)}$"):
            check_batch(SETTING, mixed, **keywords)


@pytest.mark.parametrize(
    ("batch", "sentence"),
    [
        (changed("y", 3, 1), "y[3] is 1; it must be a label of task 1, one of 2, 3."),
        (changed("y", 0, -1), "y[0] is -1; it must be a label of task 1, one of 2, 3."),
        (changed("y", 9, 6), "y[9] is 6; it must be a label of task 1, one of 2, 3."),
        (changed("task", 2, 3), "task[2] is 3; it must be a task id in [0, 3)."),
        (changed("task", 2, -1), "task[2] is -1; it must be a task id in [0, 3)."),
        (changed("valid", 4, False), "valid[5] is True; it must be False: padding comes last."),
        (
            changed("x", 7, np.nan),
            "x[7] holds nan; inputs must be finite where valid is True.",
        ),
        (
            changed("x", (1, 2), -np.inf),
            "x[1] holds -inf; inputs must be finite where valid is True.",
        ),
        (
            BATCH._replace(y=BATCH.y[:9]),
            "y is of shape (9,); it must be (10,), an entry for every row of x.",
        ),
        (
            BATCH._replace(task=np.int32(1)),
            "task is of shape (); it must be (10,), an entry for every row of x.",
        ),
        (
            BATCH._replace(valid=BATCH.valid[:, None]),
            "valid is of shape (10, 1); it must be (10,), an entry for every row of x.",
        ),
        (
            make_batch(0, size=9),
            "x has 9 rows; it must have 10, the batch size, with padding last.",
        ),
        (
            BATCH._replace(x=np.float32(1)),
            "x is of shape (); it must be [B, ...], an example per row.",
        ),
        (
            BATCH._replace(x=BATCH.x > 0),
            "x is of dtype bool; it must be floating or integer.",
        ),
        (BATCH._replace(y=BATCH.y + 0.0), "y is of dtype float64; it must be integer."),
        (BATCH._replace(task=BATCH.task > 0), "task is of dtype bool; it must be integer."),
        (BATCH._replace(valid=BATCH.y), "valid is of dtype int32; it must be bool."),
        (BATCH._replace(first_epoch=1), "first_epoch is of dtype int64; it must be bool."),
        (
            BATCH._replace(first_epoch=BATCH.valid),
            "first_epoch is of shape (10,); it must be a scalar.",
        ),
        (BATCH._replace(progress=1.0), "progress is 1.0; it must be a number in [0, 1)."),
        (BATCH._replace(progress=np.nan), "progress is nan; it must be a number in [0, 1)."),
        (BATCH._replace(progress="a"), "progress is a; it must be a number in [0, 1)."),
    ],
)
def test_a_bad_batch_gets_one_sentence(batch: Batch, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(sentence)}$"):
        check_batch(SETTING, batch)


OF_LOSS = SETTING._replace(loss=lambda outputs, y: (outputs[:, 0] - y) ** 2)


@pytest.mark.parametrize("shape", [(10,), (10, 6), (10, 2, 3)])
def test_targets_of_a_loss_of_ones_own_pass(shape: tuple[int, ...]) -> None:
    y = np.linspace(-5, 5, np.prod(shape), dtype=np.float32).reshape(shape)
    for targets in (y, y.astype(jnp.bfloat16), y.astype(int)):
        check_batch(OF_LOSS, BATCH._replace(y=targets))
    y[6:] = np.nan
    check_batch(OF_LOSS, BATCH._replace(y=y, valid=np.arange(10) < 6))
    with pytest.raises(ValueError, match=r"^y\[6\] holds nan; targets must be finite where valid"):
        check_batch(OF_LOSS, BATCH._replace(y=y))


@pytest.mark.parametrize(
    ("y", "sentence"),
    [
        (
            np.zeros((9, 2), np.float32),
            "y is of shape (9, 2); it must be (10, ...), an entry for every row of x.",
        ),
        (np.float32(1), "y is of shape (); it must be (10, ...), an entry for every row of x."),
        (BATCH.y > 0, "y is of dtype bool; it must be floating or integer."),
    ],
)
def test_targets_that_are_none_get_one_sentence(y: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=rf"^{re.escape(sentence)}$"):
        check_batch(OF_LOSS, BATCH._replace(y=y))
