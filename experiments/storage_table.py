"""Print what every learner keeps beyond the network's weights on MNIST Rotations, as a Markdown table."""

import pathlib
import sys

sys.path.insert(
    0, str(pathlib.Path(__file__).parents[1])
)  # for `python experiments/storage_table.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

import jax.numpy as jnp

from experiments import presets
from experiments.process import console
from experiments.reporting.summary import title_of
from experiments.runs.config import Config
from experiments.runs.making import BATCH_SIZE, make_config
from lamaml_jax import Batch, storage

BENCHMARK = "mnist_rotations"


def main() -> None:
    """Measure each learner that has a preset; those that need task ids with a head per task."""
    print(
        "| learner | needs | replay KB | per parameter KB | other KB |\n| --- | --- | --- | --- | --- |"
    )
    labels = jnp.zeros(BATCH_SIZE, jnp.int32)
    example = Batch(jnp.zeros((BATCH_SIZE, 784)), labels, task=labels, valid=labels == 0)
    for name in presets.names(BENCHMARK, "single"):
        config = _config(name, "shared")
        if config.lacks_task_ids():
            config = _config(name, "per_task")
        setting = config.setting()
        learner = config.build(setting, {n: jnp.float32(v) for n, v in config.floats().items()})
        sizes = storage.measure(learner, config.model(setting.num_classes), example)
        cells = (f"{size / 1000:.0f}" for size in sizes[1:])
        print(
            f"| {title_of(name)} | {', '.join(sorted(learner.needs)) or '–'} | {' | '.join(cells)} |"
        )


def _config(learner: str, heads: str) -> Config:
    return make_config(
        benchmark=BENCHMARK,
        learner=learner,
        assignments=[],
        seeds=(0,),
        stream={"heads": heads},
        network={},
    )


if __name__ == "__main__":
    console.prepare()
    with console.plain_errors():
        main()
