"""The manifests of recipes/cluster against their schemas, and each command line against the recipe.

The schemas come with two packages that are generated from the OpenAPI files of Kubeflow and JobSet;
nothing is asked of a network or of a cluster.
"""

import copy
import pathlib
import re

import pytest
import typed

ROOT = pathlib.Path(__file__).parents[2]
FOLDER = ROOT / "recipes" / "cluster"
PAGE = FOLDER / "README.md"
MANIFESTS = ("tfjob.yaml", "jobset.yaml")
GRACE_SECONDS = 12  # training.fit's, after SIGTERM
WHY = "not installed; the test extra brings it"


def manifest(name):
    yaml = pytest.importorskip("yaml", reason=f"PyYAML is {WHY}")
    return yaml.safe_load((FOLDER / name).read_text())


def pod(name, data):
    """(pod template, how many) of a manifest."""
    if name == "tfjob.yaml":
        worker = data["spec"]["tfReplicaSpecs"]["Worker"]
        return worker["template"], worker["replicas"]
    job = data["spec"]["replicatedJobs"][0]["template"]
    assert job["spec"]["completionMode"] == "Indexed"
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    return job["spec"]["template"], job["spec"]["completions"]


def page_commands():
    """The arguments of each call of the recipe on the page."""
    found = [words for words in typed.of_page(PAGE) if "recipes/imagenet.py" in words]
    return [words[words.index("recipes/imagenet.py") + 1 :] for words in found]


def refusals(commands):
    return [
        wrong or " ".join(rest) for wrong, rest in typed.refusals("recipes/imagenet.py", commands)
    ]


@pytest.mark.slow
def test_every_command_is_one_that_the_recipe_takes():
    commands = page_commands()
    assert len(commands) >= 5
    for name in MANIFESTS:
        template, _ = pod(name, manifest(name))
        [container] = template["spec"]["containers"]
        python, recipe, *arguments = container["command"]
        assert (python, recipe) == ("python", "recipes/imagenet.py")
        commands.append(arguments)
    for arguments in commands:
        names = [argument.partition("=")[0] for argument in arguments]
        assert {"--data", "--workdir", "--strategy"} <= set(names), arguments
    wrong = [*commands, ["--strategie=tpu"], ["--boundaries=10"]]
    *fine, unknown, contradiction = refusals(wrong)
    assert fine == [""] * len(commands)
    assert "strategie" in unknown
    assert "--boundaries belongs to --schedule=steps" in contradiction


def test_page_links_to_what_is_there():
    for link in re.findall(r"\]\(([^)#]+)\)", PAGE.read_text()):
        if not link.startswith("http"):
            assert (FOLDER / link).exists(), link


@pytest.mark.parametrize("name", MANIFESTS)
def test_batch_can_be_shared_and_runs_are_shared(name):
    template, machines = pod(name, manifest(name))
    [container] = template["spec"]["containers"]
    limits = container["resources"]["limits"]
    devices = machines * int(limits.get("nvidia.com/gpu") or limits["google.com/tpu"])
    flags = dict(a[2:].split("=", 1) for a in container["command"] if "=" in a)
    preset = (ROOT / flags["flagfile"]).read_text()
    batch = flags.get("batch_size") or re.search(r"^--batch_size=(\d+)", preset, re.MULTILINE)[1]
    assert int(batch) % devices == 0
    assert template["spec"]["terminationGracePeriodSeconds"] > GRACE_SECONDS
    claims = {
        volume["name"]: volume["persistentVolumeClaim"].get("readOnly", False)
        for volume in template["spec"]["volumes"]
        if "persistentVolumeClaim" in volume
    }
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    assert claims[mounts["/runs"]] is False
    assert claims[mounts["/data"]] is True
    assert flags["workdir"].startswith("/runs/")
    assert flags["data"].startswith("/data/")


# --- schemas


def unknown(given, parsed, at=""):
    """Paths in a manifest that its schema does not know: they are gone after parsing."""
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(parsed, dict) or key not in parsed:
                yield f"{at}.{key}"
            else:
                yield from unknown(value, parsed[key], f"{at}.{key}")
    elif isinstance(given, list):
        for i, (one, other) in enumerate(zip(given, parsed, strict=True)):
            yield from unknown(one, other, f"{at}[{i}]")
    elif given != parsed:
        yield f"{at}: {given!r}"


def checked_template(template):
    models = pytest.importorskip(
        "kubeflow_trainer_api.models", reason=f"kubeflow-trainer-api is {WHY}"
    )
    parsed = models.IoK8sApiCoreV1PodTemplateSpec.from_dict(template)
    return list(unknown(template, parsed.to_dict()))


def checked_jobset(data):
    models = pytest.importorskip(
        "kubeflow_trainer_api.models", reason=f"kubeflow-trainer-api is {WHY}"
    )
    return list(unknown(data, models.JobsetV1alpha2JobSet.from_dict(data).to_dict()))


def checked_tfjob(data):
    models = pytest.importorskip("kubeflow.training.models", reason=f"kubeflow-training is {WHY}")
    client = pytest.importorskip("kubernetes.client", reason=f"kubernetes is {WHY}")

    def known(kind, given, at):
        """The schema's own classes, level by level; pods are `checked_template`'s."""
        form = getattr(models, kind, None) or getattr(client, kind)
        names = {json_name: name for name, json_name in form.attribute_map.items()}
        arguments = {}
        for key, value in given.items():
            if key not in names:
                yield f"{at}.{key}"
                continue
            arguments[names[key]] = value
            inner = form.openapi_types[names[key]]
            of = re.fullmatch(r"dict\(str, (\w+)\)", inner)
            if of and of[1] != "str":
                for entry, each in value.items():
                    yield from known(of[1], each, f"{at}.{key}.{entry}")
            elif inner == "V1PodTemplateSpec":
                yield from (f"{at}.{key}{path}" for path in checked_template(value))
            elif inner[0].isupper() or inner.startswith("V1"):
                yield from known(inner, value, f"{at}.{key}")
            elif inner in ("int", "str", "bool") and type(value).__name__ != inner:
                yield f"{at}.{key}: {value!r} is no {inner}"
        form(**arguments)  # raises where something required is missing

    return list(known("KubeflowOrgV1TFJob", data, ""))


CHECKS = {"tfjob.yaml": checked_tfjob, "jobset.yaml": checked_jobset}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifest_fits_its_schema(name):
    assert CHECKS[name](manifest(name)) == []


@pytest.mark.parametrize("name", MANIFESTS)
def test_the_schemas_find_mistakes(name):
    data = manifest(name)
    wrong = copy.deepcopy(data)
    pod(name, wrong)[0]["spec"]["terminationGraceSeconds"] = 30
    assert any("terminationGraceSeconds" in path for path in CHECKS[name](wrong))
    wrong = copy.deepcopy(data)
    pod(name, wrong)[0]["spec"]["terminationGracePeriodSeconds"] = "30"
    with pytest.raises(ValueError, match="terminationGracePeriodSeconds"):
        CHECKS[name](wrong)
    wrong = copy.deepcopy(data)
    wrong["spec"]["replicas"] = 4
    assert CHECKS[name](wrong) == [".spec.replicas"]
    if name == "tfjob.yaml":
        del wrong["spec"]["tfReplicaSpecs"], wrong["spec"]["replicas"]
        with pytest.raises(ValueError, match="tf_replica_specs"):
            CHECKS[name](wrong)
