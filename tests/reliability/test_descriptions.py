"""What is read of a run's description: what was written, and the defaults of settings that came after the run."""

import dataclasses
import json
import pathlib

import pytest
from collecting import described, preset

from experiments.runs import catalogue, finished, identity, workdirs
from lamaml_jax import LEARNERS
from lamaml_jax.datasets import ImageDataset


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_description_is_read_as_it_was_written(learner: str, tmp_path: pathlib.Path) -> None:
    settings = dataclasses.asdict(preset("mnist_rotations", learner, 0, heads="per_task"))
    (tmp_path / "config.json").write_text(described(settings))
    read = finished.read(tmp_path)
    assert json.dumps(dataclasses.asdict(read)) == json.dumps(settings)
    assert read.runs()


@pytest.mark.parametrize(
    ("part", "name"), [("keywords", "lr"), ("stream", "interpolation"), ("network", "precision")]
)
def test_a_run_from_before_a_setting_has_its_default(
    part: str, name: str, mnist: ImageDataset, tmp_path: pathlib.Path
) -> None:
    config = preset("mnist_rotations", "online", 0)
    with_default = dataclasses.replace(config, keywords=catalogue.defaults(LEARNERS["online"]))
    found = identity.describe(with_default, mnist)
    del found["settings"][part][name]
    (tmp_path / "config.json").write_text(json.dumps(found))
    workdirs.check(tmp_path, with_default, mnist)
    found["settings"][part][name] = "another"
    (tmp_path / "config.json").write_text(json.dumps(found))
    with pytest.raises(ValueError, match=f"{name} \\(another, now "):
        workdirs.check(tmp_path, with_default, mnist)
