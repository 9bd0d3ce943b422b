"""FS-DGPM's steps and bases reproduce, number by number, what its authors' implementation gives."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest
import vectors as reference
from helpers import assert_close

from lamaml_jax import Learner, Model, fs_dgpm
from lamaml_jax.learners.fs_dgpm import FsDgpmState
from lamaml_jax.learners.parts.bases import principal_directions

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)
STEPS = reference.names("fsdgpm_single_head", "fsdgpm_multi_head")


@reference.in_both_precisions
@pytest.mark.parametrize("name", STEPS)
def test_glances_reproduce_the_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    with reference.opened(name, double) as found:
        vectors, config = found
        replayed = reference.batch(*(vectors[f"replay_{k}"] for k in ("x", "y", "task")))
        learner = learner_of(
            found, 10, glances=config["glances"], draw=lambda key, memory, batch: (batch, replayed)
        )
        batch = reference.batch(vectors["x"], vectors["y"], config["task"])
        start = started(learner.init(KEY, batch), found)
        state, info = jax.jit(learner.update)(KEY, start, batch)

        assert_close(state.params, found.tree("params_out"), tolerance)
        assert_close(momentum_of(state), found.tree("momentum_out"), tolerance)
        assert_close(info["loss"], vectors["last_loss"], tolerance)
        expected = found.tree("lambda_out")
        for layer, values in expected.items():
            assert_close(state.soft.weights[int(layer)][: len(values)], values, tolerance)
        assert bool(expected) == (config["weights"] == "soft" and config["task"] > 0)


@reference.in_both_precisions
@pytest.mark.parametrize("name", reference.names("fsdgpm_basis"))
def test_bases_reproduce_the_authors_numbers(name: str, double: bool, tolerance: float) -> None:
    with reference.opened(name, double) as found:
        params, threshold = found.tree("params"), found.config["threshold"]
        inputs = layer_inputs(params, jnp.asarray(found.arrays["memory_x"]))
        find = jax.jit(principal_directions)
        for layer, rows in enumerate(inputs):
            assert_close(rows, found.arrays[f"layer_inputs/{layer}"], tolerance)
            directions = find(rows, threshold)
            assert_close(
                directions @ directions.T, found.arrays[f"projectors/{layer}"], 10 * tolerance
            )
            kept = (directions != 0).any(axis=0).sum()
            assert kept == found.arrays["kept"][layer]


@reference.in_both_precisions
@pytest.mark.parametrize("heads", ["single_head", "multi_head"])
def test_a_stream_reproduces_the_authors_numbers(
    heads: str, double: bool, tolerance: float
) -> None:
    """One glance at a time, as each replays other examples; the bases are made from the examples they were given."""
    with reference.opened(f"fsdgpm_stream_{heads}", double) as found:
        vectors, config = found

        def learner(replayed: Any) -> Learner:
            return learner_of(
                found, 6, glances=1, draw=lambda key, memory, batch: (batch, replayed)
            )

        @jax.jit
        def glance(state: FsDgpmState, batch: Any, replayed: Any) -> Any:
            return learner(replayed).update(KEY, state, batch)

        end_task = jax.jit(learner(None).end_task)
        state = learner(None).init(KEY, reference.batch(vectors["x"][0, 0], vectors["y"][0, 0], 0))
        for task in range(3):
            for step in range(3):
                batch = reference.batch(vectors["x"][task, step], vectors["y"][task, step], task)
                for i in range(config["glances"]):
                    drawn = (vectors[f"replay_{k}"][task, step, i] for k in ("x", "y", "task"))
                    state, info = glance(state, batch, reference.batch(*drawn))
                assert_close(info["loss"], vectors["losses"][task, step], tolerance)
            assert_close(state.params, found.tree(f"params_after_task_{task}"), tolerance)
            for layer, mean in enumerate(vectors["mean_lambda"][task]):
                is_kept = (state.bases[layer] != 0).any(axis=0)
                if task > 0:
                    assert_close(state.soft.weights[layer][is_kept].mean(), mean, tolerance)
            remembered = state.memory._replace(
                x=jnp.asarray(vectors["memory_x"][task], state.memory.x.dtype), seen=jnp.int32(20)
            )
            state = end_task(KEY, state._replace(memory=remembered), None)
            projectors = found.tree(f"projectors_after_task_{task}")
            for layer, kept in enumerate(vectors["kept"][task]):
                directions = state.bases[layer]
                assert (directions != 0).any(axis=0).sum() == kept
                assert_close(directions @ directions.T, projectors[str(layer)], 10 * tolerance)


def learner_of(found: reference.Vectors, batch_size: int, **keywords: Any) -> Learner:
    """Return the learner that a file's settings describe, with twenty slots of memory."""
    config = found.config
    model = Model(
        lambda key, x: found.tree("params_in"),
        lambda params, x: activations(params, x)[-1],
        kernels=("kernel_0", "kernel_1", "kernel_2"),
        layer_inputs=layer_inputs,
    )
    names = ("perturbation", "order", "gradient_at", "inner_steps", "lr", "momentum", "temperature")
    threshold = {
        "threshold": config.get("threshold", 0.99),
        "threshold_step": config.get("threshold_add", 0.0),
    }
    return fs_dgpm(
        model,
        found.setting(batch_size),
        soft="released" if config["weights"] == "soft" else "off",
        perturbation_lr=config["eta1"],
        weights_lr=config["eta2"],
        clip_norm=config["clip_norm"],
        inner_clip=config["clip_norm"],
        memory=20,
        **threshold,
        **{name: config[name] for name in names},
        **keywords,
    )


def started(state: FsDgpmState, found: reference.Vectors) -> FsDgpmState:
    """Return a state with a file's momentum, bases and weights; unused columns are of zeros, their weights 1."""
    bases, weights = found.tree("bases"), found.tree("lambda_in")

    def padded(whole: jax.Array, part: jax.Array) -> jax.Array:
        return whole.at[..., : part.shape[-1]].set(part)

    trace, *rest = state.opt_state
    momentum = optax.TraceState(found.tree("momentum_in"))
    is_attached = found.config["lambda_optimizer"] == "attached"
    state = state._replace(opt_state=(momentum, *rest))
    if not bases:
        return state
    return state._replace(
        bases=tuple(padded(v, bases[str(i)]) for i, v in enumerate(state.bases)),
        soft=state.soft._replace(
            weights=tuple(padded(w, weights[str(i)]) for i, w in enumerate(state.soft.weights)),
            is_fresh=jnp.array(is_attached),
        ),
        is_based=jnp.array(True),
    )


def momentum_of(state: FsDgpmState) -> Any:
    return state.opt_state[0].trace


def activations(params: Any, x: jax.Array) -> list[jax.Array]:
    """Return the inputs, the hidden activations and the logits of a network without biases."""
    *hidden, last = (params[f"kernel_{i}"] for i in range(3))
    found = [x]
    for kernel in hidden:
        found.append(jax.nn.relu(found[-1] @ kernel))
    return [*found, found[-1] @ last]


def layer_inputs(params: Any, x: jax.Array) -> tuple[jax.Array, ...]:
    return tuple(activations(params, x)[:-1])
