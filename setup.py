"""Installs keras_resnet: `pip install .`; the name, since `keras-resnet` on the registry is another package."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "(.+)"$', (HERE / "keras_resnet/__init__.py").read_text("utf-8"), re.MULTILINE
)[1]
SCRIPTS = ("recipes", "savedmodels")

setup(
    name="keras-resnet-he",
    version=VERSION,
    description="The residual networks of He, Zhang, Ren and Sun for Keras 3: built by name, trained by one command",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    # The scripts that the verbs of `keras-resnet` run lie beside the package here, and within it where it is installed.
    packages=[
        *find_packages(include=["keras_resnet", "keras_resnet.*"]),
        *(f"keras_resnet.{folder}" for folder in SCRIPTS),
    ],
    package_dir={f"keras_resnet.{folder}": folder for folder in SCRIPTS},
    py_modules=["keras_resnet_he"],
    package_data={
        "": ["*.pyi", "py.typed"],
        "keras_resnet.commands": ["*.json"],
        "keras_resnet.weights": ["*.json"],
        "keras_resnet.serving.server": ["page/*"],
        "keras_resnet.support": ["*.txt"],
        "keras_resnet.recipes": ["flagfiles/*.flags", "cluster/*"],
        "keras_resnet.savedmodels": ["*.md", "*.yml", "*.yaml", "*.config", "*.sh", "*.c"],
    },
    entry_points={"console_scripts": ["keras-resnet = keras_resnet_he:main"]},
    python_requires=">=3.11",
    install_requires=[
        # TensorFlow's TPU builds end at 2.20, so that one stays supported.
        "tensorflow>=2.20",
        # The first that loads files safely by all of its public advisories, CVE-2025-1550 to CVE-2026-12481.
        "keras>=3.15.1,<4",
        "tensorflow-datasets>=4.9.10",
        "importlib_resources",  # tensorflow-datasets imports it without requiring it
        "absl-py>=2.1",
        "etils[epath]>=1.9.1",  # paths that may be gs://
        "numpy>=1.26",
        "scikit-learn>=1.5",  # the digits; baselines
        "scipy>=1.13",  # resamples sound
        "matplotlib>=3.9",
        "pillow>=10.4",
        "safetensors>=0.4.3",
    ],
    extras_require={
        # Reads PyTorch's pickled checkpoints; before, these could run code (CVE-2025-32434, CVE-2026-24747).
        "torch": ["torch>=2.10"],
        "cv": ["keras-cv==0.9.0", "keras-hub>=0.32"],  # heads on feature_extractor
        "detection": ["pycocotools>=2.0.8"],  # average precision
        "opencv": ["opencv-python-headless>=4.11"],  # decodes pictures where TensorFlow is not
        "sound": ["soundfile>=0.13"],  # recordings beyond wavs of whole numbers
        "serving": [
            "tensorflow-serving-api>=2.20",
            "aiohttp>=3.14",
            "grpcio>=1.66",
            "prometheus_client>=0.26",
        ],
        "onnx": ["tf2onnx>=1.17", "onnx>=1.23", "onnxruntime>=1.31"],
        "openvino": ["openvino>=2026.4"],
        "litert": [
            "ai-edge-litert>=2.3"
        ],  # in place of TensorFlow's own interpreter, which is to go
        "bench": ["onnxruntime>=1.31", "openvino>=2026.4"],  # peers of benchmarks/inference.py
        "beam": ["apache-beam>=2.77", "pyarrow>=17"],
        "docs": ["mkdocs-material>=9.8.2", "mkdocstrings[python]>=1.0.8"],
        "test": [
            "pytest>=8",
            "pytest-xdist>=3.8",
            "hypothesis>=6.150",
            "ruff==0.17.5",
            "setuptools>=77",  # builds the wheel that is tested
            # what editors and type checkers see
            "pyright[nodejs]>=1.1.414",
            "jedi>=0.20",
            "soundfile>=0.13",
            "pycocotools>=2.0.8",
            "opencv-python-headless>=4.11",
            "nbclient>=0.10",
            "nbformat>=5.10",
            "ipykernel>=6.29",
            # the pages of docs/
            "mkdocs-material>=9.8.2",
            "mkdocstrings[python]>=1.0.8",
            # the schemas of recipes/cluster's manifests
            "pyyaml>=6.0.3",
            "kubeflow-trainer-api>=2.3.0",
            "kubeflow-training>=1.9.4",
            # the server, its client, and the schemas of savedmodels/
            "tensorflow-serving-api>=2.20",
            "aiohttp>=3.14",
            "requests>=2.32",
            "kubernetes-validate>=1.30",
            "check-jsonschema>=0.30",
            "prometheus_client>=0.26",
            "tritonclient[http]>=2.73",  # another project's client of the Open Inference Protocol
            "openapi-spec-validator>=0.9",
            "playwright>=1.65",  # the page, in Debian's chromium
            # batch prediction, and the executors that exports are held against
            "apache-beam>=2.77",
            "pyarrow>=17",
            "tf2onnx>=1.17",
            "onnx>=1.23",
            "onnxruntime>=1.31",
            "openvino>=2026.4",
            "ai-edge-litert>=2.3",
            # the references of conversions; this version has a build for the CPU alone
            "torch==2.13.0",
            "timm>=1.0.31",
            "transformers>=5.23",
            # the other backend that the quick tests run on
            "jax>=0.7",
        ],
    },
    classifiers=[
        "Programming Language :: Python :: 3 :: Only",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
    ],
)
