"""The files of savedmodels/ against the schemas of those who read them; nothing is started.

ModelServerConfig comes with tensorflow-serving-api. BatchingParameters and MonitoringConfig do not: their
fields are below, from session_bundle_config.proto and monitoring_config.proto of tensorflow/serving 2.20.
Kubernetes' schemas come with kubernetes-validate, Compose's with check-jsonschema.
"""

import copy
import csv
import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile

import pytest
import serving_kit
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from keras_resnet.serving.environment import ENVIRONMENT

WHY = "not installed; the test extra brings it"
# The flags of tensorflow_model_server, model_servers/main.cc of tensorflow/serving 2.20, that the kit uses.
FLAGS = {
    "model_config_file",
    "allow_version_labels_for_unavailable_models",
    "model_config_file_poll_wait_seconds",
    "enable_batching",
    "batching_parameters_file",
    "monitoring_config_file",
    "enable_model_warmup",
}
INT64, BOOL = ".google.protobuf.Int64Value", ".google.protobuf.BoolValue"
MESSAGES = {
    "BatchingParameters": {
        "max_batch_size": (1, INT64),
        "batch_timeout_micros": (2, INT64),
        "max_enqueued_batches": (3, INT64),
        "num_batch_threads": (4, INT64),
        "thread_pool_name": (5, ".google.protobuf.StringValue"),
        "enable_large_batch_splitting": (8, BOOL),
        "max_execution_batch_size": (9, INT64),
        "pad_variable_length_inputs": (7, bool),
    },
    "PrometheusConfig": {"enable": (1, bool), "path": (2, str)},
    "MonitoringConfig": {"prometheus_config": (1, ".kit.PrometheusConfig")},
}


def read(name):
    return (serving_kit.KIT / name).read_text("utf-8")


def yaml_of(name):
    yaml = pytest.importorskip("yaml", reason=f"PyYAML is {WHY}")
    return [*yaml.safe_load_all(read(name))]


@pytest.fixture(scope="module")
def messages():
    """{name: class} of MESSAGES."""
    from google.protobuf import wrappers_pb2

    pool, kinds = descriptor_pool.DescriptorPool(), descriptor_pb2.FieldDescriptorProto
    wrappers = descriptor_pb2.FileDescriptorProto()
    wrappers_pb2.DESCRIPTOR.CopyToProto(wrappers)
    pool.Add(wrappers)
    file = descriptor_pb2.FileDescriptorProto(
        name="kit.proto", package="kit", syntax="proto3", dependency=[wrappers.name]
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, kind) in fields.items():
            added = message.field.add(name=field, number=number, label=kinds.LABEL_OPTIONAL)
            if isinstance(kind, str):
                added.type, added.type_name = kinds.TYPE_MESSAGE, kind
            else:
                added.type = kinds.TYPE_BOOL if kind is bool else kinds.TYPE_STRING
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"kit.{name}"))
        for name in MESSAGES
    }


# --- TF Serving's own files


def model_config():
    pb2 = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2",
        reason=f"tensorflow-serving-api is {WHY}",
    )
    config = text_format.Parse(read("models.config"), pb2.ModelServerConfig())
    [model] = config.model_config_list.config
    return model


def test_models():
    model = model_config()
    assert (model.name, model.model_platform) == ("resnet50", "tensorflow")
    assert model.base_path == "/models/resnet50"
    assert model.model_version_policy.latest.num_versions == 2
    assert dict(model.version_labels) == {"stable": 1, "canary": 2}


def test_batching(messages):
    given = text_format.Parse(read("batching.config"), messages["BatchingParameters"]())
    assert given.batch_timeout_micros.value == 0 and given.HasField("batch_timeout_micros")
    assert given.enable_large_batch_splitting.value
    assert 1 <= given.max_execution_batch_size.value <= given.max_batch_size.value
    assert given.max_enqueued_batches.value and given.num_batch_threads.value
    with pytest.raises(text_format.ParseError, match="max_batch"):
        text_format.Parse("max_batch { value: 3 }", messages["BatchingParameters"]())
    with pytest.raises(text_format.ParseError):  # a number, where a wrapper is meant
        text_format.Parse("max_batch_size: 3", messages["BatchingParameters"]())


def test_monitoring(messages):
    given = text_format.Parse(read("monitoring.config"), messages["MonitoringConfig"]())
    assert given.prometheus_config.enable
    annotations = deployment()["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == given.prometheus_config.path


# --- those who start it


def deployment():
    return next(each for each in yaml_of("kubernetes.yaml") if each["kind"] == "Deployment")


def container():
    [each] = deployment()["spec"]["template"]["spec"]["containers"]
    return each


def compose():
    [data] = yaml_of("docker-compose.yml")
    return data


@functools.cache
def script():
    """The words that serve.sh gives docker, for models that lie beside it."""
    with tempfile.TemporaryDirectory() as folder:
        kit = pathlib.Path(folder, "kit")
        return started(copied(kit), kit / "serve.sh")


def copied(kit):
    """serve.sh and what it needs, in another folder with a model."""
    (kit / "resnet50/2").mkdir(parents=True)
    (kit / "resnet50/2/saved_model.pb").write_bytes(b"")
    for name in ("serve.sh", "models.config", "batching.config", "monitoring.config"):
        shutil.copy(serving_kit.KIT / name, kit / name)
    return kit


def started(where, *command, **environment):
    """What docker is asked for by a command that is run in the folder `where`."""
    with tempfile.TemporaryDirectory() as folder:
        docker = pathlib.Path(folder, "docker")
        docker.write_text('#!/bin/sh\nprintf "%s\\0" docker "$@" > "$0.asked"\n')
        docker.chmod(0o755)
        path = os.pathsep.join([folder, os.environ["PATH"]])
        done = subprocess.run(
            command, cwd=where, env={**os.environ, **environment, "PATH": path},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done
        return docker.with_name("docker.asked").read_text().split("\0")[:-1]


def mounted(words):
    """{path inside: path outside}, as docker reads --mount: comma-separated values."""
    found = {}
    for i, word in enumerate(words):
        if word == "--mount":
            [fields] = csv.reader([words[i + 1]], strict=True)
            values = dict(field.partition("=")[::2] for field in fields)
            assert values.keys() == {"type", "source", "target", "readonly"}, values
            found[values["target"]] = values["source"]
    return found


def arguments(source):
    if source == "serve.sh":
        return [word for word in script() if "=" in word and word.startswith("--")]
    if source == "docker-compose.yml":
        return compose()["services"]["resnet50"]["command"]
    return container()["args"]


SOURCES = ("serve.sh", "docker-compose.yml", "kubernetes.yaml")


@pytest.mark.parametrize("source", SOURCES)
def test_arguments_are_flags_and_alike(source):
    given = arguments(source)
    assert {argument[2:].partition("=")[0] for argument in given} == FLAGS
    assert given == arguments("serve.sh")
    files = [argument.partition("=")[2] for argument in given if "_file=" in argument]
    assert all((serving_kit.KIT / path.removeprefix("/config/")).exists() for path in files)


def test_environments_are_the_package_s_own():
    words = script()
    given = dict(words[i + 1].split("=") for i, word in enumerate(words) if word == "--env")
    assert given == ENVIRONMENT
    assert compose()["services"]["resnet50"]["environment"] == given
    assert {each["name"]: each["value"] for each in container()["env"]} == given


def test_one_image():
    default = "${TF_SERVING_IMAGE:-tensorflow/serving:2.20.0}"
    assert compose()["services"]["resnet50"]["image"] == default
    assert default in read("serve.sh") and "tensorflow/serving:2.20.0" in script()
    assert container()["image"] == "tensorflow/serving:2.20.0"


def test_mounts_are_where_the_configuration_looks():
    base = model_config().base_path
    volumes = [volume.split(":") for volume in compose()["services"]["resnet50"]["volumes"]]
    by_compose = {target for _, target, mode in volumes if mode == "ro"}
    for targets in (mounted(script()).keys(), by_compose):
        assert targets == {base} | {
            argument.partition("=")[2] for argument in arguments("serve.sh") if "_file=" in argument
        }
    inside = {mount["mountPath"]: mount.get("readOnly") for mount in container()["volumeMounts"]}
    assert inside == {"/models": True, "/config": True}


def test_script_is_a_script(tmp_path):
    path = serving_kit.KIT / "serve.sh"
    subprocess.run(["sh", "-n", path], check=True)
    done = subprocess.run([path, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 2 and "resnet50/1 is not there" in done.stderr
    done = subprocess.run([path, tmp_path / "nix"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"serve.sh: there is no folder {tmp_path}/nix.\n"


@pytest.mark.parametrize(
    "name", ["a:b", "a b", 'a"b', "a,b", "-", "-n", "$(touch x)", "żaba", "a\nb", "*"]
)
def test_script_runs_from_folders_of_any_name(tmp_path, name):
    """Called from it, from beside it, for it; with a CDPATH that has another of its name."""
    kit = copied(tmp_path / name)
    decoy = tmp_path / "decoy"
    (decoy / name).mkdir(parents=True)
    here = {
        "/models/resnet50": f"{kit}/resnet50",
        **{
            f"/config/{each}.config": f"{kit}/{each}.config"
            for each in ("models", "batching", "monitoring")
        },
    }
    other = copied(tmp_path / "elsewhere")
    for where, command in (
        (kit, ["./serve.sh"]),
        (kit, ["sh", "serve.sh"]),
        (tmp_path, ["sh", "--", f"{name}/serve.sh"]),
        (other, [kit / "serve.sh"]),
        (other, [kit / "serve.sh", kit]),
    ):
        assert mounted(started(where, *command, CDPATH=str(decoy))) == here, command
    words = started(tmp_path, other / "serve.sh", name, CDPATH=str(decoy))
    assert mounted(words)["/models/resnet50"] == f"{kit}/resnet50"
    assert not [path for path in tmp_path.rglob("x") if path.name == "x"]


def test_a_python_is_chosen_whose_path_has_spaces(tmp_path):
    """tools/venv.sh, and the folder it makes."""
    python = tmp_path / "a b" / "python3"
    python.parent.mkdir()
    python.write_text('#!/bin/sh\n[ "$1" != -m ] || printf "%s|" "$@"\n')
    python.chmod(0o755)
    script = serving_kit.KIT.parent / "tools/venv.sh"
    for chosen in (
        {"PYTHON": str(python)},
        {"PATH": os.pathsep.join([str(python.parent), os.environ["PATH"]])},
    ):
        done = subprocess.run(
            ["sh", script, "the venv"], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHON": "", **chosen},
        )  # fmt: skip
        assert done.stdout == "-m|venv|the venv|", done
    done = subprocess.run(
        ["sh", script, "x"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHON": f"{tmp_path}/no python"},
    )  # fmt: skip
    assert done.returncode == 2 and f"{tmp_path}/no python here is missing" in done.stderr


def test_ci_runs_in_its_own_clone(tmp_path):
    """Whatever CDPATH says."""
    for clone in ("here", "decoy"):
        for name, text in (
            (".ci/run", None),
            ("tools/venv.sh", ""),
            ("Makefile", "test:\n\t@pwd\n"),
        ):
            path = tmp_path / clone / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text((serving_kit.KIT.parent / name).read_text() if text is None else text)
    # Run by make themselves, tests hand its variables on, and then it says where it is.
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    done = subprocess.run(
        ["sh", ".ci/run"], cwd=tmp_path / "here", capture_output=True, text=True, check=False,
        env={**outside, "CDPATH": str(tmp_path / "decoy")},
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == str(tmp_path / "here"), done


@pytest.fixture
def compose_schema():
    package = pytest.importorskip("check_jsonschema", reason=f"check-jsonschema is {WHY}")
    jsonschema = pytest.importorskip("jsonschema", reason=f"jsonschema is {WHY}")
    from importlib import resources

    folder = resources.files(package) / "builtin_schemas" / "vendor"
    schema = json.loads((folder / "compose-spec.json").read_text("utf-8"))
    return jsonschema.validators.validator_for(schema)(schema)


def test_compose_fits_its_schema(compose_schema):
    data = compose()
    assert [error.message for error in compose_schema.iter_errors(data)] == []
    for wrong in ({"comand": []}, {"stop_grace_period": []}, {"healthcheck": {"test": 3}}):
        changed = copy.deepcopy(data)
        changed["services"]["resnet50"].update(wrong)
        assert [*compose_schema.iter_errors(changed)], wrong


def test_manifests_fit_their_schemas():
    kubernetes = pytest.importorskip("kubernetes_validate", reason=f"kubernetes-validate is {WHY}")
    newest = kubernetes.latest_version()
    manifests = yaml_of("kubernetes.yaml")
    assert [each["kind"] for each in manifests] == ["Deployment", "Service"]
    for each in manifests:
        kubernetes.validate(each, newest, strict=True)
    wrong = copy.deepcopy(deployment())
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes.ValidationError, match="livenesProbe"):
        kubernetes.validate(wrong, newest, strict=True)


def test_probes_limits_and_ports():
    pod, each = deployment()["spec"]["template"]["spec"], container()
    ports = {port["name"]: port["containerPort"] for port in each["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}  # the image's
    name = model_config().name
    for probe in ("startupProbe", "readinessProbe"):
        assert each[probe]["httpGet"] == {"path": f"/v1/models/{name}", "port": "rest"}
    assert each["livenessProbe"]["tcpSocket"]["port"] in ports
    assert set(each["resources"]["limits"]) == {"cpu", "memory"}
    stop = int(each["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > stop + 30
    service = next(each for each in yaml_of("kubernetes.yaml") if each["kind"] == "Service")
    assert {port["targetPort"] for port in service["spec"]["ports"]} == set(ports)
    labels = deployment()["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    assert deployment()["spec"]["selector"]["matchLabels"].items() <= labels.items()


# --- the page


def test_page_links_to_what_is_there_and_names_every_file():
    page = read("README.md")
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        if not link.startswith("http"):
            assert (serving_kit.KIT / link).exists(), link
    for path in serving_kit.KIT.iterdir():
        if path.is_file() and path.name != "README.md":
            assert path.name in page, path.name
