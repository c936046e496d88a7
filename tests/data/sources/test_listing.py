"""One listing for everything that looks for pictures, over trees and archives as people have them."""

import contextlib
import io
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import zipfile
import zlib

import pytest
from spoiled import spoil

from keras_resnet import data
from keras_resnet.data.sources import listing

from ..conftest import encode, picture, write_folder

ROOT = pathlib.Path(__file__).parents[3]
PNG = encode(picture(0), "png")
GOOD = [
    "album.jpg/1.png",
    "album.jpg/deep/er/4.PNG",
    "cat/2.png",
    "cat/caf\udce9.png",
    "dog/3.jpeg",
]


@pytest.fixture
def nasty(tmp_path):
    """Five pictures, and whatever else lies in people's folders."""
    root = tmp_path / "pictures"
    for name in GOOD:
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        pathlib.Path(path).write_bytes(PNG)
    hidden = ["__MACOSX/cat/._2.png", "cat/._2.png", "cat/.DS_Store", "cat/Thumbs.db", ".git/x.png"]
    hidden += ["cat/@eaDir/2.png", "lost+found/5.png", "cat/desktop.ini"]
    write_folder(root, {**dict.fromkeys(hidden, PNG), "read.me": b"x"})
    for name, target in {
        "cat/up": "..", "dog/up": "..", "dog/up2": "../..", "dog/round": "round", "dog/2.png": "../cat/2.png",
        "again": "cat", "dog/gone.png": "nowhere.png", "dog/endless.png": "/dev/zero",
    }.items():  # fmt: skip
        (root / name).symlink_to(target)
    os.link(root / "cat/2.png", root / "dog/hard.png")
    os.mkfifo(root / "cat/pipe.png")
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as plug:
        plug.bind(str(root / "cat/plug.png"))
    return root


def trained_on(root):
    source = data.load(str(root), on_bad="skip")
    return list(source.train.pictures.names)


def predicted(root):
    pytest.importorskip("apache_beam")
    from keras_resnet.serving import beam

    return [item.name.removeprefix(f"{root}/") for item in beam.items_of(str(root))]


def predicted_by_pattern(root):
    pytest.importorskip("apache_beam")
    from keras_resnet.serving import beam

    items = beam.items_of(f"{root}/**/*.[jJpP]*[gG]")
    return [item.name.removeprefix(f"{root}/") for item in items]


def by_command(folder, text, root):
    """Listed by a command's own function, in a process of its own: flags are defined once a process."""
    done = subprocess.run(
        [sys.executable, "-c", text, root], capture_output=True, check=False, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / folder}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    sys.stderr.write(done.stderr)
    return [
        listing.printable(os.path.relpath(os.fsdecode(bytes.fromhex(line)), root))
        for line in done.stdout.split()
    ]


def explained(root):
    return by_command(
        "recipes",
        "import os, sys; from keras_resnet.commands import picture_files\n"
        "for path in picture_files.found(sys.argv[1])[0]: print(os.fsencode(path).hex())",
        root,
    )


def sent(root):
    return by_command(
        "savedmodels",
        "import client, os, sys\n"
        "for path in client.pictures_of(sys.argv[1:]): print(os.fsencode(path).hex())",
        root,
    )


@pytest.mark.parametrize("listed", [trained_on, predicted, predicted_by_pattern, explained, sent])
def test_everything_lists_the_same_pictures(nasty, listed, capfd, caplog):
    assert listed(nasty) == [listing.printable(name) for name in GOOD]
    told = capfd.readouterr().err + caplog.text
    for part in ("pipe.png", "plug.png", "gone.png", "endless.png", "again", "lost+found"):
        assert part in told, part


def test_what_is_left_out_has_its_reason(nasty):
    found = listing.folder(nasty)
    assert found.pictures() == GOOD and "read.me" in found.files
    assert found.bad == {
        "cat/pipe.png": "a pipe, not a regular file",
        "cat/plug.png": "a socket, not a regular file",
        "dog/endless.png": "a device, not a regular file",
        "dog/gone.png": "cannot be read: No such file or directory",
        "dog/round": "cannot be read: Too many levels of symbolic links",
    }
    twice = {"again", "cat/up", "dog/up", "dog/up2", "dog/2.png", "dog/hard.png"}
    assert found.passed.keys() == twice | {"lost+found"}
    assert "and 3 more (is there already under another name)" in found.remarks()


def test_real_names_come_before_links(tmp_path):
    (tmp_path / "a").symlink_to("z")
    write_folder(tmp_path / "z", {"1.png": PNG})
    assert listing.folder(tmp_path).files == ["z/1.png"]


def test_links_lead_out_of_the_folder_once(tmp_path):
    write_folder(tmp_path / "store", {"1.png": PNG, "2.png": PNG})
    (tmp_path / "store/back").symlink_to(tmp_path / "data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data/0.png").symlink_to("../store/1.png")
    (tmp_path / "data/x").symlink_to("../store")
    (tmp_path / "data/y").symlink_to("../store")
    found = listing.folder(tmp_path / "data")
    assert found.files == ["0.png", "x/2.png"]
    assert found.passed.keys() == {"x/1.png", "x/back", "y"}


@pytest.mark.parametrize("where", ["lost+found", "cat/inner"])
def test_a_folder_without_permission_is_passed_over_and_said(tmp_path, monkeypatch, where, caplog):
    """Tests may run as root, who may read all, so that the refusal is made here."""
    write_folder(tmp_path, {"cat/1.png": PNG, "dog/2.png": PNG, f"{where}/3.png": PNG})
    scandir = os.scandir

    def refusing(path):
        if os.fspath(path).endswith(where):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    source = data.load(str(tmp_path))
    assert len(source.train) == 2
    assert where in caplog.text
    reason = ("cat/inner: cannot be read: Permission denied",)
    assert source.train.bad == (() if where == "lost+found" else reason)


def test_inodes_that_are_made_up_lose_no_file(tmp_path, monkeypatch):
    """Where a network's disk gives two files one inode; that neither has a second name shows that they are two."""
    write_folder(tmp_path, {"1.png": PNG, "2.png": PNG})
    scandir = os.scandir

    class Entry:
        def __init__(self, entry):
            self._entry = entry

        def __getattr__(self, name):
            return getattr(self._entry, name)

        def inode(self):
            return 7

    @contextlib.contextmanager
    def alike(path):
        with scandir(path) as entries:
            yield [Entry(entry) for entry in entries]

    monkeypatch.setattr(
        os,
        "scandir",
        lambda path: (
            alike(path) if sys._getframe(1).f_code.co_name == "_descend" else scandir(path)
        ),
    )
    assert listing.folder(tmp_path).files == ["1.png", "2.png"]


# --- reading


def test_regular_files_of_a_bounded_size_are_read(nasty, tmp_path):
    assert listing.read(nasty / "cat/2.png") == PNG
    for name, reason in (
        ("cat/pipe.png", "a pipe"),
        ("dog/endless.png", "a device"),
        ("dog", "a folder"),
    ):
        with pytest.raises(ValueError, match=f"^{reason}, not a regular file$"):
            listing.read(nasty / name)
    with open(tmp_path / "zeros.png", "wb") as file:
        file.truncate(2_500_000_000)
    with pytest.raises(
        ValueError, match="2,500,000,000 bytes, more than the 268,435,456 that are read"
    ):
        listing.read(tmp_path / "zeros.png")
    with pytest.raises(FileNotFoundError):
        listing.read(tmp_path / "none")


def limited(text, *arguments):
    """Runs a Python text with 600 MB of memory."""
    text = "import resource; resource.setrlimit(resource.RLIMIT_AS, (600 << 20,) * 2)\n" + text
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("stated", [2_500_000_000, 1000])
def test_a_member_of_zeros_is_refused_in_bounded_memory(tmp_path, stated):
    """By its header; or by what comes out of it, 2.5 GB, where the header says 1,000 bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    content = block * 2500 + zlib.compressobj(9, zlib.DEFLATED, -15).flush()
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w") as archive:
        info = zipfile.ZipInfo("a/1.png")
        archive.writestr(info, content)
        info.compress_type, info.file_size = (
            zipfile.ZIP_DEFLATED,
            stated,
        )  # as the directory will say
    said = limited(
        "import sys; from keras_resnet.data.sources import listing\n"
        "with listing.Archive(sys.argv[1]) as archive:\n"
        "    try: print(len(archive.read('a/1.png')))\n"
        "    except Exception as error: print(type(error).__name__, error)",
        tmp_path / "bomb.zip",
    )
    if stated == 1000:
        assert "Bad CRC" in said
    else:
        assert said == (
            "ValueError 2,500,000,000 bytes, more than the 268,435,456 that are read of a picture\n"
        )


# --- archives


def zipped(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, content_of in files:
            archive.writestr(name, content_of)
    return content


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_have_the_names_that_unpacking_gives():
    link = zipfile.ZipInfo("a/link.png")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    files = [
        ("train\\cat\\1.png", b"1"), ("train//2.png", b"2"), ("./train/./3.png", b"3"), ("/train/4.png", b"4"),
        ("a/5.png", b"old"), ("a/5.png", b"new"), ("../out.png", b"6"), ("a/../../7.png", b"7"),
        ("__MACOSX/a/._5.png", b"8"), ("a/.hidden.png", b"9"), ("empty/", b""), ("./", b""), (link, b"5.png"),
        ("a/back\\slash.png", b"10"),
    ]  # fmt: skip
    with listing.Archive(zipped(files)) as archive:
        found = archive.listing
        assert {name: archive.read(name) for name in found.files} == {
            "train/cat/1.png": b"1", "train/2.png": b"2", "train/3.png": b"3", "train/4.png": b"4",
            "a/5.png": b"new", "a/back\\slash.png": b"10",
        }  # fmt: skip
        assert found.folders == ["empty"]
        assert found.bad == {
            "../out.png": "leads out of the archive",
            "a/../../7.png": "leads out of the archive",
            "a/link.png": "a link, not a regular file",
        }
        assert found.passed == {"a/5.png": "comes more than once; the last one counts"}
        with pytest.raises(FileNotFoundError):
            archive.read("none.png")


def test_names_of_members_are_utf8_where_they_can_be():
    """macOS writes UTF-8 without saying so, older programs bytes of their code page."""
    content = zipped([("cafX/1.png", b"1"), ("mokXX/2.png", b"2")]).getvalue()
    content = content.replace(b"cafX", b"caf\xe9").replace(b"mokXX", "moké".encode())
    with listing.Archive(io.BytesIO(content)) as archive:
        assert sorted(map(archive.read, archive.listing.files)) == [b"1", b"2"]
        assert "moké/2.png" in archive.listing.files
        assert all(map(listing.is_text, archive.listing.files))
    flagged = bytearray(
        zipped([("café/1.png", b"1")]).getvalue().replace("é".encode(), b"\xe9\xe9")
    )
    with pytest.raises(ValueError, match="a member's name is not the UTF-8 that it states"):
        listing.Archive(io.BytesIO(flagged))


def test_an_archive_that_is_none_is_one_sentence(tmp_path):
    os.mkfifo(tmp_path / "pipe.zip")
    (tmp_path / "text.zip").write_text("hello")
    for name, clause in (
        ("pipe.zip", "^is a pipe, not a regular file$"),
        ("text.zip", "^is no readable zip archive"),
    ):
        with pytest.raises(ValueError, match=clause):
            listing.Archive(tmp_path / name)


def test_members_that_cannot_be_read_are_bad_pictures(tmp_path):
    """Encrypted, of an unknown method, broken inside: each has its reason, and the others stay."""
    names = [f"{c}/{i}.png" for c in "ab" for i in range(3)]
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, PNG)
    spoil(tmp_path / "x.zip")
    train = data.arrays(data.load(str(tmp_path / "x.zip")).train)
    assert len(train) == 3
    reasons = dict(line.split(": cannot be read: ") for line in train.bad)
    assert reasons.keys() == {f"x.zip/{name}" for name in names[:3]}
    assert "encrypted" in reasons["x.zip/a/0.png"]
    assert "method 77" in reasons["x.zip/a/1.png"]


# --- what it needs


def test_the_client_needs_nothing_heavy(tmp_path):
    """Beside the package, and copied without it."""
    for name in (
        "savedmodels/client.py",
        "keras_resnet/data/sources/listing.py",
        "keras_resnet/serving/remote.py",
    ):
        shutil.copy(ROOT / name, tmp_path)
    heavy = {"keras", "tensorflow", "numpy", "PIL", "requests", "etils"}
    for path, package in ((ROOT / "savedmodels", True), (tmp_path, False)):
        done = subprocess.run(
            [sys.executable, "-c", f"""
import sys
sys.path.insert(0, {str(path)!r})
if not {package}: sys.modules['keras_resnet'] = None
import client
print(sorted({heavy} & set(sys.modules)), client.listing.__file__, client.remote.__file__)"""],
            capture_output=True, text=True, check=False, cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        files = ("data/sources/listing.py", "serving/remote.py")
        there = [
            ROOT / "keras_resnet" / name if package else tmp_path / name.rpartition("/")[2]
            for name in files
        ]
        assert done.stdout == f"[] {there[0]} {there[1]}\n"


def test_names_are_shown_as_one_line_of_text():
    assert listing.printable("plain name.png") == "plain name.png"
    assert listing.printable("日本 café.png") == "日本 café.png"
    assert listing.printable("caf\udce9.png") == r"caf\xe9.png"
    assert listing.printable("a\nb\x1b[0m") == r"a\x0ab\x1b[0m"
    assert listing.is_text("日本") and not listing.is_text("caf\udce9")
    assert listing.some("abcde") == "a, b, c and 2 more"
