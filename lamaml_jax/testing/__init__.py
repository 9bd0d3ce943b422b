"""The contract of a learner as a test that anyone may run on a method."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lamaml_jax import hyper
from lamaml_jax.testing.promises import broken_promises
from lamaml_jax.types import Learner

__all__ = ["check_learner"]


def check_learner(
    factory: Callable[..., Learner],
    *,
    short_batch: Mapping[str, Any] | None = MappingProxyType({}),
    **keywords: Any,
) -> None:
    """Raise AssertionError with a sentence for every promise of `types.Learner` that a factory's learner breaks.

    The learner is made for a small dense network and a stream of three tasks, traced, and trained for some steps, which
    takes some seconds. What is looked at, in this order; the next begins where nothing has been found:

    1. The factory: all settings are keyword-only and annotated.
    2. The learner's functions and their arguments, and that its needs are known.
    3. What tracing shows: update and end_task keep the state's tree, shapes and dtypes, in double precision and under
       `jax.lax.scan` as well; infos are scalars, scores are [B, C]; floats may be traced; batches may be numpy's; no
       key is used twice.
    4. What training shows: no call traces anew; the same key gives the same bits and another one other weights; a first
       state is finite, and no buffer is twice in it; padding changes nothing, whatever stands in it; tasks may come in
       any order and come back; other heads' scores are minus infinity; runs may be mapped by `jax.vmap`.

    Args:
        factory: `factory(model, setting, *, ...) -> Learner`, decorated with `learner_factory`.
        short_batch: Keywords that differ for a learner of batches of 3 examples, whose update must be that of 3
            examples and 7 rows of padding; None leaves this out, for methods whose rule is of the batch size itself.
        **keywords: Of the factory; what is small is checked sooner.

    Raises:
        AssertionError: The promises that are broken, a line for each.

    Example:
        >>> from lamaml_jax import Learner, Model, Setting, online
        >>> from lamaml_jax.testing import check_learner
        >>> check_learner(online, lr=0.1)
        >>> def mine(model: Model, setting: Setting, lr: float = 0.1) -> Learner:
        ...     return online(model, setting, lr=lr)
        >>> check_learner(mine)
        Traceback (most recent call last):
        AssertionError: mine breaks a promise of a learner:
        - settings: lr may be given by position; settings stand behind a *, as in `mine(model, setting, *, lr)`.
    """
    broken = broken_promises(factory, keywords, short_batch)
    if broken:
        name = hyper.name_of(factory)
        count = "a promise" if len(broken) == 1 else f"{len(broken)} promises"
        lines = "".join(f"\n- {sentence}" for sentence in broken)
        raise AssertionError(f"{name} breaks {count} of a learner:{lines}")
