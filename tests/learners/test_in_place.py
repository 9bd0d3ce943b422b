"""The memory is written in place: no program of a learner copies it whole from batch to batch."""

import inspect
import re
from typing import Any

import jax
import pytest
from helpers import build, make_batch

from lamaml_jax import LEARNERS

KEEPERS = [n for n in LEARNERS if "memory" in inspect.signature(LEARNERS[n]).parameters]
SLOTS = 990


@pytest.mark.parametrize(
    "name", [name for name in KEEPERS if name != "icarl"]
)  # which keeps at a task's end
def test_no_copy_of_the_memory_is_made_inside_the_loop_over_batches(name: str) -> None:
    learner = build(name, memory=SLOTS)
    batch = make_batch(0)
    state = learner.init(jax.random.key(0), batch)

    def train(state: Any) -> Any:
        def step(i: jax.Array, state: Any) -> Any:
            return learner.update(jax.random.fold_in(jax.random.key(1), i), state, batch)[0]

        return jax.lax.fori_loop(0, 5, step, state)

    program = jax.jit(train, donate_argnums=0).lower(state).compile().as_text()
    shape = ",".join(map(str, state.memory.x.shape))
    assert f"[{shape}]" in program
    assert re.findall(rf"\[{shape}\]\S* copy\(.*", program) == []
