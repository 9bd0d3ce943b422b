"""The small scripts: presets that build, tables that print, measurements that count right."""

import dataclasses
import json
import pathlib
from typing import Any

import pytest

from benchmarks import throughput
from experiments import collect, presets, storage_table
from experiments.config import Config, make_config

ALL = [
    (benchmark, learner) for benchmark in presets.PRESETS for learner in presets.PRESETS[benchmark]
]


def preset(benchmark: str, learner: str, **changes: Any) -> Config:
    settings: dict[str, Any] = {
        **{"protocol": "single", "semantics": "released", "assignments": [], "seeds": (0,)},
        **{"num_tasks": None, "samples_per_task": None, "interpolation": "bilinear"},
        **{"heads": "per_task", "eval": "all", "eval_split": "test"},
    }
    return make_config(benchmark=benchmark, learner=learner, **{**settings, **changes})


@pytest.mark.parametrize(("benchmark", "learner"), ALL)
@pytest.mark.parametrize("semantics", ["released", "paper"])
def test_every_preset_builds(benchmark: str, learner: str, semantics: str) -> None:
    # HAT alone takes longer to build for a hundred heads; three show the same.
    config = preset(benchmark, learner, semantics=semantics, num_tasks=3)
    assert config.needs() <= {"task_id", "task_data", "mixed_stream"}
    for name, value in presets.keywords(benchmark, learner, semantics, "single").items():
        assert config.keywords[name] == value


def test_multi_pass_takes_one_glance() -> None:
    assert preset("mnist_rotations", "la_maml", protocol="multi").keywords["glances"] == 1


def test_presets_are_listed_with_command_and_result(capsys: pytest.CaptureFixture[str]) -> None:
    presets.main()
    printed = capsys.readouterr().out
    for benchmark, learner in ALL:
        assert presets.command(benchmark, learner) in printed
    assert "RA 76.92, BTI -8.86" in printed


def test_example_gradients_are_counted_by_hand() -> None:
    counts = {"la_maml": 5 * (10 + 10 * 20), "er": 10 * 11, "mer": 10 * 5 * 11, "online": 10}
    for learner, count in counts.items():
        assert throughput.gradients_per_batch(preset("mnist_rotations", learner), 9) == count


def test_storage_is_tabled_for_every_learner(capsys: pytest.CaptureFixture[str]) -> None:
    storage_table.main()
    printed = capsys.readouterr().out
    assert printed.count("\n") == 2 + len(presets.PRESETS["mnist_rotations"])
    assert "| La-MAML | – | 629 | 358 | 0 |" in printed


def test_only_runs_of_a_preset_are_collected(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match="holds no finished run"):
        collect.main([str(tmp_path)])
    before = presets.MEASURED_RESULTS.read_bytes()
    settings = dataclasses.asdict(preset("mnist_rotations", "er", num_tasks=3))
    (tmp_path / "config.json").write_text(json.dumps({"settings": settings}))
    (tmp_path / "summary.json").write_text(json.dumps({"data": "mnist_subset"}))
    with pytest.raises(SystemExit, match="differs in seeds, num_tasks, data"):
        collect.main([str(tmp_path)])
    assert presets.MEASURED_RESULTS.read_bytes() == before
