"""The ImageNet recipe as its users run it: in processes of its own, on small JPEGs."""

import itertools
import json
import os
import pathlib
import random
import shutil
import signal

import child
import keras
import numpy as np
import pytest
from PIL import Image

import keras_resnet
from keras_resnet import weights
from keras_resnet.training import checkpoints, logs

ROOT = pathlib.Path(__file__).parents[2]
RECIPE = ROOT / "recipes" / "imagenet.py"
SMALL = (
    "--model=ResNet20", "--size=32", "--eval_size=32", "--eval_resize=36", "--low=36", "--high=40",
    "--batch_size=8", "--rate=0.05", "--interpolation=bicubic",
)  # fmt: skip
TIMED = ("seconds", "images_per_second", "input_wait")


def picture(path, seed, size=(60, 50)):
    path.parent.mkdir(parents=True, exist_ok=True)
    smooth = np.random.default_rng(seed).integers(0, 256, (5, 6, 3)).astype(np.uint8)
    Image.fromarray(smooth).resize(size).save(path, "JPEG")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """24 training pictures and 9 to evaluate on, in 3 classes."""
    folder = tmp_path_factory.mktemp("pictures")
    for split, count in (("train", 24), ("val", 9)):
        for i in range(count):
            picture(folder / split / "abc"[i % 3] / f"{i}.JPEG", seed=i)
    return folder


def begin(folder, data, *flags):
    arguments = (*SMALL, f"--data={data}", f"--workdir={folder / 'run'}", *flags)
    return child.Child(folder / "out", child.run_recipe, *arguments, recipe=RECIPE)


def log(workdir):
    return [{k: v for k, v in row.items() if k not in TIMED} for row in logs.rows(workdir)]


def last_line(ended):
    assert ended.code == 0, ended.err
    return json.loads(ended.out.splitlines()[-1])


# Everything that a checkpoint has to hold, and every draw there is.
EVERYTHING = (
    "--steps=14", "--schedule=plateau", "--patience=1", "--ema=0.9", "--mixup=0.2", "--cutmix=1",
    "--jitter=0.4", "--randaugment=6", "--trivialaugment", "--erasing=0.5", "--stochastic_depth=0.2",
    "--smoothing=0.1", "--clip=1", "--warm_up=3", "--checkpoint_seconds=0",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("average", [(), ("--ema_every=2",)], ids=["keras", "torchvision"])
def test_killed_at_random_steps_it_ends_with_the_same_weights(average, pictures, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    asked = (*EVERYTHING, *average)
    final = last_line(begin(whole, pictures, *asked).wait())
    rows = logs.rows(whole / "run")
    assert len({row["rate"] for row in rows if "rate" in row}) > 2  # the plateau has had its say
    moments = sorted(random.sample(range(1, 13), 3))
    for moment in moments:
        ended = begin(killed, pictures, *asked).kill_at(killed / "run", moment)
        assert ended.code == -signal.SIGKILL, (moments, ended.err)
    again = last_line(begin(killed, pictures, *asked).wait())
    assert again | {"seconds": 0} == final | {"seconds": 0}, moments
    assert log(killed / "run") == log(whole / "run"), moments


def save_teacher(path, classes, names=()):
    """Random weights; of a wider network than the student, which the file tells."""
    keras.utils.set_random_seed(1)
    net = keras_resnet.ResNet32(classes=classes, input_shape=(32, 32, 3))
    contract = weights.Contract(network="ResNet32", class_names=names, preprocessing="torch")
    weights.save(net, path, contract)
    return f"--teacher={path}"


@pytest.mark.slow
def test_distilled_it_resumes_to_the_same_weights_by_the_same_teacher_alone(pictures, tmp_path):
    teacher = save_teacher(tmp_path / "teacher.keras", 3, ("a", "b", "c"))
    flags = ("--steps=14", "--mixup=0.5", "--schedule=cosine", "--checkpoint_seconds=0", "--temperature=2")  # fmt: skip
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    final = last_line(begin(whole, pictures, *flags, teacher).wait())
    assert begin(killed, pictures, *flags, teacher).kill_at(killed / "run", 5).code == -signal.SIGKILL  # fmt: skip
    other = tmp_path / "other.keras"
    other.write_bytes((tmp_path / "teacher.keras").read_bytes())
    again = last_line(begin(killed, pictures, *flags, f"--teacher={other}").wait())  # by any name
    assert again | {"seconds": 0} == final | {"seconds": 0}
    losses = [row["loss"] for row in logs.rows(whole / "run") if "loss" in row]
    assert losses[-1] < losses[0]  # the divergence, which labels could not make smaller
    untaught = begin(killed, pictures, *flags[:-1]).wait()
    assert untaught.code == 2 and "--teacher=None contradicts" in untaught.err


@pytest.mark.slow
def test_a_teacher_of_other_classes_or_another_kind_is_refused(pictures, tmp_path):
    for teacher, sentence in (
        (save_teacher(tmp_path / "five.keras", 5), "tells 5 classes apart, and --data has 3"),
        (save_teacher(tmp_path / "names.keras", 3, ("a", "b", "d")), "tells other classes apart"),
        (f"--teacher={pictures / 'train/a/0.JPEG'}", "0.JPEG cannot be read as weights"),
    ):
        ended = begin(tmp_path, pictures, "--schedule=cosine", teacher).wait()
        assert (ended.code, ended.out) == (2, "") and sentence in ended.err, ended.err
        assert "Traceback" not in ended.err


def stopped_in_evaluation(evaluation_number, *flags):
    """The recipe, which gets SIGTERM after the first batch of the evaluation with that number."""
    from keras_resnet import evaluation

    count, numbers = evaluation.count, itertools.count(1)

    def counted(model, batches, *, after_batch, sums):
        number = next(numbers)

        def after():
            if number == evaluation_number:
                os.kill(os.getpid(), signal.SIGTERM)
            after_batch()

        return count(model, batches, after_batch=after, sums=sums)

    evaluation.count = counted
    child.run_recipe(*flags, recipe=RECIPE)


@pytest.mark.slow
def test_terminated_in_an_evaluation_it_ends_with_the_same_weights(pictures, tmp_path):
    """The average is what is evaluated, and the weights that train are what is saved."""
    flags = (*SMALL, *EVERYTHING[:-1], f"--data={pictures}", "--strategy=one")
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    final = last_line(begin(whole, pictures, *flags).wait())
    for number in (1, 3):
        arguments = (number, *flags, f"--workdir={stopped / 'run'}")
        ended = child.Child(stopped / "out", stopped_in_evaluation, *arguments).wait()
        assert ended.code == 128 + signal.SIGTERM, ended.err
        assert "which is saved" in ended.err
    again = last_line(begin(stopped, pictures, *flags).wait())
    assert again | {"seconds": 0} == final | {"seconds": 0}
    assert log(stopped / "run") == log(whole / "run")


def test_what_a_run_leaves(pictures, tmp_path):
    final = last_line(begin(tmp_path, pictures, "--steps=6", "--schedule=cosine").wait())
    run = tmp_path / "run"
    names = (
        "flags.txt versions.txt metrics.jsonl tensorboard curves.png model.keras final.json .lock"
    )
    assert {path.name for path in run.iterdir()} == {
        *names.split(),
        *(p.name for p in run.glob("check*")),
    }
    assert json.loads((run / "final.json").read_text()) == final
    assert (final["examples"], final["steps"], final["left_out"]) == (9, 6, 0)
    assert final["evaluated_on"] == "the validation split"
    assert final["top5_correct"] == 9  # of 3 classes
    flags_text = (run / "flags.txt").read_text()
    assert "--schedule=cosine\n" in flags_text
    assert "--model=ResNet20\n" in flags_text
    for row in logs.rows(run)[:-1]:
        assert 0 <= row["input_wait"] <= 1
    contract = weights.contract_of(run / "model.keras")
    assert (contract.size, contract.resize, contract.interpolation) == (32, 36, "bicubic")
    model = keras.models.load_model(run / "model.keras")
    shares = model.predict_on_batch(np.zeros((1, 32, 32, 3), np.uint8))
    np.testing.assert_allclose(shares.sum(), 1, rtol=1e-5)


@pytest.mark.slow
def test_shortcuts_and_a_run_of_before_that_flag(pictures, tmp_path):
    """B projects where the shape changes, none leaves the plain net: no convolutions besides the branches'."""
    flags = ("--steps=3", "--schedule=constant")
    counts = {}
    for shortcut in ("A", "B", "none"):
        ended = begin(tmp_path / shortcut, pictures, *flags, f"--shortcut={shortcut}").wait()
        counts[shortcut] = last_line(ended)["parameters"]
    projections = 16 * 32 + 32 * 64 + 2 * (32 + 64)
    assert counts["B"] - projections == counts["A"] == counts["none"]
    plain = keras.models.load_model(tmp_path / "none/run/model.keras")
    assert not any(isinstance(layer, keras.layers.Add) for layer in plain.layers)

    assert begin(tmp_path, pictures, *flags).wait().code == 0
    last = checkpoints.newest(tmp_path / "run")
    assert last.metadata["fingerprint"].pop("--shortcut") is None  # as it was saved before
    checkpoints.save(tmp_path / "run", last.step, last.arrays, last.metadata)
    ended = begin(tmp_path, pictures, "--steps=6", *flags[1:], "--shortcut=none").wait()
    assert ended.code == 2 and "--shortcut=none contradicts" in ended.err
    ended = begin(tmp_path, pictures, "--steps=6", *flags[1:]).wait()
    assert last_line(ended)["steps"] == 6


@pytest.mark.slow
def test_other_size_in_evaluation(pictures, tmp_path):
    """Trained at 32 pixels, evaluated and saved at 48."""
    flags = ("--steps=3", "--eval_size=48", "--eval_resize=56", "--schedule=constant")
    assert last_line(begin(tmp_path, pictures, *flags).wait())["examples"] == 9
    assert keras.models.load_model(tmp_path / "run" / "model.keras").input_shape[1:3] == (48, 48)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision(precision, pictures, tmp_path):
    flags = ("--steps=6", f"--precision={precision}", "--schedule=constant")
    assert last_line(begin(tmp_path, pictures, *flags).wait())["examples"] == 9
    assert all(np.isfinite(row["loss"]) for row in logs.rows(tmp_path / "run") if "loss" in row)


@pytest.mark.slow
def test_lamb_with_binary_cross_entropy_learns(pictures, tmp_path):
    flags = ("--steps=30", "--optimizer=lamb", "--loss=binary", "--threshold=0.2", "--mixup=0.1",
             "--window=area", "--area=0.5", "--rate=0.02", "--schedule=cosine")  # fmt: skip
    arguments = [flag for flag in SMALL if "low" not in flag and "high" not in flag]
    arguments += [f"--data={pictures}", f"--workdir={tmp_path / 'run'}", *flags]
    ended = child.Child(tmp_path / "out", child.run_recipe, *arguments, recipe=RECIPE).wait()
    assert ended.code == 0, ended.err
    losses = [row["loss"] for row in logs.rows(tmp_path / "run") if "loss" in row]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.slow
def test_noise_for_speed_runs(tmp_path):
    final = last_line(begin(tmp_path, "fake", "--steps=2").wait())
    assert (final["evaluated_on"], final["examples"]) == ("one batch of noise", 8)


@pytest.mark.slow
def test_bad_files_in_training_are_left_out_and_named(pictures, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    folder = data / "train" / "a"
    (folder / "empty.JPEG").write_bytes(b"")
    (folder / "text.JPEG").write_text("no picture\n" * 50)
    whole = (folder / "0.JPEG").read_bytes()
    (folder / "cut.JPEG").write_bytes(whole[: len(whole) // 2])
    picture(folder / "one.JPEG", 1, size=(1, 1))
    picture(folder / "long.JPEG", 2, size=(20000, 20))
    ended = begin(tmp_path, data, "--steps=9", "--schedule=constant").wait()
    final = last_line(ended)
    report = (tmp_path / "run" / "left_out.txt").read_text()
    for name in ("empty.JPEG", "text.JPEG", "cut.JPEG"):
        assert report.count(name) == 1
    assert "0.JPEG" not in report
    assert final["left_out"] == len(report.splitlines())
    assert "left out" in ended.err


@pytest.mark.slow
def test_bad_files_found_before_a_stop_are_named_at_the_end(pictures, tmp_path):
    """A process that goes on from the last checkpoint reads none of the training files again."""
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    (data / "train" / "a" / "cut.JPEG").write_bytes((data / "train/a/0.JPEG").read_bytes()[:200])
    flags = ("--steps=6", "--schedule=constant", "--checkpoint_seconds=0")
    final = last_line(begin(tmp_path, data, *flags).wait())
    assert final["left_out"] == 1
    (tmp_path / "run" / "left_out.txt").unlink()
    again = last_line(begin(tmp_path, data, *flags).wait())
    assert again | {"seconds": 0} == final | {"seconds": 0}
    assert "train/a/cut.JPEG: " in (tmp_path / "run" / "left_out.txt").read_text()


@pytest.mark.slow
def test_bad_file_in_evaluation_is_an_error_unless_asked_otherwise(pictures, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(pictures, data)
    (data / "val" / "a" / "text.JPEG").write_text("no picture\n" * 50)
    ended = begin(tmp_path, data, "--steps=3").wait()
    assert ended.code == 2
    assert "text.JPEG" in ended.err
    assert "Traceback" not in ended.err
    final = last_line(begin(tmp_path, data, "--steps=3", "--skip_bad").wait())
    assert final["examples"] == 9


def test_pictures_to_evaluate_on_without_classes_are_refused_before_training(pictures, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(pictures / "train", data / "train")
    picture(data / "test" / "0.JPEG", seed=0)
    ended = begin(tmp_path, data).wait()
    assert ended.code == 2
    assert "has no picture in a class folder to evaluate on (test/): put them" in ended.err
    assert "epoch" not in ended.err


@pytest.mark.parametrize(
    "flags, sentence",
    [
        (["--model=ResNet51"], "did you mean ResNet56, ResNet50"),
        (["--boundaries=3"], "--boundaries belongs to --schedule=steps"),
        (["--schedule=steps"], "--schedule=steps needs --boundaries"),
        (["--area=0.5"], "--area belongs to --window=area"),
        (["--optimizer=lamb", "--nesterov"], "--nesterov belongs to --optimizer=sgd"),
        (["--ema_every=32"], "--ema_every=32 is of an average: give --ema"),
        (["--temperature=2"], "--temperature is of a teacher: name its weights by --teacher"),
        (["--teacher=x.keras", "--smoothing=0.1"], "--smoothing is of labels, which --teacher"),
        (["--teacher=/no.keras"], "--teacher=/no.keras cannot teach: weights must be"),
        (
            ["--teacher=imagenet"],
            "published weights of several networks: name one by --teacher_model",
        ),
        (["--threshold=0.2"], "--threshold belongs to --loss=binary"),
        (["--zone=europe-west4"], "--zone belongs to --strategy=tpu"),
        (["--size=64"], "--size=64 is larger than --low=36"),
        (["--low=50"], "--low=50 is above --high=40"),
        (["--eval_size=64"], "--eval_size=64 is larger than --eval_resize=36"),
        (["--steps=-1"], "--steps=-1"),
        (["--batch_size=7", "--mixup=0.1"], "take 6 or 8"),
        (["--batch_size=500"], "at most all of the 24"),
        (["--strategy=multi_worker"], "TF_CONFIG, which is not set"),
        (["--strategy=tpu"], "looked for a TPU on this machine"),
        (["--data=digits"], "recipes/cifar10.py trains on those"),
        (["--data=/nowhere"], "no file or folder '/nowhere'"),
        (["--workdir=/proc/no"], "--workdir=/proc/no cannot be used"),
        (["--moodel=ResNet50"], "Did you mean: model"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_mistakes_end_in_one_sentence(flags, sentence, pictures, tmp_path):
    ended = begin(tmp_path, pictures, *flags).wait()
    assert ended.code == 2
    assert sentence in ended.err
    assert "Traceback" not in ended.err
    assert not ended.out
    assert {path.name for path in (tmp_path / "run").glob("*")} <= {".lock"}


@pytest.mark.slow
def test_changed_flag_is_refused_on_resuming(pictures, tmp_path):
    assert begin(tmp_path, pictures, "--steps=3").wait().code == 0
    ended = begin(tmp_path, pictures, "--steps=6", "--mixup=0.2").wait()
    assert ended.code == 2
    assert "--mixup=0.2 contradicts" in ended.err
    shutil.copytree(pictures, tmp_path / "other")
    (tmp_path / "other/train/a/0.JPEG").rename(tmp_path / "other/train/a/00.JPEG")  # in its place
    ended = begin(tmp_path, tmp_path / "other", "--steps=6").wait()
    assert ended.code == 2
    assert "--data=24 pictures in 3 classes, names and labels " in ended.err


@pytest.mark.slow
@pytest.mark.parametrize(
    "preset",
    ["paper_2015", "goyal_90", "torchvision_v1", "torchvision_v2", "nvidia_250"]
    + [f"strikes_back_a{i}" for i in (1, 2, 3)],
)
def test_presets_are_readable_and_published(preset, tmp_path):
    """Each is a whole, uncontradictory command: with the smallest net it trains a step of noise."""
    flagfile = ROOT / "recipes" / "flagfiles" / f"{preset}.flags"
    text = flagfile.read_text()
    assert text.startswith("# ") and "%" in text  # source and expected accuracy
    flags = (f"--flagfile={flagfile}", "--data=fake", f"--workdir={tmp_path / 'run'}", "--steps=1",
             "--batch_size=12", "--model=ResNet18", "--size=64", "--eval_size=64", "--eval_resize=64")  # fmt: skip
    ended = child.Child(tmp_path / "out", child.run_recipe, *flags, recipe=RECIPE).wait()
    assert last_line(ended)["steps"] == 1


def test_torchvision_v2_is_its_command_line():
    """torchvision's references/classification, of 8 processes with 128 pictures each."""
    text = (ROOT / "recipes/flagfiles/torchvision_v2.flags").read_text()
    flags = dict(line[2:].split("=") for line in text.splitlines() if line[:2] == "--" and "=" in line)  # fmt: skip
    an_epoch = 1_281_167 // (8 * 128)
    numbers = {
        "batch_size": 8 * 128, "steps": 600 * an_epoch, "rate_every": an_epoch, "warm_up": 5 * an_epoch,
        "cosine_from": 5 * an_epoch, "rate": 0.5, "warm_up_rate": 0.01 * 0.5, "weight_decay": 2e-5, "size": 176,
        "eval_size": 224, "eval_resize": 232, "mixup": 0.2, "cutmix": 1.0, "smoothing": 0.1, "erasing": 0.1,
        "repeats": 4, "momentum": 0.9, "ema_every": 32,
    }  # fmt: skip
    assert {name: float(flags[name]) for name in numbers} == numbers
    alpha = (1 - 0.99998) * 8 * 128 * 32 / 600
    assert float(flags["ema"]) == pytest.approx(1 - alpha, rel=1e-12)
    assert "--trivialaugment\n" in text and flags["decayed"] == "all_but_norms"


@pytest.mark.parametrize(
    "name, epochs, size, decay, rate, smoothing, depth, repeats, magnitude, mixup",
    [
        ("a1", 600, 224, 0.01, 5e-3, 0.1, 0.05, 3, 7, 0.2),
        ("a2", 300, 224, 0.02, 5e-3, 0.0, 0.05, 3, 7, 0.1),
        ("a3", 100, 160, 0.02, 8e-3, 0.0, 0.0, 1, 6, 0.1),
    ],
)
def test_strikes_back_is_its_paper_s_table_2(
    name, epochs, size, decay, rate, smoothing, depth, repeats, magnitude, mixup
):
    text = (ROOT / "recipes" / "flagfiles" / f"strikes_back_{name}.flags").read_text()
    flags = dict(
        line[2:].split("=") for line in text.splitlines() if line.startswith("--") and "=" in line
    )
    batch, an_epoch = int(flags["batch_size"]), int(flags["rate_every"])
    assert (batch, an_epoch) == (2048, 1_281_167 // 2048)
    assert (int(flags["steps"]), int(flags["warm_up"])) == (epochs * an_epoch, 5 * an_epoch)
    assert [int(flags[n]) for n in ("size", "eval_size", "eval_resize")] == [size, 224, int(224 / 0.95)]  # fmt: skip
    assert [flags[n] for n in ("optimizer", "loss", "schedule")] == ["lamb", "binary", "stepped_cosine"]  # fmt: skip
    numbers = {
        "weight_decay": decay, "rate": rate, "smoothing": smoothing, "stochastic_depth": depth,
        "repeats": repeats, "randaugment": magnitude, "mixup": mixup, "cutmix": 1.0,
    }  # fmt: skip
    defaults = {"smoothing": 0, "stochastic_depth": 0, "repeats": 1}
    assert {n: float(flags.get(n, defaults.get(n))) for n in numbers} == numbers
