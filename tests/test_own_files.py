"""What a user wrote, through the scripts: streams, learners and networks named as FILE.py:FUNCTION."""

import json
import pathlib
import textwrap

import numpy as np
import pytest
from running import run_script, run_train

from experiments import report, sweep
from experiments.runs import workdirs

pytestmark = pytest.mark.usefixtures("quick_compile")

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

    def plain(*, size: int = 20):
        x = np.random.default_rng(0).normal(size=(size, 2))
        y = (x[:, 0] > 0).astype(int)
        return streams.from_arrays([(x, y)] * 2, [(x, y)] * 2)

    def sequence():
        x, y = np.zeros((4, 2)), np.arange(4) % 2
        return streams.from_arrays([(x, y)] * 2, [(x, y)] * 2, sequence=[(0, 0), (1, 0)])
"""
METHOD = """
    from lamaml_jax import networks, online

    def slow(model, setting, *, lr: float = 0.2, steps: int = 1):
        return online(model, setting, lr=lr / steps)

    def linear(num_classes, *, scale: float = 1.0):
        return networks.mlp(num_classes, hidden=())
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_stream.py").write_text(textwrap.dedent(STREAM))
    (folder / "my_method.py").write_text(textwrap.dedent(METHOD))
    (folder / "broken.py").write_text("import no_such_module")
    return {name: str(folder / name) for name in ("my_stream.py", "my_method.py", "broken.py")}


@pytest.fixture(scope="module")
def run(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    workdir = tmp_path_factory.mktemp("run")
    run_train(
        f"--benchmark={files['my_stream.py']}:make",
        f"--learner={files['my_method.py']}:slow,er",
        f"--network={files['my_method.py']}:linear",
        *("--set=spread=0.3", "--set=steps=2", "--num_tasks=2", "--num_seeds=2"),
        f"--workdir={workdir}",
    )
    return workdir


def test_a_users_stream_learner_and_network_are_run_beside_ours(run: pathlib.Path) -> None:
    assert {path.name for path in run.iterdir() if path.is_dir()} == {"slow", "er"}
    found = json.loads((run / "slow" / "config.json").read_text())
    settings = found["settings"]
    assert settings["keywords"] == {"steps": 2, "lr": 0.2}
    assert settings["stream"]["spread"] == 0.3 and settings["stream"]["num_tasks"] == 2
    assert settings["network"] == {"scale": 1.0}
    assert len(found["files"]) == 3 and all(len(digest) == 64 for digest in found["files"].values())
    for learner in ("slow", "er"):
        results = workdirs.read_results(run / learner)
        assert results["accuracy"].shape == (2, 3, 2) and results["accuracy"][:, -1].mean() > 0.8
        assert results["loss"].shape == (2, 2, 5) and np.isnan(results["loss"][:, 0, 3:]).all()


def test_a_report_calls_them_by_their_functions(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run_script(report, str(run), f"--out={tmp_path / 'page.html'}")
    page = (tmp_path / "page.html").read_text()
    assert ">slow<" in page and ">ER<" in page


def test_a_sweep_reads_their_signatures(files: dict[str, str], tmp_path: pathlib.Path) -> None:
    run_script(
        sweep,
        f"--benchmark={files['my_stream.py']}:make",
        f"--learner={files['my_method.py']}:slow",
        *("--grid=lr=0.0,0.1", "--grid=epochs=1,2", "--num_seeds=2", "--set=spread=0.3"),
        f"--workdir={tmp_path}",
    )
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["point"]["lr"] == "0.1"
    assert len(list((tmp_path / "units").iterdir())) == 2  # epochs shape the program, rates do not


def test_a_stream_without_validation_data_is_swept_on_test_data_knowingly(
    files: dict[str, str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        *(f"--benchmark={files['my_stream.py']}:plain", "--learner=online", "--num_seeds=2"),
        *("--grid=lr=0.0,0.1", f"--workdir={tmp_path / 'sweep'}"),
    )
    with pytest.raises(SystemExit):
        run_script(sweep, *arguments)
    said = capsys.readouterr().err
    assert "Give plain a keyword eval_split that it passes on to streams.from_arrays" in said
    assert "or pass --eval_split=test" in said and not (tmp_path / "sweep").exists()
    with pytest.raises(SystemExit):
        run_script(sweep, *arguments, "--eval_split=test", "--report_best")
    assert "validation must choose" in capsys.readouterr().err
    run_script(sweep, *arguments, "--eval_split=test")
    assert "2 seeds, test data" in capsys.readouterr().out
    assert json.loads((tmp_path / "sweep" / "best.json").read_text())["point"]["lr"] == "0.1"
    run_script(report, str(tmp_path), f"--out={tmp_path / 'page.html'}")
    assert "RA in percent on test data" in (tmp_path / "page.html").read_text()


def test_a_changed_file_is_another_run(files: dict[str, str], tmp_path: pathlib.Path) -> None:
    own = tmp_path / "my_method.py"
    own.write_text(textwrap.dedent(METHOD))
    arguments = (
        *("--packaged_mnist", "--smoke", f"--learner={own}:slow", "--samples_per_task=20"),
        f"--workdir={tmp_path / 'run'}",
    )
    run_train(*arguments)
    own.write_text(textwrap.dedent(METHOD) + "# another")
    with pytest.raises(SystemExit):
        run_train(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark=no.py:make"], "benchmark is 'no.py:make'; there is no file 'no.py'"),
        (
            ["--benchmark={my_stream.py}:mke"],
            "'mke' is not a function of my_stream.py; did you mean",
        ),
        (["--benchmark={broken.py}:make"], "broken.py cannot be imported: ModuleNotFoundError"),
        (
            ["--benchmark={my_stream.py}:nothing"],
            "which returns a list; it must return a Benchmark",
        ),
        (
            ["--benchmark={my_stream.py}:sequence"],
            "scripts take streams of classes whose tasks come",
        ),
        (
            ["--benchmark={my_stream.py}:make", "--set=spred=1"],
            "'spred' is not a setting of .*spread",
        ),
        (["--benchmark={my_stream.py}:make", "--classes_per_task=2"], "has no classes_per_task"),
        (["--benchmark={my_stream.py}:make", "--packaged_mnist"], "has data of its own"),
        (["--benchmark={my_stream.py}:make", "--dataset=mnist"], "dataset is 'mnist'; .* has data"),
        (["--benchmark={my_stream.py}:make", "--data_dir=."], "has no data_dir"),
        (
            ["--packaged_mnist", "--learner={my_method.py}:fast"],
            "'fast' is not a function of my_method",
        ),
        (["--packaged_mnist", "--network=cnn"], "'cnn' is not a network; did you mean convnet"),
        (["--packaged_mnist", "--dataset=emnist"], "'emnist' is not a dataset of mnist_rotations"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    arguments: list[str],
    message: str,
    files: dict[str, str],
    tmp_path: pathlib.Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import re

    for name, path in files.items():
        arguments = [argument.replace(f"{{{name}}}", path) for argument in arguments]
    with pytest.raises(SystemExit):
        run_train(*arguments, f"--workdir={tmp_path / 'run'}")
    error = capsys.readouterr().err
    assert re.search(message, error) and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
