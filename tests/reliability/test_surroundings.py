"""What a user's surroundings set costs no results: encodings, closed outputs, settings of matplotlib, no home."""

import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
from typing import Any

import matplotlib
import numpy as np
import pytest
from running import run_train, users_environment

from experiments import train
from experiments.process import backend, console
from experiments.reporting import drawing, pictures

ROOT = pathlib.Path(train.__file__).parents[1]
TINY = ("--packaged_mnist", "--smoke", "--num_tasks=2", "--samples_per_task=20", "--num_seeds=1")


def test_neither_results_nor_bits_depend_on_the_surroundings(tmp_path: pathlib.Path) -> None:
    """All of them at once, and a seed beside others where it was alone: a failure says in which part."""
    plain, hostile = tmp_path / "plain", tmp_path / "of [1] 100% grün #?"
    arguments = [*TINY, "--learner=la_maml", "--set=inner_steps=1", "--eval=needed"]
    beside = [*arguments, "--num_seeds=3"]  # two of which share a device
    subprocess.run(
        [sys.executable, "-m", "experiments.train", *arguments, f"--workdir={plain}"],
        cwd=ROOT,
        env=users_environment(),
        capture_output=True,
        check=True,
    )
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: nonsense\n")
    environment = {
        "PATH": os.environ["PATH"],
        "XDG_CACHE_HOME": str(tmp_path / "matplotlibrc" / "below_a_file"),
        "MPLCONFIGDIR": str(tmp_path),
        "MPLBACKEND": "nonsense",
        "PYTHONIOENCODING": "ascii",
        **dict.fromkeys(("TQDM_FILE", "TQDM_NCOLS", "TQDM_MININTERVAL", "TQDM_ASCII"), "nonsense"),
        "TQDM_BAR_FORMAT": "{nonsense}",
        "JAX_TRANSFER_GUARD": "disallow",
        "JAX_NUMPY_RANK_PROMOTION": "raise",
        "JAX_NUMPY_DTYPE_PROMOTION": "strict",
        **dict.fromkeys(("JAX_DISABLE_JIT", "JAX_DEBUG_NANS", "JAX_DEBUG_KEY_REUSE"), "1"),
        "COLUMNS": "nonsense",
        "TMPDIR": str(tmp_path / "nowhere"),
    }
    on_one_core = """
import os, runpy, sys
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
    script = str(ROOT / "experiments" / "train.py")
    done = subprocess.run(
        [sys.executable, "-P", "-c", on_one_core, script, *beside, f"--workdir={hostile.name}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"| La-MAML | " in done.stdout and b"\xc2" not in done.stdout
    assert {path.name for path in plain.iterdir()} == {path.name for path in hostile.iterdir()}
    expected, found = np.load(plain / "results.npz"), np.load(hostile / "results.npz")
    assert found["seeds"].tolist() == [0, 1, 2]
    assert expected["layer_names"].tolist() == found["layer_names"].tolist()
    for name in set(expected) - {"layer_names"}:
        np.testing.assert_array_equal(expected[name], found[name][:1], err_msg=name)


@pytest.mark.parametrize(
    "scripts", [["tune.py"], ["presets", "storage_table.py", "collect.py"], ["demo.py"]]
)
def test_scripts_are_found_from_any_folder(scripts: list[str], tmp_path: pathlib.Path) -> None:
    """As `python experiments/tune.py` starts them, in one process as far as they share no flags."""
    code = """
import os, runpy, sys
plain = list(sys.path)
for script in sys.argv[1:]:
    for name in [n for n in sys.modules if n.partition(".")[0] == "experiments" and "train" not in n]:
        del sys.modules[name]
    sys.path[:] = [os.path.dirname(script), *plain]
    path = os.path.join(script, "__main__.py") if os.path.isdir(script) else script
    runpy.run_path(path, run_name="script")
"""
    paths = [str(ROOT / "experiments" / script) for script in scripts]
    command = [sys.executable, "-P", "-c", code, *paths]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


# Where output goes.


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii", "cp437"])
def test_letters_that_cannot_be_encoded_are_replaced(
    encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.BytesIO()
    prepare_with(monkeypatch, stdout=io.TextIOWrapper(output, encoding))
    print("RA – 1 ± 2")
    sys.stdout.flush()
    printed = output.getvalue().decode(encoding)
    assert printed.startswith("RA ") and printed.endswith(" 2\n") and len(printed) == 11


@pytest.mark.parametrize("which", ["stdout", "stderr"])
@pytest.mark.parametrize("kind", ["closed", "broken", "full"])
def test_an_output_may_end_before_the_run(
    kind: str, which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = io.StringIO()
    with contextlib.ExitStack() as stack:
        stream = None if kind == "closed" else stack.enter_context(ending(kind))
        prepare_with(monkeypatch, **{"stdout": others, "stderr": others, which: stream})
        for _ in range(2):
            print("RA – 1 ± 2", file=getattr(sys, which), flush=True)
        getattr(sys, which).close()
    assert ("No space left" in others.getvalue()) is (kind == "full" and which == "stdout")


def ending(kind: str) -> Any:
    if kind == "full":
        return open("/dev/full", "w", encoding="utf-8")
    reader, writer = os.pipe()
    os.close(reader)
    return os.fdopen(writer, "w", encoding="utf-8")


def prepare_with(monkeypatch: pytest.MonkeyPatch, **streams: Any) -> None:
    monkeypatch.setenv("MPLBACKEND", "nonsense")  # which is put back at the end
    for name, stream in streams.items():
        monkeypatch.setattr(sys, name, stream)
    console.prepare()
    assert os.environ["MPLBACKEND"] == "agg"


# Pictures and tables.


def test_seeds_that_all_diverged_are_tabled(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_train(*TINY, "--learner=online,er", "--set=lr=1e30", f"--workdir={tmp_path}")
    output = capsys.readouterr()
    assert "| Online (seed 0 diverged) | – |" in output.out
    assert "| ER (seed 0 diverged) | – |" in output.out
    assert "warning" not in output.err and "Pictures" not in output.out


def test_pictures_that_fail_cost_a_warning_and_are_drawn_the_next_time(
    tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (*TINY, "--learner=online,er", f"--workdir={tmp_path}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "Figure", None)
        run_train(*arguments)
    output = capsys.readouterr()
    assert output.err.count(".png is not drawn: ") == 5
    assert "| Online | " in output.out and "Pictures" not in output.out
    assert json.loads((tmp_path / "er" / "summary.json").read_text())["diverged_seeds"] == []
    assert list(tmp_path.rglob("*.png*")) == []
    (tmp_path / "er" / "of_others.png").touch()
    run_train(*arguments)
    output = capsys.readouterr()
    assert "warning" not in output.err and "of_others" not in output.out
    assert len(list(tmp_path.rglob("*.png"))) == 1 + output.out.count(".png") == 6


@pytest.mark.parametrize(
    "settings", [{"text.usetex": True}, {"figure.dpi": 20, "font.family": "fantasy"}]
)
def test_pictures_are_in_a_style_of_their_own(
    settings: dict[str, Any], tmp_path: pathlib.Path
) -> None:
    accuracy = np.random.default_rng(0).uniform(size=(2, 3, 2))
    results = {"accuracy": accuracy, "diverged": np.zeros(2, bool)}
    plain = pictures.draw_run(tmp_path / "plain", results, "title")
    with matplotlib.rc_context(settings):
        styled = pictures.draw_run(tmp_path / "styled", results, "title")
    for expected, found in zip(plain, styled, strict=True):
        assert expected.read_bytes() == found.read_bytes()


@pytest.mark.parametrize("name", ["comparison.png", "accuracy_matrix.png"])
def test_a_picture_of_others_stays(
    name: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / name
    theirs.write_bytes(b"\x89PNG precious")
    results = {"accuracy": np.zeros((1, 2, 1)), "diverged": np.zeros(1, bool)}
    np.savez(tmp_path / "results.npz", **results)
    summary = {"learner": "er", "benchmark": "mnist_rotations", "standard_stream": False}

    def draw() -> list[str]:
        drawn = pictures.draw_run(tmp_path, results, "title")
        drawn += pictures.draw_comparison(tmp_path, [tmp_path], [summary])
        return [path.name for path in drawn]

    ours = ["accuracy_matrix.png", "task_accuracy.png", "comparison.png"]
    assert draw() == [other for other in ours if other != name]
    assert f"{theirs} is not drawn: it is a picture of others" in capsys.readouterr().err
    assert theirs.read_bytes() == b"\x89PNG precious"
    theirs.unlink()
    for _ in range(2):
        assert draw() == ours
    assert capsys.readouterr().err == ""


# Where compiled programs are kept, and on how many cores.


@pytest.mark.parametrize("given", ["absolute", "relative", "", None, "below a file"])
@pytest.mark.parametrize("home", [True, False])
def test_programs_are_kept_where_something_can_be_written(
    given: str | None, home: bool, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_home() -> pathlib.Path:
        raise RuntimeError("Could not determine home directory.")

    (tmp_path / "file").touch()
    monkeypatch.setattr(pathlib.Path, "home", (lambda: tmp_path / "home") if home else no_home)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    values = {"absolute": str(tmp_path / "cache"), "below a file": str(tmp_path / "file" / "cache")}
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", values.get(given, given))
    expected = tmp_path / "home" / ".cache" / "lamaml_jax" if home else None
    expected = {"absolute": tmp_path / "cache" / "lamaml_jax", "below a file": None}.get(
        given or "", expected
    )
    assert backend._cache_folder() == expected
    assert expected is None or expected.is_dir()


@pytest.mark.parametrize(("cores", "seeds", "devices"), [(1, 1, 2), (1, None, 2), (8, 5, 5)])
def test_one_core_is_two_devices(
    cores: int, seeds: int | None, devices: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: dict[str, Any] = {}
    monkeypatch.setattr(backend, "_num_cores", lambda: cores)
    monkeypatch.setattr(backend.jax.config, "update", settings.__setitem__)
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "of the user")
    backend.configure("mnist_rotations", seeds)
    assert settings["jax_num_cpu_devices"] == devices
    assert "jax_compilation_cache_dir" not in settings
    assert settings["jax_transfer_guard"] == "allow" and settings["jax_disable_jit"] is False


def test_a_home_is_only_asked_for_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    assert console.path("workdir", "~/runs") == pathlib.Path("/home/someone/runs")
    monkeypatch.setenv("HOME", "")
    assert console.path("workdir", "runs/~") == pathlib.Path("runs/~")
    with pytest.raises(ValueError, match="workdir is '~nobody-of-this-name/x'; it must be a path"):
        console.path("workdir", "~nobody-of-this-name/x")
