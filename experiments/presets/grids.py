"""What `experiments.tune` chooses from: at most eight settings per learner, the same for every benchmark."""

import itertools
from typing import Any

MAX_POINTS = 8
"""As many as any learner may have."""


def _product(**axes: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]


GRIDS: dict[str, list[dict[str, Any]]] = {
    "la_er": _product(lr_init=(0.01, 0.03, 0.1, 0.3), lr_lr=(0.03, 0.1)),
    "agem": _product(lr=(0.003, 0.01, 0.03, 0.1), replay_batch=(10, 50)),
    "bgd": _product(mean_eta=(0.3, 1.0, 3.0, 10.0), std_init=(0.02, 0.05)),
    "meta_bgd": [
        {"mean_eta": eta, "std_init": std, "inner_lr": inner_lr}
        for eta, std in ((5.0, 0.05), (10.0, 0.05), (20.0, 0.02), (50.0, 0.02))
        for inner_lr in (0.03, 0.1)
    ],
    "ucb": _product(lr=(0.1, 0.2, 0.3, 0.5), kl_weight=(0.0, 0.02)),
    "hat": _product(lr=(0.05, 0.1), sparsity=(0.75, 1.5)),
    "icarl": _product(
        lr=(0.03, 0.1), memory_strength=(0.3, 1.0), features=("penultimate", "logits")
    ),
    "online": _product(lr=(0.01, 0.03, 0.1, 0.3)),
    "ewc": _product(lr=(0.03, 0.1), penalty=(1.0, 10.0, 100.0, 1000.0)),
    "iid": _product(lr=(0.003, 0.01, 0.03, 0.1, 0.3, 1.0)),
}
