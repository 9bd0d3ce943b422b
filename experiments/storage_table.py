"""Print what every learner keeps beyond the network's weights on MNIST Rotations, as a Markdown table.

    python -m experiments.storage_table [FILE]

Also writes it to FILE as CSV.
"""

import argparse
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
from experiments.reporting import tables
from experiments.reporting.summary import title_of
from experiments.runs.config import Config
from experiments.runs.making import make_config
from lamaml_jax import Batch, storage

BENCHMARK = "mnist_rotations"


def main(arguments: list[str]) -> None:
    """Print the table, and write it where the arguments say."""
    parser = argparse.ArgumentParser(
        "experiments.storage_table",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("FILE", nargs="?", help="where to write it as CSV")
    path = parser.parse_args(arguments).FILE
    found = table()
    print(tables.markdown(found))
    if path is not None:
        tables.write(console.path("FILE", path), found)


def table() -> list[list[str]]:
    """Measure each learner that has a preset; those that need task ids with a head per task."""
    rows = [["learner", "needs", "replay KB", "per parameter KB", "other KB"]]
    labels = jnp.zeros(presets.BATCH_SIZE, jnp.int32)
    example = Batch(jnp.zeros((presets.BATCH_SIZE, 784)), labels, task=labels, valid=labels == 0)
    for name in presets.names(BENCHMARK, "single"):
        config = _config(name, "shared")
        if config.lacks_task_ids():
            config = _config(name, "per_task")
        setting = config.setting()
        learner = config.build(setting, {n: jnp.float32(v) for n, v in config.floats().items()})
        sizes = storage.measure(learner, config.model(setting.num_classes), example)
        needs = ", ".join(sorted(learner.needs)) or "–"
        rows.append([title_of(name), needs, *(f"{size / 1000:.0f}" for size in sizes[1:])])
    return rows


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
        main(sys.argv[1:])
