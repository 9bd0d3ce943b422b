"""A small setting of the analyses, and how their pictures are compared."""

from matplotlib.figure import Figure

from experiments.runs.config import Config
from experiments.runs.making import make_config

TINY = (
    "--packaged_mnist",
    "--num_tasks=3",
    "--samples_per_task=20",
    "--set=glances=1",
    "--set=hidden=8",
)


def config(learner: str, *assignments: str, num_tasks: int = 3) -> Config:
    return make_config(
        benchmark="mnist_rotations",
        learner=learner,
        assignments=list(assignments),
        seeds=(0, 1),
        stream={"num_tasks": num_tasks, "samples_per_task": 20},
        network={},
    )


def colors(figure: Figure, label: str) -> set[object]:
    lines = [line for line in figure.axes[0].lines if line.get_label() == label]
    return {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
