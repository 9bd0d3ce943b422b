"""What all adapters do: refuse what is not a pure function of its parameters, and hand on what a module offers.

Dimensions: B batch.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import chex
import jax
import jax.numpy as jnp

from lamaml_jax import checks
from lamaml_jax.types import Apply, Gates, Model, Params

PURE = (
    "a model must be a pure function of its parameters: with layer or group instead of batch normalisation, and "
    "without dropout or with it switched off"
)


def checked_model(
    draw: Callable[[chex.PRNGKey, jax.Array], Any],
    apply: Apply,
    error: type[Exception],
    says: Callable[[str], str],
    module: Any = None,
    features: Callable[[Params, jax.Array], jax.Array] | None = None,
    layer_inputs: Callable[[Params, jax.Array], tuple[jax.Array, ...]] | None = None,
) -> Model:
    """Return a model with what its module offers, whose `init` refuses what is not pure.

    Args:
        draw: `draw(key, x) -> params`.
        apply: The model's.
        error: What the library raises where a call is not pure.
        says: What is not, from that error's message; empty for an error of another kind.
        module: What may have the attributes of a model that stand below, under the same names.
        features: The model's, if the module has a method of this name.
        layer_inputs: As `features`.
    """

    def init(key: chex.PRNGKey, x: jax.Array) -> Params:
        with _in_one_sentence(error, says):
            params = draw(key, x)
            if not jax.tree.leaves(params):
                raise checks.Refusal("the network has no parameters; it must have some to learn.")
            for name, leaf in zip(names_of(params), jax.tree.leaves(params), strict=True):
                if not jnp.issubdtype(leaf.dtype, jnp.floating):
                    allowed = "of floating point, as all parameters are trained"
                    raise checks.Refusal(f"{name} is of dtype {leaf.dtype}; it must be {allowed}.")
            jax.eval_shape(apply, params, x)  # initialising has a key for everything, a call none
        return params

    def has(method: str) -> bool:
        return callable(getattr(type(module), method, None))

    return Model(
        init,
        apply,
        features if has("features") else None,
        getattr(module, "gate_sizes", ()),
        getattr(module, "gate_params", None),
        getattr(module, "kernels", ()) if has("layer_inputs") else (),
        layer_inputs if has("layer_inputs") else None,
    )


def require_function(adapter: str, key: str, make: Any, module: type) -> None:
    """Raise ValueError where a module is given instead of a function that makes it."""
    if isinstance(make, module):
        name = type(make).__name__
        raise ValueError(
            f"make is a {name} itself; pass a function that makes it, as every run draws weights of its own: "
            f"networks.{adapter}(lambda {key}: {name}(..., {key}={key}))."
        )


@contextlib.contextmanager
def _in_one_sentence(kind: type[Exception], says: Callable[[str], str]) -> Iterator[None]:
    """Say of a library's error what of the network is not pure, if that is what it is about."""
    try:
        yield
    except kind as error:
        if found := says(str(error)):
            raise checks.Refusal(f"{found}; {PURE}.") from error
        raise


def inputs_of(x: jax.Array, gates: Gates | None) -> tuple[Any, ...]:
    """Return what a module is called with."""
    return (x,) if gates is None else (x, gates)


def names_of(tree: Any) -> list[str]:
    """Return the path of each leaf, as "Dense_0/kernel"."""
    return [name_of(path) for path, _ in jax.tree_util.tree_leaves_with_path(tree)]


def name_of(path: Any) -> str:
    """Return a leaf's path, as "Dense_0/kernel"."""
    return jax.tree_util.keystr(path, simple=True, separator="/")
