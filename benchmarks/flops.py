"""Count the multiply-adds that a JAX function spends in matrix products."""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core

from lamaml_jax import products


def product_flops(function: Callable[..., Any], *args: Any) -> int:
    """Return the floating-point operations (two per multiply-add) of all matrix products in `function(*args)`.

    Loops of known length count every pass. What the compiler leaves out is counted too.
    """
    return _flops(jax.make_jaxpr(function)(*args).jaxpr)


def _flops(jaxpr: core.Jaxpr) -> int:
    return sum(_equation_flops(equation) for equation in jaxpr.eqns)


def _equation_flops(equation: core.JaxprEqn) -> int:
    match equation.primitive.name:
        case "dot_general":
            ((contracted, _), _) = equation.params["dimension_numbers"]
        case products.PRIMITIVE:
            contracted = products.CONTRACTED[equation.params["form"]][:1]
        case _:
            inner = sum(_flops(jaxpr) for jaxpr in _sub_jaxprs(equation.params))
            return inner * equation.params.get("length", 1)
    lhs, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape  # type: ignore[attr-defined]
    return 2 * math.prod(out) * math.prod(lhs[i] for i in contracted)


def _sub_jaxprs(params: dict[str, Any]) -> list[core.Jaxpr]:
    found = []
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                found.append(item.jaxpr)
            elif isinstance(item, core.Jaxpr):
                found.append(item)
    return found
