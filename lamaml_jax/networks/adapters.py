"""Networks of Flax (linen and nnx), Equinox and Haiku as `Model`s.

A model is a pure function of its parameters, and all parameters are trained: arrays of floating point, and nothing
else, are in its `params`. What keeps a state of its own (batch statistics, counters) or draws at every call (dropout)
is refused, since no learner would carry that state, and a meta-gradient would differentiate through other draws than
the step was made with. Layer or group normalisation and dropout that is switched off are pure.

Dimensions: B batch, C classes, D units of the last hidden layer.
"""

import inspect
from collections.abc import Callable
from typing import Any, cast

import chex
import flax.errors
import flax.linen as nn
import jax

from lamaml_jax import checks
from lamaml_jax.networks.adapting import (
    PURE,
    checked_model,
    inputs_of,
    name_of,
    names_of,
    require_function,
)
from lamaml_jax.types import Gates, Model, Params

_DRAWS, _KEEPS = "the network draws with a key at every call", "the network keeps a state"


def from_flax(module: nn.Module) -> Model:
    """Return a Flax linen module as a `Model`, whose parameters are the collection "params".

    Args:
        module: Maps inputs `[B, ...]` to logits `[B, C]`. What it has of `features(x)`, `gate_sizes` (and a second
            argument `gates`), `gate_params(params, gates)`, `kernels` and `layer_inputs(x)` becomes the model's; see
            `MLP`.

    Raises:
        ValueError: From the model's `init`: the module has another collection (nn.BatchNorm), draws with a key at every
            call (nn.Dropout without deterministic=True), or has parameters that are not of floating point.

    Example:
        >>> import flax.linen as nn, jax
        >>> from lamaml_jax import networks
        >>> net = nn.Sequential([nn.Dense(16), nn.LayerNorm(), nn.relu, nn.Dense(4)])
        >>> model = networks.from_flax(net)
        >>> x = jax.numpy.ones((10, 3))
        >>> model.apply(model.init(jax.random.key(0), x), x).shape
        (10, 4)
    """

    def draw(key: chex.PRNGKey, x: jax.Array) -> Params:
        collections = dict(module.init(key, x))
        params = collections.pop("params", {})
        for collection, variables in collections.items():
            for name in names_of(variables)[:1]:
                raise checks.Refusal(f"{name} is in the collection {collection!r}; {PURE}.")
        return params

    def apply(params: Params, x: jax.Array, /, gates: Gates | None = None) -> jax.Array:
        return cast(jax.Array, module.apply({"params": params}, *inputs_of(x, gates)))

    def method(name: str) -> Callable[[Params, jax.Array], Any]:
        return lambda params, x: module.apply({"params": params}, x, method=name)

    def says(message: str) -> str:
        name, *_ = message.split()  # with which the message begins
        return f"{name} draws with a key at every call"

    methods = method("features"), method("layer_inputs")
    return checked_model(draw, apply, flax.errors.InvalidRngError, says, module, *methods)


def from_nnx(make: Callable[..., Any]) -> Model:
    """Return a Flax nnx module as a `Model`, whose parameters are its `nnx.Param`s by path, as "layers/0/kernel".

    Args:
        make: `make(rngs=nnx.Rngs(key)) -> module`, called for every run's initial weights inside the compiled program;
            the module maps inputs `[B, ...]` to logits `[B, C]`. Of methods and attributes, see `from_flax`.

    Raises:
        ValueError: `make` is a module itself, or the module holds other arrays than `nnx.Param`s (nnx.BatchNorm,
            nnx.Dropout with `rngs`). From the model's `init`: it draws at every call (nnx.Dropout without
            deterministic=True), or has parameters that are not of floating point.

    Example:
        >>> import functools, jax
        >>> from flax import nnx
        >>> from lamaml_jax import networks
        >>> class Net(nnx.Module):
        ...     def __init__(self, units, *, rngs):
        ...         self.hidden = nnx.Linear(3, units, rngs=rngs)
        ...         self.out = nnx.Linear(units, 4, rngs=rngs)
        ...
        ...     def __call__(self, x):
        ...         return self.out(nnx.relu(self.hidden(x)))
        >>> model = networks.from_nnx(functools.partial(Net, 16))
        >>> params = model.init(jax.random.key(0), jax.numpy.ones((10, 3)))
        >>> sorted(params)
        ['hidden/bias', 'hidden/kernel', 'out/bias', 'out/kernel']
    """
    from flax import nnx

    require_function("from_nnx", "rngs", make, nnx.Module)

    def parts(module: Any) -> Any:
        return nnx.split(module, nnx.Param, ...)

    abstract = nnx.eval_shape(lambda: make(rngs=nnx.Rngs(0)))
    graph, state, others = parts(abstract)
    for path, variable in nnx.to_flat_state(others)[:1]:
        kind = type(variable).__name__ if isinstance(variable, nnx.Variable) else "plain array"
        name = "/".join(map(str, path))
        raise ValueError(f"{name} is a {kind} and no nnx.Param; {PURE}, and no rngs in it.")
    structure = jax.tree.structure(state)
    names = [name.removesuffix("/value") for name in names_of(state)]  # each nnx.Param has one

    def module(params: Any) -> Any:
        return nnx.merge(graph, jax.tree.unflatten(structure, [params[name] for name in names]))

    def draw(key: chex.PRNGKey, x: jax.Array) -> Params:
        return dict(zip(names, jax.tree.leaves(parts(make(rngs=nnx.Rngs(key)))[1]), strict=True))

    def apply(params: Params, x: jax.Array, /, gates: Gates | None = None) -> jax.Array:
        return module(params)(*inputs_of(x, gates))

    def features(params: Params, x: jax.Array) -> jax.Array:
        return module(params).features(x)

    def says(message: str) -> str:
        return _DRAWS if "no `rngs`" in message else ""

    return checked_model(draw, apply, ValueError, says, abstract, features)


def from_equinox(make: Callable[[chex.PRNGKey], Any]) -> Model:
    """Return an Equinox module as a `Model`, whose parameters are its arrays by path, as "layers/0/weight".

    As Equinox has it, the module is a function of one example; the model maps it over the batch. So too `features`.

    Example::

        model = networks.from_equinox(lambda key: eqx.nn.MLP(3, 4, width_size=16, depth=1, key=key))

    Args:
        make: `make(key) -> module`, called for every run's initial weights inside the compiled program; the module maps
            one input `[...]` to its logits `[C]`, and all but its arrays of floating point is the same for every key.
            Of methods and attributes, see `from_flax`.

    Raises:
        ValueError: `make` is a module itself, or returns no callable (as of `eqx.nn.make_with_state`), or a module that
            keeps a state (eqx.nn.BatchNorm) or arrays that are not of floating point. From the model's `init`: it draws
            at every call (eqx.nn.Dropout without inference=True).
    """
    import equinox as eqx

    if not (isinstance(make, eqx.Partial) or hasattr(make, "__wrapped__")):  # as by eqx.filter_jit
        require_function("from_equinox", "key", make, eqx.Module)

    def is_index(node: Any) -> bool:
        return isinstance(node, eqx.nn.StateIndex)

    abstract = eqx.filter_eval_shape(make, jax.random.key(0))
    if not callable(abstract):
        kind = type(abstract).__name__
        raise ValueError(f"make returns a {kind}; it must return a stateless module; {PURE}.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(abstract, is_leaf=is_index):
        if is_index(leaf):
            raise ValueError(f"{name_of(path)} is a state (eqx.nn.StateIndex); {PURE}.")
    leaves, structure = jax.tree.flatten(abstract)
    names = names_of(abstract)

    def draw(key: chex.PRNGKey, x: jax.Array) -> Params:
        drawn = zip(names, jax.tree.leaves(make(key)), strict=True)
        return {name: leaf for name, leaf in drawn if eqx.is_array(leaf)}

    def module(params: Any) -> Any:
        whole = zip(names, leaves, strict=True)
        return jax.tree.unflatten(structure, [params.get(name, leaf) for name, leaf in whole])

    def apply(params: Params, x: jax.Array, /, gates: Gates | None = None) -> jax.Array:
        return jax.vmap(lambda one: module(params)(*inputs_of(one, gates)))(x)

    def features(params: Params, x: jax.Array) -> jax.Array:
        return jax.vmap(module(params).features)(x)

    def says(message: str) -> str:
        return _DRAWS if "requires a key" in message else ""

    return checked_model(draw, apply, RuntimeError, says, abstract, features)


def from_haiku(transformed: Any) -> Model:
    """Return a function that Haiku has transformed as a `Model`, whose parameters are Haiku's.

    Example::

        model = networks.from_haiku(hk.transform(lambda x: hk.nets.MLP([16, 4])(x)))

    Args:
        transformed: What `hk.transform` returns, with or without `hk.without_apply_rng`, of a function of inputs
            `[B, ...]` (and of `gates`, where the model is to have them) that returns logits `[B, C]`. Give the model
            other fields by `model._replace(features=..., gate_sizes=...)`.

    Raises:
        ValueError: `transformed` is something else, as of `hk.transform_with_state`. From the model's `init`: the
            function keeps a state (hk.BatchNorm), draws at every call (hk.dropout), or has parameters that are not of
            floating point.
    """
    import haiku as hk

    if not isinstance(transformed, hk.Transformed):
        kind = type(transformed).__name__
        raise ValueError(f"transformed is a {kind}; it must be what hk.transform returns; {PURE}.")
    # What hk.without_apply_rng returns is of the same type.
    _, second, *_ = [*inspect.signature(transformed.apply).parameters, ""]
    no_key = (None,) if second == "rng" else ()

    def apply(params: Params, x: jax.Array, /, gates: Gates | None = None) -> jax.Array:
        return transformed.apply(cast(Any, params), *no_key, *inputs_of(x, gates))

    def says(message: str) -> str:
        if "hk.transform_with_state" in message:
            return _KEEPS
        return _DRAWS if "non-None PRNGKey" in message else ""

    return checked_model(transformed.init, apply, ValueError, says)
