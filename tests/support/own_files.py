"""Files as users write them, with streams, learners and networks, good and bad."""

STREAM = """
    import numpy as np
    from typing import Literal
    from lamaml_jax import streams

    def make(*, num_tasks: int = 3, spread: float = 0.5, heads: Literal["shared", "per_task"] = "per_task",
             eval_split: Literal["test", "validation"] = "test", epochs: int = 1):
        rng = np.random.default_rng(0)
        centres = 2 * rng.normal(size=(num_tasks, 2, 5))
        def task(of, size):
            y = np.arange(size) % 2
            return centres[of][y] + spread * rng.normal(size=(size, 5)), y
        train = [task(of, 30 + 20 * of) for of in range(num_tasks)]
        test = [task(of, 12) for of in range(num_tasks)]
        return streams.from_arrays(train, test, heads=heads, eval_split=eval_split, epochs=epochs)

    def nothing(*, size: int = 1):
        return [size]

    def positional(a):
        return a

    def unannotated(*, a=1):
        return a

    def settable(n=3, *, name: str = "a"):
        return make(num_tasks=n)

    def broken(*, size: int = 1):
        raise ValueError("boom")

    def plain(*, size: int = 20):
        x = np.random.default_rng(0).normal(size=(size, 2))
        y = (x[:, 0] > 0).astype(int)
        return streams.from_arrays([(x, y)] * 2, [(x, y)] * 2)

    def of_both(*, lr: float = 0.5):
        return plain()

    def sequence():
        x, y = np.zeros((4, 2)), np.arange(4) % 2
        return streams.from_arrays([(x, y)] * 2, [(x, y)] * 2, sequence=[(0, 0), (1, 0)])
"""

METHOD = """
    from collections.abc import Callable
    from typing import Any
    import jax
    from lamaml_jax import networks, online

    def slow(model, setting, *, lr: float = 0.2, steps: int = 1):
        return online(model, setting, lr=lr / steps)

    def rateless(model, setting, *, lr: float):
        return online(model, setting, lr=lr)

    def nothing(model, setting):
        pass

    def linear(num_classes, *, scale: float = 1.0):
        return networks.mlp(num_classes, hidden=())

    def activated(num_classes, *, activation: Callable[..., Any] = jax.nn.relu):
        return linear(num_classes)

    def raising(model, setting):
        raise RuntimeError("no learner")

    def fragile(model, setting, *, memory: int = 10):
        learner = online(model, setting, lr=0.1)

        def update(key, state, batch):
            if memory == 20:
                raise RuntimeError("no twenty")
            return learner.update(key, state, batch)

        return learner._replace(update=update)

    def bare(num_classes):
        return networks.mlp(num_classes)._replace(gate_sizes=(), gate_params=None, kernels=(), layer_inputs=None)

    def no_argument():
        return networks.mlp(2)

    def no_model(num_classes):
        pass

    def broken_model(num_classes):
        model = networks.mlp(num_classes)

        def apply(params, x, gates=None):
            raise ValueError("in a trace")

        return model._replace(apply=apply)
"""
