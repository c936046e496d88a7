"""export.py and check.py as their user runs them: one command, its JSON, its card, its sentences."""

import hashlib
import io
import json
import os
import pathlib
import subprocess
import sys

import child
import keras
import numpy as np
import pytest
from PIL import Image
from telling import network, randomised, smooth

from keras_resnet import applications, weights
from keras_resnet.data import images, views
from keras_resnet.serving import executors
from keras_resnet.weights import tensors

tf = pytest.importorskip("tensorflow")
KIT = pathlib.Path(__file__).parents[2] / "savedmodels"
CLASSES = ("ant", "bee", "cat", "dog", "elk", "fox")


def export(folder, *flags):
    return child.Child(folder, child.run_recipe, *flags, recipe=KIT / "export.py").wait()


def check(*arguments):
    return subprocess.run(
        [sys.executable, str(KIT / "check.py"), *map(str, arguments)],
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Pictures by class in data/, and net.keras, whose contract names the classes."""
    folder = tmp_path_factory.mktemp("check")
    for i, name in enumerate(CLASSES):
        (folder / "data" / name).mkdir(parents=True)
        for k in range(3):
            smooth(10 * i + k, 50 + 10 * k, 44 + 3 * i).save(folder / f"data/{name}/{k}.jpg")
    contract = weights.Contract(
        size=32,
        resize=36,
        class_names=CLASSES,
        source="a test",
        accuracy={"top1": 0.5},
        interpolation="bicubic",
    )
    weights.save(network(len(CLASSES)), folder / "net.keras", contract)
    network(5).save(folder / "5.keras")
    (folder / "labels.txt").write_text("\n".join(f"{c.upper()} x" for c in CLASSES))
    (folder / "reversed.txt").write_text(
        "".join(f"{c}\t{5 - i}\twords\n" for i, c in enumerate(CLASSES))
    )
    (folder / "five.txt").write_text("\n".join(CLASSES[:5]))
    (folder / "latin.txt").write_bytes("café\n".encode("latin-1"))
    (folder / "empty.txt").write_text("\n")
    return folder


@pytest.fixture(scope="module")
def exported(place):
    ended = export(place, f"--weights={place}/net.keras", f"--out={place}/served", "--top=2")
    assert ended.code == 0, ended.err
    return json.loads(ended.out.splitlines()[-1])


# --- export.py


def test_last_line_says_what_was_written(place, exported):
    assert exported["path"] == str(place / "served/1")
    assert (exported["format"], exported["precision"]) == ("savedmodel", "float32")
    written = sum(f.stat().st_size for f in (place / "served/1").rglob("*") if f.is_file())
    assert exported["megabytes"] == pytest.approx(written / 1e6)


def test_card_is_true(place, exported):
    folder = place / "served/1"
    card = json.loads((folder / "card.json").read_text())
    for name, value in card["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == value
    assert {"saved_model.pb", "assets/labels.txt"} <= set(card["sha256"])
    saved = (place / "net.keras").read_bytes()
    assert card["weights"] == {
        "file": "net.keras", "sha256": hashlib.sha256(saved).hexdigest(),
    }  # fmt: skip
    net = network(len(CLASSES))
    assert card["parameters"]["total"] == net.count_params()
    assert 40e6 < card["macs"] < 41e6
    assert card["labels"] == list(CLASSES) and card["accuracy"] == {"top1": 0.5}
    assert (card["input"]["size"], card["input"]["resize"]) == (32, 36)
    assert card["input"]["interpolation"] == "bicubic"
    assert "resize (bicubic, antialiased)" in (folder / "card.md").read_text()
    assert "--top=2" in card["command"]
    text = (folder / "card.md").read_text()
    for words in (
        f"{net.count_params():,}",
        "a test",
        "top1: 0.5",
        card["sha256"]["saved_model.pb"],
    ):
        assert words in text


def test_fewer_than_five_classes_are_all_named_by_default(place, tmp_path):
    """What a first own network has, without a flag; more than there are, asked for, stay a mistake."""
    names = CLASSES[:3]
    contract = weights.Contract(size=32, class_names=names)
    weights.save(network(3), tmp_path / "three.keras", contract)
    given = f"--weights={tmp_path}/three.keras", f"--out={tmp_path}/served"
    ended = export(tmp_path, *given)
    assert ended.code == 0, ended.err
    loaded = tf.saved_model.load(str(tmp_path / "served/1"))
    file = (place / "data/ant/0.jpg").read_bytes()
    found = loaded.signatures["predict_bytes"](image_bytes=tf.constant([file]))
    assert sorted(found["classes"].numpy()[0].tolist()) == [name.encode() for name in names]
    refused = export(tmp_path, *given, "--top=4")
    assert refused.code == 2
    assert "top is 1 to 3, the network's classes; got 4" in refused.err.splitlines()[-1]


@pytest.mark.slow
def test_contract_s_sizes_interpolation_and_names_are_served(place, exported):
    loaded = tf.saved_model.load(exported["path"])
    file = io.BytesIO()
    noise = np.random.default_rng(0).choice([0, 255], (90, 80, 3)).astype(np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    found = loaded.signatures["predict_bytes"](image_bytes=tf.constant([file.getvalue()]))
    kinds = [np.asarray(views.center(32, 36, kind)(noise)) for kind in ("bicubic", "bilinear")]
    wanted, bilinear = np.sort(network(len(CLASSES)).predict_on_batch(np.stack(kinds)))[:, :-3:-1]
    np.testing.assert_allclose(found["scores"].numpy()[0], wanted, rtol=1e-4)
    assert np.abs(wanted - bilinear).max() > 1e-2
    picture = views.center(32, 36, "bicubic")(noise)[None]
    order = np.argsort(-network(len(CLASSES)).predict_on_batch(picture)[0])
    assert found["classes"].numpy()[0].tolist() == [CLASSES[i].encode() for i in order[:2]]


@pytest.mark.slow
@pytest.mark.parametrize(
    "labels, names",
    [("labels.txt", [f"{c.upper()} x" for c in CLASSES]), ("reversed.txt", CLASSES[::-1])],
)
def test_labels_from_a_file(place, tmp_path, labels, names):
    ended = export(
        tmp_path,
        f"--weights={place}/net.keras",
        f"--out={tmp_path}/net",
        f"--labels={place}/{labels}",
    )
    assert ended.code == 0, ended.err
    assert (tmp_path / "net/1/assets/labels.txt").read_text().splitlines() == list(names)


@pytest.mark.slow
def test_tflite_answers_as_the_network(place, tmp_path):
    ended = export(
        tmp_path, f"--weights={place}/net.keras", "--format=tflite", f"--out={tmp_path}/x.tflite"
    )
    assert ended.code == 0, ended.err
    pictures = np.stack([np.asarray(smooth(i, 32, 32)) for i in range(3)]).astype("float32")
    runner = tf.lite.Interpreter(str(tmp_path / "x.tflite")).get_signature_runner()
    wanted = network(len(CLASSES)).predict_on_batch(pictures)
    for part in (slice(0, 1), slice(0, 3)):
        found = runner(pictures=pictures[part])["probabilities"]
        np.testing.assert_allclose(found, wanted[part], rtol=1e-4, atol=1e-6)
    card = json.loads((tmp_path / "x.tflite.card.json").read_text())
    written = (tmp_path / "x.tflite").read_bytes()
    assert card["sha256"] == {"x.tflite": hashlib.sha256(written).hexdigest()}


@pytest.mark.slow
def test_int8_counts_before_and_after(place, tmp_path):
    ended = export(
        tmp_path, f"--weights={place}/net.keras", "--format=tflite", f"--out={tmp_path}/x.tflite",
        "--precision=int8", f"--data={place}/data",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    said = json.loads(ended.out.splitlines()[-1])
    files = sorted((place / "data").glob("*/*.jpg"))
    crops = np.stack([views.center(32, 36)(images.decode(f.read_bytes())) for f in files])
    guesses = network(len(CLASSES)).predict_on_batch(crops).argmax(-1)
    assert said["examples"] == 18
    assert said["right_before"] == (guesses == np.repeat(range(6), 3)).sum()
    assert said["agree"] >= 16
    assert f"{said['right_before']} before, {said['right_after']} after" in ended.err
    assert (tmp_path / "x.tflite").stat().st_size < 4 * network(6).count_params() / 2


def without_onnxruntime(*flags):
    sys.modules["onnxruntime"] = None
    child.run_recipe(*flags, recipe=KIT / "export.py")


@pytest.mark.slow
def test_an_int8_file_that_cannot_be_judged_leaves_nothing(place, tmp_path):
    pytest.importorskip("tf2onnx")
    (tmp_path / "out").mkdir()
    ended = child.Child(
        tmp_path, without_onnxruntime, f"--weights={place}/net.keras", f"--data={place}/data",
        "--format=onnx", "--precision=int8", f"--out={tmp_path}/out/x.onnx",
    ).wait()  # fmt: skip
    assert ended.code == 2 and "ONNX Runtime is not installed" in ended.err
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, preprocessing",
    [
        ("ResNet50", "caffe"),
        ("ResNet18D", "tf"),
        ("ResNet18V2", "torch"),
        ("SEResNet50", "torch"),
        ("ResNeXt50_32x4d", "torch"),
    ],
)
def test_onnx_answers_as_the_network_in_other_executors(name, preprocessing, tmp_path):
    pytest.importorskip("tf2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    openvino = pytest.importorskip("openvino")
    keras.utils.set_random_seed(0)
    model = applications.get(name)(
        input_shape=(64, 64, 3), classes=len(CLASSES), preprocessing=preprocessing
    )
    # As trained as random numbers can be: norms that are not near the identity, classes that differ.
    draw = np.random.default_rng(0)
    for variable in model.weights:
        if variable.path.endswith("moving_variance"):
            variable.assign(draw.uniform(0.5, 1.5, variable.shape))
        elif variable.path.endswith("gamma"):
            variable.assign(draw.uniform(0.2, 0.8, variable.shape))
        elif variable.path.endswith(("moving_mean", "beta")):
            variable.assign(draw.normal(0, 0.1, variable.shape))
    weights.save(model, tmp_path / "net.keras", weights.Contract(class_names=CLASSES))
    ended = export(
        tmp_path, f"--weights={tmp_path}/net.keras", "--format=onnx", f"--out={tmp_path}/x.onnx"
    )
    assert ended.code == 0, ended.err
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(tmp_path / "x.onnx"), "CPU", exact)
    noise = draw.integers(0, 256, (64, 64, 3))
    pictures = np.stack([np.asarray(smooth(0, 64, 64)), noise, 0 * noise]).astype("float32")
    pooled = keras.Model(model.inputs, [model.output, model.get_layer("avg_pool").output])
    wanted = dict(
        zip(("probabilities", "features"), pooled.predict_on_batch(pictures), strict=True)
    )
    assert np.ptp(wanted["features"], 0).max() > 1e-3 * wanted["features"].max()
    for count in (1, 3):
        given = {"pictures": pictures[:count]}
        by_openvino = compiled(given)
        for output, right in wanted.items():
            [by_onnxruntime] = session.run([output], given)
            for found in (by_onnxruntime, by_openvino[output]):
                assert np.abs(found - right[:count]).max() < 1e-4 * np.abs(right).max()


@pytest.mark.slow
def test_openvinos_files_answer_as_the_network(tmp_path):
    openvino = pytest.importorskip("openvino")
    model = network(len(CLASSES))
    weights.save(model, tmp_path / "net.keras", weights.Contract(class_names=CLASSES))
    ended = export(
        tmp_path, f"--weights={tmp_path}/net.keras", "--format=openvino", f"--out={tmp_path}/x.xml"
    )
    assert ended.code == 0, ended.err
    card = json.loads((tmp_path / "x.xml.card.json").read_text())
    assert card["format"] == "openvino" and card["sha256"].keys() == {"x.bin", "x.xml"}
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(tmp_path / "x.xml"), "CPU", exact)
    pictures = np.stack([np.asarray(smooth(i, 32, 32)) for i in range(3)]).astype("float32")
    pooled = keras.Model(model.inputs, [model.output, model.get_layer("avg_pool").output])
    wanted = dict(
        zip(("probabilities", "features"), pooled.predict_on_batch(pictures), strict=True)
    )
    for count in (1, 3):
        found = compiled({"pictures": pictures[:count]})
        for output, right in wanted.items():
            assert np.abs(found[output] - right[:count]).max() < 1e-4 * np.abs(right).max()


MISTAKES = [
    (["--weights="], "--weights is missing"),
    (["--out="], "--out is missing"),
    (["--weights=nowhere.keras"], "nowhere.keras"),
    (["--weights={place}/labels.txt"], "cannot be read as weights"),
    (["--model=ResNet32"], "--model=ResNet32 contradicts"),
    (["--top=7"], "top is 1 to 6, the network's classes; got 7"),
    (["--labels={place}/five.txt"], "has 6 classes, but there are 5 names"),
    (["--labels={place}/latin.txt"], "latin.txt cannot be read as UTF-8 text"),
    (["--labels={place}/empty.txt"], "empty.txt is empty"),
    (["--labels={place}/no.txt"], "no.txt cannot be read"),
    (["--weights={place}/5.keras"], "class_names are missing: the network has 5 classes"),
    (["--out={place}/net.keras"], "net.keras is a file"),
    (["--size=48"], "reads 32x32 pictures, not 48x48"),
    (["--resize=16"], "--size=32 does not fit in a picture whose shorter side is --resize=16"),
    (["--precision=int8"], "--format=savedmodel is written in float32 or bfloat16 or float16"),
    (["--format=onnx"], "--format=onnx writes a .onnx file"),
    (["--format=openvino"], "--format=openvino writes a .xml file"),
    (["--format=tflite", "--out={place}/x.tflite", "--precision=int8"], "needs --data=FOLDER"),
    (["--format=tflite", "--out={place}/x.tflite", "--top=3"], "--top is for SavedModels"),
    (["--format=tflite", "--out={place}/no/x.tflite"], "its folder is not there"),
    (["--data={place}/data"], "--data is for --precision=int8"),
    (["--most_lost=0.1"], "--most_lost is for --precision=int8"),
    (["--fastest"], "--fastest needs --data=FOLDER"),
    (["--fastest", "--data={place}/data", "--format=onnx"], "leave --format out"),
    (["--fastest", "--data={place}/data", "--out={place}/data"], "data is not empty"),
    (["net"], "cannot read net"),
]  # fmt: skip


@pytest.mark.parametrize(
    "given, sentence", MISTAKES, ids=lambda v: v[0] if isinstance(v, list) else ""
)
def test_mistakes_end_in_one_sentence(given, sentence, place, tmp_path):
    right = [f"--weights={place}/net.keras", f"--out={tmp_path}/net"]
    ended = export(tmp_path, *right, *(each.format(place=place) for each in given))
    assert (ended.code, ended.out) == (2, "")
    [line] = ended.err.splitlines()
    assert line.startswith("export.py: ")
    assert sentence in line
    assert not (tmp_path / "net").exists()


@pytest.mark.slow
def test_a_folder_of_timm_s_is_evaluated_exported_and_checked(place, tmp_path):
    """Its config.json alone says how: no flag does."""
    from safetensors.numpy import save_file

    net = randomised(applications.get("ResNet18")(classes=6, input_shape=(32, 32, 3)))
    weights.save_safetensors(net, tmp_path / "bare.safetensors", "timm", None)
    found = tensors.safetensors(tmp_path / "bare.safetensors")
    folder = tmp_path / "timm"
    folder.mkdir()
    save_file({name: found.read(name) for name in found}, folder / "model.safetensors")
    given = {
        "input_size": [3, 32, 32], "crop_pct": 0.89, "interpolation": "bicubic",
        "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225],
    }  # fmt: skip
    config = {"architecture": "resnet18", "pretrained_cfg": given, "label_names": CLASSES}
    (folder / "config.json").write_text(json.dumps(config))
    ended = export(tmp_path, f"--weights={folder}", f"--out={tmp_path}/served")
    assert ended.code == 0, ended.err
    card = json.loads((tmp_path / "served/1/card.json").read_text())
    assert card["network"] == "ResNet18" and card["labels"] == list(CLASSES)
    assert [card["input"][name] for name in ("size", "resize", "interpolation")] == [
        32,
        35,
        "bicubic",
    ]
    done = check(tmp_path / "served", f"--weights={folder}", f"--data={place}/data", "--seconds=0")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["top1_equal"]["predict_bytes"] == 18


@pytest.mark.slow
def test_every_form_is_measured_judged_and_kept_with_a_card(place, tmp_path, monkeypatch):
    """One runtime is hidden: its forms are named as left out, and no file of them is left."""
    (tmp_path / "without").mkdir()
    (tmp_path / "without/onnxruntime.py").write_text("raise ImportError('hidden')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "without"), prepend=os.pathsep)
    out = tmp_path / "net"
    ended = export(
        tmp_path,
        f"--weights={place}/net.keras",
        f"--out={out}",
        f"--data={place}/data",
        "--fastest",
    )
    assert ended.code == 0, ended.err
    final = json.loads(ended.out.splitlines()[-1])
    card = json.loads((out / "card.json").read_text("utf-8"))
    assert all(
        "keras-resnet-he[onnx]" in card["left_out"][f"ONNX Runtime, {p}"]
        for p in ("float32", "int8")
    )
    files = {"card.json", "card.md", "savedmodel"}
    for name, parts in (("float32", ("xml", "tflite")), ("int8", ("xml", "tflite"))):
        files |= {f"{name}.bin"} | {f"{name}.{part}" for part in parts}
        files |= {f"{name}.{part}.card.{kind}" for part in parts for kind in ("json", "md")}
    assert {path.name for path in out.iterdir()} - {"savedmodel-bfloat16"} == files
    model = keras.saving.load_model(place / "net.keras")
    view = views.center(32, 36, "bicubic")
    paths = sorted((place / "data").rglob("*.jpg"))
    pictures = np.stack([view(images.decode(path.read_bytes())) for path in paths])
    wanted = model.predict_on_batch(pictures).argmax(-1)
    targets = [CLASSES.index(path.parent.name) for path in paths]
    for row in card["forms"]:
        assert row["examples"] == 18 and row["right_before"] == (wanted == targets).sum()
        found = executors.load(out / row["path"], 18, row["precision"])(pictures).argmax(-1)
        assert (row["agree"], row["right_after"]) == (
            (found == wanted).sum(),
            (found == targets).sum(),
        )
        assert row["milliseconds"] == pytest.approx(1e3 * np.median(row["seconds"]["one"]))
        assert row["pictures_per_second"] == pytest.approx(32 / np.median(row["seconds"]["many"]))
    rows = {row["form"]: row for row in card["forms"]}
    assert final["recommended"] == card["recommended"]
    taken = rows[card["recommended"]["one"]]
    able = [row for row in card["forms"] if not row["faults"]]
    assert taken["milliseconds"] <= 1.05 * min(row["milliseconds"] for row in able)
    first = (out / "card.md").read_text("utf-8").splitlines()[0]
    assert first.startswith(f"Take `{taken['path']}` ({taken['form']}): ")
    done = check(
        out / taken["path"], f"--weights={place}/net.keras", f"--data={place}/data", "--seconds=0"
    )
    assert done.returncode == 0, done.stderr


# --- check.py


@pytest.mark.slow
def test_export_agrees_with_the_live_network(place, exported):
    done = check(
        place / "served", f"--weights={place}/net.keras", f"--data={place}/data", "--seconds=0"
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["examples"] == 18
    assert said["largest_difference"] < 1e-4
    assert said["top1_equal"] == {"serving_default": 18, "predict_bytes": 18}


@pytest.mark.slow
@pytest.mark.parametrize(
    "format, ending", [("onnx", "onnx"), ("tflite", "tflite"), ("openvino", "xml")]
)
def test_a_file_agrees_with_the_live_network_and_another_one_s_does_not(
    format, ending, place, tmp_path
):
    file = tmp_path / f"x.{ending}"
    ended = export(tmp_path, f"--weights={place}/net.keras", f"--format={format}", f"--out={file}")
    assert ended.code == 0, ended.err
    given = f"--weights={place}/net.keras", f"--data={place}/data", "--seconds=0"
    done = check(file, *given)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["top1_equal"] == {"serving_default": 18} and said["largest_difference"] < 1e-4
    other = weights.contract_of(place / "net.keras")
    weights.save(network(len(CLASSES), seed=1), tmp_path / "other.keras", other)
    (tmp_path / f"x.{ending}.card.json").unlink()  # it would betray the other one
    done = check(file, f"--weights={tmp_path}/other.keras", *given[1:])
    assert done.returncode == 1 and "probabilities differ by" in done.stderr
    file.write_bytes(file.read_bytes()[:100])
    done = check(file, *given)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{file} cannot be loaded by" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_a_network_that_is_not_in_the_table_is_trusted_by_a_flag(place, tmp_path):
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.GlobalAveragePooling2D(name="avg_pool")(inputs)
    outputs = keras.layers.Dense(len(CLASSES), "softmax", name="predictions")(x)
    keras.Model(inputs, outputs, name="mine").save(tmp_path / "mine.keras")
    given = [f"--weights={tmp_path}/mine.keras", "--trust_config"]
    ended = export(tmp_path, *given, f"--labels={place}/labels.txt", f"--out={tmp_path}/net")
    assert ended.code == 0, ended.err
    arguments = [tmp_path / "net", f"--data={place}/data", "--seconds=0"]
    done = check(*arguments, given[0])
    assert (
        done.returncode == 2 and "live.py: " in done.stderr and "pass --trust_config" in done.stderr
    )
    done = check(*arguments, *given)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_timing_and_disagreement(place, tmp_path):
    """Of another network's export, whose card is not there to betray it."""
    other = tmp_path / "other.keras"
    weights.save(network(len(CLASSES), seed=1), other, weights.contract_of(place / "net.keras"))
    ended = export(tmp_path, f"--weights={other}", f"--out={tmp_path}/served")
    assert ended.code == 0, ended.err
    arguments = [tmp_path / "served", f"--weights={place}/net.keras", f"--data={place}/data"]
    done = check(*arguments, "--seconds=0.1")
    assert (done.returncode, done.stdout) == (2, "")
    assert "was made of other.keras with another SHA-256 than" in done.stderr
    for damaged in ("[1]", '{"input": 3}', "[" * 100_000):
        (tmp_path / "served/1/card.json").write_text(damaged)
        done = check(*arguments, "--seconds=0")
        assert done.returncode == 2 and "card.json is damaged" in done.stderr, done.stderr
    (tmp_path / "served/1/card.json").unlink()
    done = check(*arguments, "--seconds=0.1", "--batch_size=4")
    assert done.returncode == 1
    said = json.loads(done.stdout)
    assert said["top1_equal"]["serving_default"] < 18
    assert "probabilities differ by" in done.stderr
    for figures in ("milliseconds_p50", "milliseconds_p95", "pictures_per_second"):
        assert min(said[figures][name] for name in ("serving_default", "predict_bytes")) > 0


@pytest.mark.slow
@pytest.mark.parametrize(
    "given, sentence",
    [
        (["{place}"], "is neither a SavedModel nor a folder of versions"),
        ([], "One PATH is checked; got none"),
        (["{place}/served", "--data="], "--data is missing"),
        (["{place}/served", "--data=./nowhere"], "./nowhere"),
        (["{place}/served", "--weights=nowhere.keras"], "nowhere.keras"),
        (["{place}/broken"], "is damaged, or no SavedModel"),
    ],
)
def test_check_s_mistakes(given, sentence, place, exported):
    (place / "broken").mkdir(exist_ok=True)
    (place / "broken/saved_model.pb").write_text("no")
    right = [f"--weights={place}/net.keras", f"--data={place}/data", "--seconds=0"]
    done = check(*right, *(each.format(place=place) for each in given))
    assert (done.returncode, done.stdout) == (2, "")
    assert sentence in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_real_network_on_real_pictures(shared, tmp_path):
    """ResNet-18 on 145 ImageNet pictures: the best class is equal on all."""
    file = shared("weights/imagenet_resnet18/resnet18_torchvision_names.safetensors")
    data = shared("imagenet_sample/imagenet_sample_145.zip")
    given = ["--model=ResNet18", f"--weights={file}"]
    ended = export(tmp_path, *given, f"--out={tmp_path}/net")
    assert ended.code == 0, ended.err
    done = check(tmp_path / "net", *given, f"--data={data}", "--seconds=0")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["top1_equal"] == {"serving_default": 145, "predict_bytes": 145}
