"""GEM's quadratic programme and A-GEM's projection, against the authors' numbers and a trusted solver."""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits
from scipy.optimize import nnls

from lamaml_jax import project_agem, project_gem
from lamaml_jax.learners.parts.projection import gem_multipliers

FOLDER = Path(__file__).parents[1] / "reference"
EPS = 1e-3
NUM_WEIGHTS = 40

pytestmark = pytest.mark.usefixtures("quick_compile")

in_both_precisions = pytest.mark.parametrize("double", [True, False], ids=["x64", "f32"])


@jax.jit
def solve(gradient: Any, rows: Any, active: Any, margin: Any) -> tuple[jax.Array, Any]:
    """Return v and g + G'v."""
    args = gradient, rows, active
    v = gem_multipliers(*args, margin=margin, eps=EPS)
    return v, project_gem(*args, margin=margin, eps=EPS)


def project(gradient: Any, rows: Any, active: Any, margin: Any) -> Any:
    return solve(gradient, rows, active, margin)[1]


@functools.cache
def trusted_instance(kind: str, num_tasks: int, margin: float) -> tuple[np.ndarray, ...]:
    """Return g, G, v and g + G'v."""
    return *(pair := instance(kind, num_tasks)), *trusted(*pair, margin)


def trusted(gradient: np.ndarray, rows: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Solve the dual as min |G'v + g|^2 + eps |v|^2 by non-negative least squares in v - margin; return v and g + G'v.

    That never forms GG', so it holds its accuracy where quadratic programme solvers do not.
    """
    num_tasks = len(rows)
    columns = np.vstack([rows.T, np.sqrt(EPS) * np.eye(num_tasks)])
    at_margin = columns @ np.full(num_tasks, margin) + np.concatenate(
        [gradient, np.zeros(num_tasks)]
    )
    v = nnls(columns, -at_margin, maxiter=100 * num_tasks)[0] + margin
    return v, gradient + rows.T @ v


def instance(
    kind: str, num_tasks: int, num_weights: int = NUM_WEIGHTS, seed: int = 0
) -> tuple[Any, Any]:
    """Return g and G in conflict, both exact in float32."""
    rng = np.random.default_rng(num_tasks + 1000 * seed)
    base = rng.normal(size=num_weights)
    noise = rng.normal(size=(num_tasks, num_weights))
    gradient = rng.normal(size=num_weights)
    few = rng.normal(size=(-(-num_tasks // 3), num_weights))
    rows = {
        "random": noise,
        "correlated": base + noise,
        "near-parallel": base + 1e-3 * noise,
        "all but parallel": base + 1e-6 * noise,
        "opposed": rng.choice([-1, 1], size=(num_tasks, 1)) * base + 1e-3 * noise,
        "duplicates": few.repeat(3, axis=0)[:num_tasks],
        "combinations": rng.normal(size=(num_tasks, len(few))) @ few,
        "zeros": noise * (np.arange(num_tasks) % 2 == 0)[:, None],
        "of all sizes": noise * 10.0 ** rng.uniform(-6, 4, size=(num_tasks, 1)),
        "large": 1e4 * (base + 0.1 * noise),
        "of three directions": 30
        * (rng.normal(size=(num_tasks, 3)) @ rng.normal(size=(3, num_weights)) + 1e-3 * noise)
        / np.sqrt(num_weights),
        "large, opposed": 100 * rng.choice([-1, 1], size=(num_tasks, 1)) * base + 1e-2 * noise,
    }[kind]
    if kind in ("correlated", "near-parallel", "all but parallel") or "large" in kind:
        gradient -= base
    gradient, rows = (a.astype(np.float32).astype(float) for a in (gradient, rows))
    return (gradient if np.any(rows @ gradient < 0) else -gradient), rows


KINDS = [
    "random",
    "correlated",
    "near-parallel",
    "all but parallel",
    "opposed",
    "duplicates",
    "combinations",
    "zeros",
    "of all sizes",
    "large",
]


@in_both_precisions
@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("num_tasks", [1, 2, 5, 19, 99])
@pytest.mark.parametrize("kind", KINDS)
def test_gem_agrees_with_a_trusted_solver(
    kind: str, num_tasks: int, margin: float, double: bool
) -> None:
    gradient, rows, _, expected = trusted_instance(kind, num_tasks, margin)
    size = max(np.abs(gradient).max(), np.abs(expected).max())
    with jax.enable_x64(double):
        args = jnp.asarray(gradient, float), jnp.asarray(rows, float), np.ones(num_tasks, bool)
        actual = project(*args, margin)
        assert actual.dtype == (jnp.float64 if double else jnp.float32)
    tolerance = 1e-9 if double else 1e-3
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * size)


@in_both_precisions
@pytest.mark.parametrize("seed", [7, 12, 39, 57])  # where a smaller shift of GG' fails, of 0 to 59
@pytest.mark.parametrize("num_tasks", [19, 99])
@pytest.mark.parametrize("kind", ["of three directions", "large, opposed"])
def test_gem_stays_accurate_where_large_rows_nearly_cancel(
    kind: str, num_tasks: int, seed: int, double: bool
) -> None:
    gradient, rows = instance(kind, num_tasks, num_weights=300, seed=seed)
    _, expected = trusted(gradient, rows, 0.0)
    size = max(np.abs(gradient).max(), np.abs(expected).max())
    with jax.enable_x64(double):
        args = jnp.asarray(gradient, float), jnp.asarray(rows, float), np.ones(num_tasks, bool)
        actual = project(*args, 0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=(1e-9 if double else 1e-3) * size)


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("num_tasks", [1, 2, 5, 19, 99])
@pytest.mark.parametrize("kind", KINDS)
def test_gem_is_feasible_and_stationary(
    kind: str, num_tasks: int, margin: float, x64: None
) -> None:
    gradient, rows = instance(kind, num_tasks)
    v = np.asarray(solve(gradient, rows, np.ones(num_tasks, bool), margin)[0])
    assert np.all(v >= margin)
    slope = rows @ (gradient + rows.T @ v) + EPS * v
    assert np.abs(np.minimum(slope, v - margin)).max() < 1e-5


def test_gem_holds_its_accuracy_at_a_networks_size() -> None:
    num_tasks = 19
    gradient, rows = instance("correlated", num_tasks, num_weights=3_000)
    _, expected = trusted(gradient, rows, 0.0)
    args = jnp.asarray(gradient, float), jnp.asarray(rows, float), np.ones(num_tasks, bool)
    actual = project(*args, 0.0)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "row_size"),
    [(1e25, 1e25), (1e25, 1), (1, 1e25), (1e-25, 1e-25), (1, 1e-25), (1e-25, 1)],
)
def test_gem_is_exact_for_gradients_of_any_size(size: float, row_size: float) -> None:
    """The squares of these gradients do not exist in float32."""
    gradient, rows = instance("random", 5)
    gradient, rows = size * gradient, row_size * rows
    _, expected = trusted(gradient, rows, 0.0)
    args = jnp.asarray(gradient, float), jnp.asarray(rows, float), np.ones(5, bool)
    actual = np.asarray(project(*args, 0.0), float)
    np.testing.assert_allclose(actual / size, expected / size, rtol=0, atol=1e-5)


def test_memory_losses_do_not_rise_to_first_order(x64: None) -> None:
    gradient, rows = instance("random", 19)
    assert np.any(rows @ gradient < -1)
    projected = project_gem(gradient, rows, np.ones(19, bool), margin=0.0, eps=1e-12)
    assert np.all(rows @ projected > -1e-9)


def test_a_task_that_is_not_active_never_counts(x64: None) -> None:
    gradient, rows = instance("random", 5)
    active = np.array([True, False, True, True, False])
    assert np.any((rows @ gradient)[active] < 0)
    assert np.any((rows @ gradient)[~active] < 0)
    stale = np.where(active[:, None], rows, 1e3 * rows)
    v, actual = solve(gradient, stale, active, 0.5)
    expected, projected = trusted(gradient, rows[active], 0.5)
    assert_close(v[active], expected, 1e-9)
    assert np.all(v[~active] == 0)
    assert_close(actual, projected, 1e-9)


@pytest.mark.parametrize("margin", [0.0, 0.5])
def test_without_conflict_the_gradient_stays_as_it_is(margin: float) -> None:
    gradient, rows = (jnp.asarray(a, jnp.float32) for a in instance("random", 5))
    agreeing = rows * jnp.where(rows @ gradient < 0, -1, 1)[:, None]
    everyone, no_one = jnp.ones(5, bool), jnp.zeros(5, bool)
    assert_same_bits(project(gradient, agreeing, everyone, margin), gradient)
    assert_same_bits(project(gradient, rows, no_one, margin), gradient)
    assert_same_bits(project(gradient, 0 * rows, everyone, margin), gradient)
    assert_same_bits(project(0 * gradient, rows, everyone, margin), 0 * gradient)
    agrees = rows @ gradient > 0
    assert 0 < agrees.sum() < 5
    assert_same_bits(project(gradient, rows, agrees, margin), gradient)
    only_one = agreeing.at[3].multiply(-1)
    assert not np.array_equal(project(gradient, only_one, everyone, margin), gradient)


def test_gem_scans_and_maps_to_the_same_numbers(x64: None) -> None:
    pairs = [instance(kind, 5) for kind in KINDS]
    gradients, rows = (jnp.stack(parts) for parts in zip(*pairs, strict=True))
    active = np.ones(5, bool)
    alone = jnp.stack([project(g, m, active, 0.5) for g, m in pairs])
    mapped = jax.jit(jax.vmap(lambda g, m: project(g, m, active, 0.5)))(gradients, rows)
    assert_close(mapped, alone, 1e-9)
    scanned = jax.lax.map(lambda pair: project(*pair, active, 0.5), (gradients, rows))
    assert_close(scanned, alone, 1e-9)


def test_a_pytree_is_projected_as_one_vector(x64: None) -> None:
    gradient, rows = instance("random", 5)
    expected = project(gradient, rows, np.ones(5, bool), 0.5)
    tree = {"kernel": gradient[:36].reshape(9, 4), "bias": gradient[36:]}
    row_tree = {"kernel": rows[:, :36].reshape(5, 9, 4), "bias": rows[:, 36:]}
    actual = project(tree, row_tree, np.ones(5, bool), 0.5)
    assert_close(actual["kernel"].ravel(), expected[:36], 1e-9)
    assert_close(actual["bias"], expected[36:], 1e-9)


@in_both_precisions
@pytest.mark.parametrize("num_tasks", [1, 3, 7, 19])
def test_the_authors_projections_are_reproduced(num_tasks: int, double: bool) -> None:
    tolerance = 1e-9 if double else 1e-5
    with (
        jax.enable_x64(double),
        np.load(FOLDER / f"gem_projection_{num_tasks}_tasks.npz") as vectors,
    ):
        gradient = jnp.asarray(vectors["gradient"], float)
        rows = jnp.asarray(vectors["memory_gradients"], float)
        projected = project(gradient, rows, np.ones(num_tasks, bool), 0.5)
        assert_close(projected, vectors["gem"], tolerance)
        against_mean = project_agem(gradient, rows.mean(axis=0))
        assert_close(against_mean, vectors["agem_mean_reference"], tolerance)


@pytest.mark.parametrize("size", [1.0, 1e-25, 1e25])
@pytest.mark.parametrize("reference_size", [1.0, 1e-25, 1e25])
def test_agem_takes_out_what_opposes_the_reference(size: float, reference_size: float) -> None:
    gradient = jnp.array([3.0, -1.0, 2.0]) * size
    reference = jnp.array([-1.0, 2.0, 0.0]) * reference_size
    expected = (np.array([3, -1, 2]) + np.array([-1, 2, 0])) * size
    assert_close(np.asarray(project_agem(gradient, reference), float) / size, expected / size)
    assert_same_bits(project_agem(gradient, -reference), gradient)


def test_agem_without_a_reference_leaves_the_gradient_as_it_is() -> None:
    gradient = {"kernel": jnp.array([[1.0, -2.0]]), "bias": jnp.array([0.5])}
    assert_same_bits(project_agem(gradient, jax.tree.map(jnp.zeros_like, gradient)), gradient)
    zero = jax.tree.map(jnp.zeros_like, gradient)
    assert_same_bits(project_agem(zero, gradient), zero)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_gradients_of_few_bits_are_projected_in_more(dtype: Any) -> None:
    """The numbers are those of the same gradients in float32, rounded once."""
    gradient, rows = (jnp.asarray(a, dtype) for a in instance("correlated", 5))
    wide, wide_rows = gradient.astype(jnp.float32), rows.astype(jnp.float32)
    everyone = jnp.ones(5, bool)
    actual = project(gradient, rows, everyone, 0.5)
    assert actual.dtype == dtype
    assert_same_bits(actual, project(wide, wide_rows, everyone, 0.5).astype(dtype))
    turned = project_agem(gradient, rows[0])
    assert turned.dtype == dtype
    assert_same_bits(turned, project_agem(wide, wide_rows[0]).astype(dtype))
    assert not np.array_equal(turned, gradient)
    assert_same_bits(project_agem(gradient, -rows[0]), gradient)


def test_long_gradients_project_as_short_ones_do(x64: None) -> None:
    """The products of long rows are formed in blocks; the same numbers in short leaves are not."""
    rng = np.random.default_rng(3)
    rows, gradient = rng.normal(size=(6, 5000)), rng.normal(size=5000)
    gradient -= rows.sum(axis=0)
    whole = project_gem(
        jnp.asarray(gradient), jnp.asarray(rows), jnp.ones(6, bool), margin=0.1, eps=1e-3
    )
    cuts = [1500, 2900, 4100]
    leaves = [[jnp.asarray(part) for part in np.split(a, cuts, axis=-1)] for a in (gradient, rows)]
    parts = project_gem(*leaves, jnp.ones(6, bool), margin=0.1, eps=1e-3)
    assert np.abs(np.asarray(whole) - gradient).max() > 0.1
    np.testing.assert_allclose(whole, jnp.concatenate(parts), rtol=1e-9, atol=1e-9)
