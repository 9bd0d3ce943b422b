"""What a user wrote, through the scripts: streams, learners and networks named as FILE.py:FUNCTION."""

import json
import pathlib
import re
import textwrap

import numpy as np
import pytest
from own_files import METHOD, STREAM
from running import run_script, run_train

from experiments import evaluate, presets, report, sweep
from experiments.runs import workdirs

pytestmark = pytest.mark.usefixtures("quick_compile")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_stream.py").write_text(textwrap.dedent(STREAM))
    (folder / "my_method.py").write_text(textwrap.dedent(METHOD))
    (folder / "broken.py").write_text("import no_such_module")
    (folder / "undefined.py").write_text("def f():\n    return undefined\n\n\nf()\n")
    (folder / "unparsed.py").write_text("a = 1\ndef f(:\n")
    return {path.name: str(path) for path in folder.iterdir()}


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


def test_all_stands_beside_a_users_learner_but_for_what_cannot_learn_a_users_network(
    files: dict[str, str],
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = {name: presets.PRESETS["mnist_rotations"][name] for name in ("hat", "fs_dgpm", "online")}
    monkeypatch.setitem(presets.PRESETS, "mnist_rotations", few)
    network = f"--network={files['my_method.py']}:bare"
    common = ("--packaged_mnist", "--smoke", "--num_tasks=1", network)
    run_train("--learner=all," + files["my_method.py"] + ":slow", *common, f"--workdir={tmp_path}")

    printed = capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"slow", "online"}
    for learner, lacks in (("hat", "gates"), ("fs_dgpm", "layer inputs")):
        assert f"cannot learn this network: {learner}, as model has no {lacks}; " in printed
    with pytest.raises(SystemExit):
        run_train("--learner=all,hat", *common, f"--workdir={tmp_path}")
    assert capsys.readouterr().err.startswith("error: model has no gates; ")
    del few["online"]
    with pytest.raises(SystemExit):
        run_train("--learner=all", *common, f"--workdir={tmp_path}")
    assert "error: learner is 'all', of which none can run here. " in capsys.readouterr().err


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


@pytest.mark.parametrize("flag", ["data_dir=.", "packaged_mnist"])
def test_a_finished_run_on_data_of_its_own_takes_no_others(
    flag: str, run: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_script(evaluate, str(run / "er"), f"--{flag}")
    named = flag.partition("=")[0]
    assert re.search(f"{named} is given; .*my_stream.py:make has data", capsys.readouterr().err)


def test_a_report_calls_them_by_their_functions(run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run_script(report, str(run), f"--out={tmp_path / 'page.html'}")
    page = (tmp_path / "page.html").read_text()
    assert ">slow<" in page and ">ER<" in page


def test_a_method_may_need_a_setting_and_a_changed_file_is_another_run(
    files: dict[str, str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, folder = tmp_path / "my_method.py", tmp_path / "run"
    own.write_text(textwrap.dedent(METHOD))
    arguments = (
        *(f"--benchmark={files['my_stream.py']}:plain", f"--learner={own}:rateless"),
        *("--set=lr=0.2", "--num_seeds=2", f"--workdir={folder}"),
    )
    run_train(*arguments)
    assert json.loads((folder / "config.json").read_text())["settings"]["keywords"] == {"lr": 0.2}
    run_train(*arguments)  # which has nothing left to do
    own.write_text(textwrap.dedent(METHOD) + "# another")
    with pytest.raises(SystemExit):
        run_train(*arguments)
    assert "my_method.py" in capsys.readouterr().err


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


def test_one_part_of_a_sweep_that_fails_takes_no_other_down(
    files: dict[str, str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    of = f"--benchmark={files['my_stream.py']}:make", f"--learner={files['my_method.py']}:fragile"
    with pytest.raises(SystemExit):
        run_script(sweep, *of, "--grid=memory=20,10", "--num_seeds=1", f"--workdir={tmp_path}")
    assert "no twenty" in capsys.readouterr().err
    assert workdirs.is_finished(tmp_path / "units" / "001")


def test_one_learner_that_fails_takes_no_other_down(
    files: dict[str, str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learners = f"{files['my_method.py']}:fragile,online,{files['my_method.py']}:slow"
    of = f"--benchmark={files['my_stream.py']}:plain", "--set=memory=20", "--num_seeds=1"
    with pytest.raises(SystemExit):
        run_train(*of, f"--learner={learners}", f"--workdir={tmp_path}")
    printed = capsys.readouterr()
    assert "no twenty" in printed.err and "| Online |" in printed.out
    assert workdirs.is_finished(tmp_path / "slow")


def test_a_network_with_a_default_that_is_no_text_goes_on(
    files: dict[str, str], tmp_path: pathlib.Path
) -> None:
    of = (
        f"--benchmark={files['my_stream.py']}:plain",
        f"--network={files['my_method.py']}:activated",
    )
    for _ in range(2):
        run_train(*of, "--learner=online", "--num_seeds=1", f"--workdir={tmp_path}")
    assert json.loads((tmp_path / "config.json").read_text())["settings"]["network"] == {}


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


def test_a_grid_is_over_what_can_be_set(
    files: dict[str, str], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = f"--benchmark={files['my_stream.py']}:settable"
    with pytest.raises(SystemExit):
        run_script(sweep, own, "--learner=online", "--grid=n=2,3", f"--workdir={tmp_path}")
    assert "'n' of settable cannot be set" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--benchmark=no.py:make"], "benchmark is 'no.py:make'; there is no file 'no.py'"),
        (
            ["--benchmark={my_stream.py}:mke"],
            "'mke' is not a function of my_stream.py; did you mean",
        ),
        (["--benchmark={broken.py}:make"], "broken.py, line 1: cannot .* ModuleNotFoundError"),
        (["--benchmark={undefined.py}:make"], "undefined.py, line 2: cannot .*: NameError: name"),
        (["--benchmark={unparsed.py}:make"], r"SyntaxError: .*\(unparsed.py, line 2\)"),
        (["--benchmark={my_stream.py}"], "it must be .*my_stream.py:FUNCTION, a function of the"),
        (["--packaged_mnist", "--learner={my_method.py}"], "must be .*my_method.py:FUNCTION"),
        (["--packaged_mnist", "--network={my_method.py}"], "must be .*my_method.py:FUNCTION"),
        (
            ["--benchmark={my_stream.py}:positional"],
            r"callable as positional\(\), with a default for all else: .*'a'",
        ),
        (["--benchmark={my_stream.py}:unannotated"], "keyword a must be annotated, as in a: int"),
        (["--benchmark={my_stream.py}:broken"], "error: /.*my_stream.py, line [0-9]+: boom"),
        *(
            (
                ["--benchmark={my_stream.py}:settable", f"--set={name}=2"],
                f"'{name}' of settable cannot be set; what can is keyword-only, .* and annotated",
            )
            for name in ("n", "name")
        ),
        (
            ["--packaged_mnist", "--learner={my_method.py}:linear"],
            r"must be callable as linear\(model, setting\), with a default",
        ),
        (
            ["--packaged_mnist", "--learner={my_method.py}:rateless"],
            "lr is not given; rateless has no default for it: pass --set=lr=VALUE",
        ),
        (
            ["--packaged_mnist", "--learner={my_method.py}:raising"],
            "error: /.*my_method.py, line [0-9]+: RuntimeError: no learner",
        ),
        (["--packaged_mnist", "--learner={my_method.py}:nothing"], "it must return a Learner"),
        (
            ["--packaged_mnist", "--network={my_method.py}:no_argument"],
            r"callable as no_argument\(num_classes\), with a default",
        ),
        (
            ["--packaged_mnist", "--network={my_method.py}:no_model"],
            "returns a NoneType; it must return a Model, as networks.mlp does",
        ),
        (
            ["--packaged_mnist", "--network={my_method.py}:broken_model"],
            "my_method.py, line [0-9]+: the model raises ValueError on inputs .*: in a trace",
        ),
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
        (
            ["--benchmark={my_stream.py}:of_both", "--learner=online,er", "--set=lr=0.1"],
            "'lr' is a setting of online and of of_both; rename that of yours",
        ),
        (
            ["--benchmark={my_stream.py}:plain", "--protocol=multi"],
            "protocol is 'multi'; .*my_stream.py:plain has no epochs",
        ),
        (
            ["--benchmark={my_stream.py}:make", "--semantics=paper"],
            "semantics is 'paper'; .*my_stream.py:make has no presets",
        ),
        (["--benchmark={my_stream.py}:make", "--classes_per_task=2"], "has no classes_per_task"),
        (["--benchmark={my_stream.py}:make", "--packaged_mnist"], "has data of its own"),
        (["--benchmark={my_stream.py}:make", "--dataset=mnist"], "dataset is 'mnist'; .* has data"),
        (["--benchmark={my_stream.py}:make", "--data_dir=."], "has no data_dir"),
        (
            ["--packaged_mnist", "--learner={my_method.py}:fast"],
            "'fast' is not a function of my_method",
        ),
        (
            ["--packaged_mnist", "--learner={my_method.py}:make,{my_stream.py}:make"],
            "must be one or more names of learners or functions, different in more than capitals",
        ),
        (["--packaged_mnist", "--learner=er,er"], "learner is 'er,er'; it must be one or more"),
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
    for name, path in files.items():
        arguments = [argument.replace(f"{{{name}}}", path) for argument in arguments]
    with pytest.raises(SystemExit):
        run_train(*arguments, f"--workdir={tmp_path / 'run'}")
    error = capsys.readouterr().err
    assert re.search(message, error) and len(error.strip().splitlines()) == 1
    assert not (tmp_path / "run").exists()
