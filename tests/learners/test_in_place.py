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


# iCaRL keeps at a task's end.
CASES = [(name, {}) for name in KEEPERS if name != "icarl"]
KEEP_LOGITS = [(name, {"distill": 0.3}) for name in ("la_maml", "er")]


@pytest.mark.parametrize(
    ("name", "keywords"),
    [*CASES, *KEEP_LOGITS],
    ids=[*(name for name, _ in CASES), *(f"{name}-distill" for name, _ in KEEP_LOGITS)],
)
def test_no_copy_of_the_memory_is_made_inside_the_loop_over_batches(
    name: str, keywords: dict[str, Any]
) -> None:
    learner = build(name, memory=SLOTS, **keywords)
    batch = make_batch(0)
    state = learner.init(jax.random.key(0), batch)

    def train(state: Any) -> Any:
        def step(i: jax.Array, state: Any) -> Any:
            return learner.update(jax.random.fold_in(jax.random.key(1), i), state, batch)[0]

        return jax.lax.fori_loop(0, 5, step, state)

    program = jax.jit(train, donate_argnums=0).lower(state).compile().as_text()
    for kept in jax.tree.leaves((state.memory.x, getattr(state.memory, "logits", None))):
        shape = ",".join(map(str, kept.shape))
        assert f"[{shape}]" in program
        assert re.findall(rf"\[{shape}\]\S* copy\(.*", program) == []
