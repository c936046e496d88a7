"""Many processes in one folder: what is written aside, what a kill leaves, who may run there."""

import json
import os
import pathlib
import platform
import signal
import time

import child
import pytest

from keras_resnet.support import files, locks

RECIPES = pathlib.Path(__file__).parents[2] / "recipes"


def _starts(folder, worker, rounds):
    """One worker's starts: `make_workdir` in the folder of each round, as number 1 of its container."""
    os.getpid = lambda: 1
    from keras_resnet.commands import run

    run.define(model="x", steps=1, batch_size=1)
    failed = []
    pathlib.Path(folder, f"ready{worker}").touch()
    for number in range(rounds):
        wait_for(lambda number=number: pathlib.Path(folder, f"go{number}").exists())
        run.FLAGS(["x", f"--workdir={folder}/run{number}"])
        try:
            run.make_workdir(chief=worker == 0)
        except Exception as error:
            failed.append(f"{type(error).__name__}: {error}")
        pathlib.Path(folder, f"done{number}.{worker}").touch()
    print(json.dumps(failed))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.0005)


def test_forty_starts_of_four_workers_that_are_all_process_1(tmp_path):
    starts, workers = 40, range(4)
    children = [
        child.Child(tmp_path / f"logs{i}", _starts, str(tmp_path), i, starts) for i in workers
    ]
    wait_for(lambda: all((tmp_path / f"ready{i}").exists() for i in workers))
    for number in range(starts):
        (tmp_path / f"go{number}").touch()
        wait_for(lambda n=number: all((tmp_path / f"done{n}.{i}").exists() for i in workers))
    for each in children:
        assert each.wait().code == 0, each.err
        assert json.loads(each.out) == []
    for number in range(starts):
        assert [p.name for p in (tmp_path / f"run{number}").iterdir()] == [".lock"]


def _hang(folder, name):
    """Writes half a file there and waits to be killed."""
    with files.aside(pathlib.Path(folder, name)) as part:
        part.write_text("half")
        pathlib.Path(folder, "ready").touch()
        time.sleep(60)


@pytest.fixture
def writing(tmp_path):
    """A process that is writing to the folder given with it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    writer = child.Child(tmp_path / "logs", _hang, str(folder), "x.txt")
    wait_for((folder / "ready").exists)
    (folder / "ready").unlink()
    yield writer, folder
    writer.process.kill()
    writer.wait()


def test_what_is_being_written_stays_and_what_a_kill_left_goes(writing):
    writer, folder = writing
    files.write(folder / "y.txt", "whole")
    [part] = folder.glob(".*.part")
    assert (part / "x.txt").read_text() == "half"
    os.kill(writer.process.pid, signal.SIGKILL)
    writer.wait()
    assert part.exists()
    files.write(folder / "y.txt", "again")
    assert [p.name for p in folder.iterdir()] == ["y.txt"]


def test_what_another_machine_left_goes_after_a_day(writing, monkeypatch):
    writer, folder = writing
    [part] = folder.glob(".*.part")
    os.kill(writer.process.pid, signal.SIGKILL)
    writer.wait()
    monkeypatch.setattr(files, "_machine", lambda: "0" * 12)
    files.write(folder / "y.txt", "whole")
    assert part.exists()
    before = time.time() - 25 * 3600
    for path in (*part.iterdir(), part):
        os.utime(path, (before, before))
    os.utime(part / "x.txt")  # it goes on
    files.write(folder / "y.txt", "whole")
    assert part.exists()
    os.utime(part / "x.txt", (before, before))
    files.write(folder / "y.txt", "whole")
    assert [p.name for p in folder.iterdir()] == ["y.txt"]


def test_folders_that_are_not_ours_stay(tmp_path):
    for name in (".12.part", ".mine.part", "0123456789ab-0123456789abcdef.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").touch()
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / ".writing").touch()
    (tmp_path / f".{'0' * 12}-{'0' * 16}.part").symlink_to(kept)
    os.utime(kept, (0, 0))
    os.utime(kept / ".writing", (0, 0))
    before = sorted(tmp_path.rglob("*"))
    files.write(tmp_path / "x", "")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, tmp_path / "x"])


# --- one run at a time


def _hold(folder):
    locks.hold(folder)
    pathlib.Path(folder, "ready").touch()
    time.sleep(60)


def _held(folder):
    try:
        locks.hold(folder)
    except OSError as error:
        print(error)


@pytest.fixture
def running(tmp_path):
    """A process that holds the folder given with it."""
    folder = tmp_path / "run"
    folder.mkdir()
    first = child.Child(tmp_path / "first", _hold, str(folder))
    wait_for((folder / "ready").exists)
    yield first, folder
    first.process.kill()
    first.wait()


def test_the_second_run_is_refused_and_a_killed_one_stops_nobody(running, tmp_path):
    first, folder = running
    (tmp_path / "link").symlink_to(folder)
    said = child.Child(tmp_path / "second", _held, str(tmp_path / "link")).wait()
    since = time.strftime("%Y-%m-%d", time.gmtime())
    assert said.out.startswith(
        f"{folder} is in use by process {first.process.pid} on {platform.node()}, since {since} "
    ), said.err
    assert said.out.endswith(" UTC: wait until that has ended, or name another folder.\n")
    os.kill(first.process.pid, signal.SIGKILL)
    first.wait()
    again = child.Child(tmp_path / "third", _held, str(folder)).wait()
    assert (again.code, again.out) == (0, ""), again.err


def test_a_run_may_hold_its_folder_twice_and_a_bucket_is_not_locked(tmp_path, monkeypatch, caplog):
    locks.hold(tmp_path)
    locks.hold(f"{tmp_path}/../{tmp_path.name}")
    locks.hold("gs://nobody/there")
    assert json.loads((tmp_path / ".lock").read_text())["process"] == os.getpid()
    assert caplog.text == ""
    monkeypatch.setattr(files, "lock", lambda descriptor: None)
    (tmp_path / "other").mkdir()
    locks.hold(tmp_path / "other")
    assert "other cannot be locked, its file system has no locks" in caplog.text


@pytest.mark.parametrize("recipe", ["cifar10", "imagenet"])
def test_recipes_refuse_a_folder_in_use(running, tmp_path, recipe):
    _, folder = running
    flags = {
        "cifar10": ["--data=digits"],
        "imagenet": ["--data=fake", "--batch_size=4"],
    }[recipe]
    second = child.Child(
        tmp_path / "logs",
        child.run_recipe,
        *flags,
        f"--workdir={folder}",
        recipe=RECIPES / f"{recipe}.py",
    ).wait()
    assert second.code == 2
    assert second.out == ""
    assert second.err.startswith(f"{recipe}.py: {folder} is in use by process ")
    assert [p.name for p in folder.iterdir()] == [".lock", "ready"]
