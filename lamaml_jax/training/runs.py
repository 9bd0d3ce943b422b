"""Which runs there are: seeds at points of a sweep.

Dimensions: R runs (seeds, point by point).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from lamaml_jax.loop import Seed
from lamaml_jax.types import Learner

Factory: TypeAlias = Callable[..., Learner]
"""`factory(model, setting, *, ...) -> Learner`, whose keyword-only signature is the method's configuration."""

Point: TypeAlias = Mapping[str, float]


class Runs(NamedTuple):
    """What sets runs apart.

    Attributes:
        seeds: One run each, at every point.
        points: Float settings by name, and a `stream_seed`, that differ between points.
        floats: All float settings, with the values that hold where a point says nothing.
        stream_seed: Draws the one stream of all runs; None has every seed draw its own.
    """

    seeds: Sequence[int]
    points: Sequence[Point]
    floats: Mapping[str, float]
    stream_seed: int | None = None

    def each(self) -> list[tuple[Point, int]]:
        """Return the point and the seed of every run, point by point."""
        return [(point, seed) for point in self.points for seed in self.seeds]

    def stacked(self) -> Seed:
        """Return what `loop` takes of every run, `[R, ...]`."""
        runs = self.each()
        streams_of = [point.get("stream_seed", self.stream_seed) for point, _ in runs]
        own = [
            seed if of is None else int(of) for of, (_, seed) in zip(streams_of, runs, strict=True)
        ]
        hyper = {
            name: jnp.asarray([point.get(name, value) for point, _ in runs], jnp.float32)
            for name, value in self.floats.items()
        }
        return Seed(_keys([seed for _, seed in runs]), hyper, _keys(own))


def _keys(seeds: Sequence[int]) -> jax.Array:
    return jnp.stack([jax.random.key(seed) for seed in seeds])
