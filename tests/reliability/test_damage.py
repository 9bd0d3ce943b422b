"""Flipped bytes and files cut short: what is read is what was written, or one sentence; no run is lost."""

import io
import pathlib
import shutil
import tracemalloc
import zipfile
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import tensorflow_datasets as tfds
from helpers import assert_same_bits
from idx_archives import noise, write_archives
from running import Stopped, run_script, run_train, stop_after

from experiments import sweep, verify
from experiments.runs import descriptions, workdirs
from experiments.runs.making import make_config
from lamaml_jax.datasets import DatasetError, ImageDataset, checksum, load
from lamaml_jax.files import read_npz

TINY = (
    *("--learner=la_er", "--packaged_mnist", "--num_seeds=1"),
    *("--num_tasks=2", "--samples_per_task=20", "--eval=needed"),
)


def damages(whole: bytes, places: Iterator[int] | range) -> Iterator[bytes]:
    """Yield the content with single bits and a whole byte flipped at places, and cut short there."""
    for place in places:
        for flip in (1, 255):
            damaged = bytearray(whole)
            damaged[place] ^= flip
            yield bytes(damaged)
        yield whole[:place]


def refused(read: Callable[[], bool], error: type[Exception]) -> bool:
    """Check that what is read is the same, unless it is refused; return whether it is."""
    try:
        assert read(), "something else was read"
    except error as sentence:
        assert "\n" not in str(sentence)
        return True
    return False


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run that nothing befell."""
    workdir = tmp_path_factory.mktemp("whole")
    run_train(*TINY, f"--workdir={workdir}")
    return workdir


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_are_read_as_they_were_written_or_not_at_all(
    save: Callable[..., None], tmp_path: pathlib.Path
) -> None:
    """A state, a cache and results: at every byte."""
    path = tmp_path / "arrays.npz"
    arrays = {"accuracy": np.arange(12, dtype=np.float32), "names": np.array(["ab", "cd"])}
    save(path, **arrays)

    def read() -> bool:
        found = read_npz(path)
        same = (found[n].dtype == a.dtype and (found[n] == a).all() for n, a in arrays.items())
        return set(found) == set(arrays) and all(same)

    assert read()
    number, content = 0, path.read_bytes()
    for damaged in damages(content, range(len(content))):
        path.write_bytes(damaged)
        number += refused(read, ValueError)
    assert number > 1.5 * len(content)  # dates and the like are read by nobody


@pytest.mark.parametrize(
    ("packing", "megabytes", "message"),
    [
        (zipfile.ZIP_DEFLATED, 300, r"[0-9]+ bytes that unpack to more than 268435456"),
        (zipfile.ZIP_LZMA, 1, "packed as NumPy does not"),
    ],
)
def test_a_small_file_is_not_unpacked_without_bound(
    packing: int, megabytes: int, message: str, tmp_path: pathlib.Path
) -> None:
    path, header = tmp_path / "arrays.npz", io.BytesIO()
    size = megabytes * 2**20
    kind = {"descr": "|u1", "fortran_order": False, "shape": (size,)}
    np.lib.format.write_array_header_1_0(header, kind)
    with (
        zipfile.ZipFile(path, "w", packing, compresslevel=1) as archive,
        archive.open("zeros.npy", "w") as member,
    ):
        for content in (header.getvalue(), *[bytes(2**20)] * megabytes):
            member.write(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"^{path} is damaged \({message}\)$"):
            read_npz(path)
        assert tracemalloc.get_traced_memory()[1] < 2**23
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("offline")
def test_prepared_images_are_read_as_they_were_or_not_at_all(tmp_path: pathlib.Path) -> None:
    expected = noise("mnist")
    write_archives(tmp_path / "manual", expected, ".gz")
    load("mnist", tmp_path)
    folder, rng = tmp_path / "mnist" / "3.0.1", np.random.default_rng(0)
    (folder / "decoded.npz").unlink()

    def read() -> bool:
        try:
            return checksum(load("mnist", tmp_path)) == checksum(expected)
        finally:
            (folder / "decoded.npz").unlink(missing_ok=True)

    for path in [folder / "dataset_info.json", *folder.glob("*-train.*")]:
        content = path.read_bytes()
        end = len(content.rstrip(b"\0"))
        places = iter(rng.integers(0, end, 8).tolist())
        tried = [_tried(path, damaged, read) for damaged in damages(content, places)]
        assert len(tried) == 24 and any(tried)
        path.write_bytes(content)
    assert read()


def _tried(path: pathlib.Path, damaged: bytes, read: Callable[[], bool]) -> bool:
    path.write_bytes(damaged)
    return refused(read, DatasetError)


@pytest.mark.parametrize("damage", ["cut", "flipped", "removed"])
@pytest.mark.parametrize("name", descriptions.NAMES)
def test_a_runs_description_outlives_damage(
    name: str,
    damage: str,
    tmp_path: pathlib.Path,
    mnist: ImageDataset,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = make_config(
        benchmark="mnist_rotations",
        learner="online",
        assignments=[],
        seeds=(0,),
        stream={},
        network={},
    )
    workdirs.claim(tmp_path, config, mnist)
    path = tmp_path / name
    before = path.read_bytes()
    if damage == "cut":
        path.write_bytes(before[:100])
    elif damage == "flipped":
        path.write_bytes(before.replace(b'"online"', b'"onlinf"'))
    else:
        path.unlink()
    assert not path.exists() or path.read_bytes() != before
    workdirs.claim(tmp_path, config, mnist)
    told = f"warning: {path} is damaged, and written anew." in capsys.readouterr().err
    assert told == (damage != "removed")
    assert path.read_bytes() == before


def test_a_run_goes_on_where_its_files_are_damaged(
    whole: pathlib.Path,
    tmp_path: pathlib.Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its descriptions, its last state and its lines of metrics, which are neither missing then nor there twice."""
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_after(2, patch)
        run_train(*TINY, f"--workdir={tmp_path}")
    for name in ("config.json", "state/2", "state/learner.json"):
        path = tmp_path / name
        path.write_bytes(path.read_bytes()[:100])
    lines = (tmp_path / "metrics.jsonl").read_bytes()
    (tmp_path / "metrics.jsonl").write_bytes(lines + lines[:30])
    with pytest.warns(UserWarning, match="state/2 is damaged .*; the state before it, .* is taken"):
        run_train(*TINY, f"--workdir={tmp_path}")
    described = tmp_path / "state" / "learner.json"
    assert f"warning: {described} is damaged, and written anew." in capsys.readouterr().err
    assert described.read_bytes() == (whole / "state" / "learner.json").read_bytes()
    results = [workdirs.read_results(folder) for folder in (tmp_path, whole)]
    assert_same_bits(*results)
    assert (tmp_path / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()
    assert verify._differing(tmp_path, whole) == []
    (tmp_path / "metrics.jsonl").write_bytes(lines + lines[:30])
    assert verify._differing(tmp_path, whole) == ["metrics.jsonl"], "damage of a finished run"


def test_a_changed_description_of_the_learner_is_written_anew(
    whole: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(whole, tmp_path / "run")
    for name in ("summary.json", "results.npz"):
        (tmp_path / "run" / name).unlink()
    path = tmp_path / "run" / "state" / "learner.json"
    before = path.read_bytes()
    path.write_bytes(before.replace(b'"eval": "needed"', b'"eval": "nedeed"'))
    assert path.read_bytes() != before
    run_train(*TINY, f"--workdir={path.parents[1]}")
    assert path.read_bytes() == before
    assert f"warning: {path} is damaged, and written anew." in capsys.readouterr().err


@pytest.mark.parametrize("content", ["{", "[]", "\0"])
def test_a_damaged_sweep_is_described_anew(
    content: str, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sweep.json").write_text(content)
    arguments = (*TINY, "--grid=lr_lr=0.1,0.2", f"--workdir={tmp_path}")
    with pytest.raises(SystemExit):
        run_script(sweep, *arguments)
    error = capsys.readouterr().err
    assert f"{tmp_path / 'sweep.json'} is damaged; remove it, and the same command" in error


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Show no progress of preparing."""
    tfds.disable_progress_bar()
    yield
    tfds.enable_progress_bar()
