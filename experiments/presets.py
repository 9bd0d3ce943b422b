"""The settings that give the paper's numbers, for every learner on every benchmark.

`python -m experiments.presets` prints each preset with its command, run time and result, as measured.
"""

import csv
import pathlib
from typing import Any

from experiments.mnist_presets import MNIST
from experiments.preset import Preset, Protocol, Semantics
from experiments.split_presets import SPLIT

MEASURED_RESULTS = pathlib.Path(__file__).parent / "measured_results.csv"
"""What the presets give, as `experiments.collect` gathered it from finished runs."""

PRESETS: dict[str, dict[str, Preset]] = MNIST | SPLIT
"""By benchmark and learner."""


def keywords(
    benchmark: str, learner: str, semantics: Semantics, protocol: Protocol
) -> dict[str, Any]:
    """Return the learner's keywords; in the multi-pass protocol every batch gets one glance per epoch."""
    preset = _preset(benchmark, learner)
    values = dict(preset.keywords)
    if semantics == "paper":
        values |= preset.paper
    if protocol == "multi":
        values |= {"glances": 1} if "glances" in values else {}
        values |= preset.multi or {}
    return values


def stream(benchmark: str, learner: str, protocol: Protocol) -> dict[str, Any]:
    """Return what the preset sets of the benchmark's factory."""
    preset = _preset(benchmark, learner)
    return {**preset.stream, **(preset.multi_stream if protocol == "multi" else {})}


def network(benchmark: str, learner: str) -> dict[str, Any]:
    """Return what the preset sets of the network."""
    return dict(_preset(benchmark, learner).network)


def names(benchmark: str, protocol: Protocol) -> list[str]:
    """Return the learners that have a preset."""
    return [n for n, p in PRESETS[benchmark].items() if protocol == "single" or p.multi is not None]


def require(benchmark: str, learner: str, protocol: Protocol) -> None:
    """Check that there is a preset.

    Raises:
        ValueError: There is none of this learner on this benchmark in this protocol.
    """
    known = names(benchmark, protocol)
    if learner not in known:
        raise ValueError(
            f"learner is {learner!r}; on {benchmark} ({protocol} pass) there are presets for {', '.join(known)}."
        )


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


def _preset(benchmark: str, learner: str) -> Preset:
    """Return the preset, or an empty one of a learner whose settings are still to be chosen."""
    return PRESETS[benchmark].get(learner, Preset({}))


def main() -> None:
    """Print every preset, with what was measured with it in any protocol and with any heads."""
    with MEASURED_RESULTS.open() as file:
        rows = list(csv.DictReader(file))
    for benchmark, learners in PRESETS.items():
        for learner, preset in learners.items():
            print(command(benchmark, learner))
            print("  " + ", ".join(f"{name}={value}" for name, value in preset.keywords.items()))
            for row in rows:
                if (row["benchmark"], row["learner"]) == (benchmark, learner):
                    print(f"  {_result(row)}")


def _result(row: dict[str, str]) -> str:
    took = f"took {row['minutes']} minutes on 2 CPU cores; " if row["minutes"] else ""
    bti = f", BTI {row['bti_mean']}" if row["bti_mean"] else ""
    diverged = f" (diverged: {row['diverged_seeds']})" if row["diverged_seeds"] else ""
    return (
        f"{row['protocol']} pass, heads {row['heads']}, {row['num_seeds']} seeds{diverged}: "
        f"{took}RA {row['ra_mean']}{bti}"
    )


if __name__ == "__main__":
    main()
