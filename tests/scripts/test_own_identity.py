"""Users' files with what they import and read: how it is found, and that other code or data make another run."""

import json
import pathlib
import sys
import textwrap

import numpy as np
import pytest
from running import Stopped, run_train, stop_after

from experiments.runs import config, users, workdirs

pytestmark = pytest.mark.usefixtures("quick_compile")

FILES = {
    "stream.py": """
        import pathlib
        import numpy as np
        from lamaml_jax import streams

        def make():
            with np.load(pathlib.Path(__file__).parent / "data.npz") as data:
                tasks = [(data["x"], data["y"])] * 2
            return streams.from_arrays(tasks, tasks)
    """,
    "network.py": """
        import numpy
        import parts_of_network.layers as layers
        from lamaml_jax import networks

        def make(num_classes):
            from sizes_of_network import HIDDEN
            return networks.mlp(num_classes, hidden=HIDDEN, initializer=layers.INIT)
    """,
    "sizes_of_network.py": "HIDDEN = (8,)",
    "parts_of_network/__init__.py": "",
    "parts_of_network/layers.py": "from . import initial\nfrom .initial import INIT",
    "parts_of_network/initial.py": "INIT = 'kaiming'",
    "unused.py": "",
}


@pytest.fixture
def own(tmp_path: pathlib.Path) -> pathlib.Path:
    """A folder of a user's files, new to this process, and of what they read."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(textwrap.dedent(text))
    write_data(tmp_path)
    return tmp_path


def write_data(folder: pathlib.Path, *, of: str = "") -> None:
    """Write a user's data, with other inputs or labels than before."""
    x = np.random.default_rng(of == "x").normal(size=(20, 3)).astype(np.float32)
    np.savez(folder / "data.npz", x=x, y=np.arange(20) % 2 ^ (of == "y"))


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """Return in which sentence a run is refused."""
    make_anew()
    with pytest.raises(SystemExit):
        run_train(*flags)
    error = capsys.readouterr().err
    return error[error.rindex("error: ") :]


def make_anew() -> None:
    """Have users' benchmarks made anew, as in another process."""
    config._made_by_user.cache_clear()


@pytest.mark.parametrize("of", ["x", "y"])
@pytest.mark.parametrize("is_finished", [True, False])
def test_a_run_on_other_data_is_another(
    is_finished: bool,
    of: str,
    own: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = own / "run"
    flags = (
        *(f"--benchmark={own / 'stream.py'}:make", "--learner=online", "--num_seeds=1"),
        f"--workdir={folder}",
    )
    make_anew()
    if is_finished:
        run_train(*flags)
    else:
        with monkeypatch.context() as patch, pytest.raises(Stopped):
            stop_after(1, patch)
            run_train(*flags)
    write_data(own, of=of)
    assert "holds a run that differs in data;" in refused(capsys, *flags)
    write_data(own)
    make_anew()
    run_train(*flags)


@pytest.mark.parametrize("name", ["sha256_data", "sha256_transforms", "sha256_network"])
def test_what_learner_json_tells_apart_is_refused_and_no_damage(
    name: str,
    own: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As where code or data have changed that config.json does not know of."""
    flags = (
        *(f"--benchmark={own / 'stream.py'}:make", "--learner=online", "--num_seeds=1"),
        f"--workdir={own / 'run'}",
    )
    make_anew()
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(1, patch)
        run_train(*flags)
    path = own / "run" / "state" / "learner.json"
    workdirs.write_json(path, json.loads(path.read_bytes()) | {name: "0"})
    before = path.read_bytes()
    assert f"whose runs differ in {name};" in refused(capsys, *flags)
    assert path.read_bytes() == before


def test_a_function_finds_modules_beside_its_file(tmp_path: pathlib.Path) -> None:
    """Which hide none that are found without."""
    (tmp_path / "late.py").write_text("def f():\n    import beside\n    return beside.A\n")
    (tmp_path / "beside.py").write_text("A = 1")
    assert users.find("learner", f"{tmp_path / 'late.py'}:f", ())() == 1
    assert sys.path[-1] == str(tmp_path.resolve()) and sys.path.count(sys.path[-1]) == 1


def test_what_a_file_imports_from_beside_it_is_part_of_a_run(
    own: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (
        *(f"--benchmark={own / 'stream.py'}:make", f"--network={own / 'network.py'}:make"),
        *("--learner=online", "--num_seeds=1", f"--workdir={own / 'run'}"),
    )
    make_anew()
    run_train(*flags)
    described = workdirs.read_description(own / "run")["files"]
    imported = [name for name in FILES if "parts" in name or "sizes" in name]
    functions = [f"{own / name}:make" for name in ("stream.py", "network.py")]
    assert set(described) == {*functions, *(str(own / name) for name in imported)}
    (own / "unused.py").write_text("A = 1")
    run_train(*flags)
    for name in imported:
        (own / name).write_text(FILES[name] + "\n# another")
        assert f"differs in {own / name} (" in refused(capsys, *flags)
        (own / name).write_text(FILES[name])
    run_train(*flags)
