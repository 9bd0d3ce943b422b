"""Print what every learner keeps beyond the network's weights on MNIST Rotations, as a Markdown table."""

import jax.numpy as jnp
import numpy as np

from experiments import presets, report
from experiments.config import BATCH_SIZE
from lamaml_jax import LEARNERS, Batch, Setting, networks
from lamaml_jax.storage import storage

NUM_TASKS, BENCHMARK = 20, "mnist_rotations"


def main() -> None:
    """Measure each learner that has a preset; those that need task ids with a head per task."""
    print(
        "| learner | needs | replay KB | per parameter KB | other KB |\n| --- | --- | --- | --- | --- |"
    )
    labels = jnp.zeros(BATCH_SIZE, jnp.int32)
    example = Batch(jnp.zeros((BATCH_SIZE, 784)), labels, task=labels, valid=labels == 0)
    for name in presets.PRESETS[BENCHMARK]:
        keywords = presets.keywords(BENCHMARK, name, "released", "single")
        for num_heads in (1, NUM_TASKS):
            model, setting = networks.mlp(10 * num_heads), _setting(num_heads)
            learner = LEARNERS[name](model, setting, **keywords)
            if "task_id" not in learner.needs:
                break
        sizes = storage(learner, model, example)
        cells = (f"{size / 1000:.0f}" for size in sizes[1:])
        print(
            f"| {report.TITLES[name]} | {', '.join(sorted(learner.needs)) or '–'} | {' | '.join(cells)} |"
        )


def _setting(num_heads: int) -> Setting:
    heads = np.kron(np.eye(num_heads), np.ones((1, 10))) > 0
    mask = np.broadcast_to(heads, (NUM_TASKS, 10 * num_heads))
    return Setting(NUM_TASKS, 10 * num_heads, mask, BATCH_SIZE, batches_per_epoch=100)


if __name__ == "__main__":
    main()
