"""Print every preset with its command, run time and result, as measured."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))  # for `python experiments/presets`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from experiments import presets
from experiments.process import console


def main() -> None:
    """Print every preset, with what was measured with it in any protocol and with any heads."""
    rows = presets.read_table(presets.MEASURED_RESULTS)
    for benchmark, learners in presets.PRESETS.items():
        for learner, preset in learners.items():
            print(command(benchmark, learner))
            print("  " + ", ".join(f"{name}={value}" for name, value in preset.keywords.items()))
            for row in rows:
                if (row["benchmark"], row["learner"]) == (benchmark, learner):
                    print(f"  {_result(row)}")


def command(benchmark: str, learner: str) -> str:
    """Return the command that runs a preset; on MNIST, HAT's and iCaRL's are for heads per task and ten epochs."""
    mnist = benchmark.startswith("mnist")
    options = [
        *(
            ["--heads=per_task", "--protocol=multi"]
            if mnist and learner in ("hat", "icarl")
            else []
        ),
        f"--num_seeds={5 if mnist else 3}",
    ]
    return (
        f"python -m experiments.train --benchmark={benchmark} --learner={learner} {' '.join(options)} "
        f"--data_dir=DATA --workdir=runs/{benchmark}/{learner}"
    )


def _result(row: dict[str, str]) -> str:
    took = f"took {row['minutes']} minutes on 2 CPU cores; " if row["minutes"] else ""
    bti = f", BTI {row['bti_mean']}" if row["bti_mean"] else ""
    diverged = f" (diverged: {row['diverged_seeds']})" if row["diverged_seeds"] else ""
    return (
        f"{row['protocol']} pass, heads {row['heads']}, {row['num_seeds']} seeds{diverged}: "
        f"{took}RA {row['ra_mean']}{bti}"
    )


if __name__ == "__main__":
    console.prepare()
    with console.plain_errors():
        main()
