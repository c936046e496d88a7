# Fresh machine (git, make, Python 3.11) -> environment -> main job, or tests. A second call is quick.
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
export KERAS_BACKEND ?= tensorflow

help:
	@echo "make demo           install into $(VENV), train on the handwritten digits, show what was learned"
	@echo "make test           install into $(VENV) with the test extra, lint, run the quick tests"
	@echo "make test-all       the slow tests too"
	@echo "make test-pages     every block of the pages, the notebooks and the wheel, as users type them"
	@echo "make test-backends  the networks on JAX and PyTorch, beside TensorFlow and without it"
	@echo "make trajectories   each recipe's steps beside those of its reference in PyTorch"
	@echo "make test-serving   exports loaded by the TensorFlow of TF Serving's image"
	@echo "make campaign       kills, fuzzing, mutated pictures, requests to the server: hours, in search of faults"
	@echo "make test-oldest    weights and files on the oldest TensorFlow and Keras that setup.py allows"
	@echo "make docs           the pages of docs/ with the API, into site/"
	@echo "make lint           ruff's lint and format; make format rewrites"

demo: $(VENV)/.installed
	$(PY) recipes/cifar10.py --flagfile=recipes/flagfiles/demo.flags

# A process a core; a file's tests stay together, with what they share.
test: lint
	$(PY) -m pytest -m "not slow" -n auto --dist loadfile

test-all: lint
	$(PY) -m pytest -n auto --dist loadfile

# What people read and type: every block of every page, both notebooks, the wheel.
test-pages: $(VENV)/.installed-test
	$(PY) -m pytest tests/test_pages.py tests/test_notebook.py tests/test_wheel.py -n auto --dist load

lint: $(VENV)/.installed-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

format: $(VENV)/.installed-test
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

# Each backend in an environment without TensorFlow, then beside it, where batches are compared.
test-backends: test-without-tensorflow-jax test-without-tensorflow-torch $(VENV)/.installed-backends
	$(PY) -m pytest -m "not slow" -k "jax or torch"

test-without-tensorflow-%: $(VENV)-%/.installed
	! $(VENV)-$*/bin/python -c "import tensorflow" 2>/dev/null
	KERAS_BACKEND=$* $(VENV)-$*/bin/python -m pytest -m "not slow" tests/networks/test_backends.py tests/test_package.py tests/data

test-serving: $(VENV)-serving/.installed $(VENV)/.installed-test
	$(PY) -m pytest tests/savedmodels/test_serving_tensorflow.py

# What has run is kept under runs/campaign, and a stopped campaign goes on from there.
campaign: $(VENV)/.installed-test
	$(PY) benchmarks/campaign/run.py

# Every recipe's steps beside its reference's in PyTorch; `make readme` puts what is written on its page.
trajectories: $(VENV)/.installed-test
	$(PY) tests/trajectories/trajectory.py --write

test-oldest: $(VENV)-oldest/.installed
	$(VENV)-oldest/bin/python -m pytest -m "not slow" tests/weights/test_weights_kinds.py tests/weights/test_weights_trust.py tests/weights/test_weights_hostile.py tests/networks/test_models.py

notebook: $(VENV)/.installed-test
	$(PY) tools/notebook.py notebooks/quickstart.ipynb
	$(PY) tools/notebook.py notebooks/finetune.ipynb

# Warnings are errors; the first page is site/index.html.
docs: $(VENV)/.installed-test
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict

readme: $(VENV)/.installed-test
	$(PY) tools/readme_tables.py README.md savedmodels/README.md docs/*.md
	$(PY) tools/house.py CONTRIBUTING.md
	$(PY) tools/house.py docs/house.md
	$(PY) tools/models.py
	$(PY) tools/help.py

$(VENV)/.installed: setup.py tools/venv.sh
	sh tools/venv.sh $(VENV)
	@echo "Installing into $(VENV): TensorFlow and what else is needed, about 3 GB."
	$(PIP) install --quiet -e .
	@touch $@

$(VENV)/.installed-test: setup.py tools/venv.sh
	sh tools/venv.sh $(VENV)
	@echo "Installing into $(VENV): TensorFlow and what else is needed, about 3 GB."
	$(PIP) install --quiet -e ".[test]"
	@touch $(VENV)/.installed $@

$(VENV)/.installed-backends: $(VENV)/.installed-test requirements/jax.txt requirements/torch.txt
	$(PIP) install --quiet -r requirements/jax.txt -r requirements/torch.txt
	@touch $@

$(VENV)-%/.installed: requirements/%.txt setup.py tools/venv.sh
	sh tools/venv.sh $(VENV)-$*
	$(VENV)-$*/bin/python -m pip --disable-pip-version-check install --quiet -r $< pytest
	$(VENV)-$*/bin/python -m pip --disable-pip-version-check install --quiet --no-deps -e .
	@touch $@

.PHONY: help demo trajectories test test-all test-pages test-backends test-serving test-oldest lint format campaign notebook readme docs
.PRECIOUS: $(VENV)-%/.installed
