# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

# Everything is installed once into .venv in this folder. Another Python: make PYTHON=python3.12 demo
PYTHON ?= python3
BUNDLE ?= bundles/lung_xray_segmentation

VENV := .venv/bin/python
RUNTIME := .venv/.runtime
DEV := .venv/.dev
# MONAI Label needs other versions of some packages: an environment of its own
LABEL_VENV := .venv-label/bin/python
LABEL := .venv-label/.label
LABEL_DEV := .venv-label/.dev
# bundles as models, and where the server listens
MODELS ?= $(patsubst %/configs/inference.yaml,%,$(wildcard bundles/*/configs/inference.yaml))
HOST ?= 127.0.0.1
PORT ?= 8000
export BUNDLE STUDIES
# make -C keeps the caller's folder in PWD: INPUT and OUTPUT are relative to it
export CALLER := $(if $(PWD),$(PWD),$(CURDIR))
PATHS = case "$$INPUT" in /*) input=$$INPUT ;; *) input=$$CALLER/$$INPUT ;; esac; \
	case "$$OUTPUT" in /*) output=$$OUTPUT ;; *) output=$$CALLER/$$OUTPUT ;; esac

# two workers with one thread each (tests/conftest.py): networks in tests are too small for more
PYTEST_ARGS ?= -n 2 --dist loadfile

.PHONY: help setup demo segment table label bundles test test-label test-wheel lint docs gpu-check clean

help:
	@echo "make demo                             segment sample images with the shipped weights"
	@echo "make segment INPUT=dir OUTPUT=dir     segment your images [BUNDLE=bundles/... MODALITY=MR FORMAT=seg]"
	@echo "make label STUDIES=dir                start a MONAI Label server [MODELS='bundles/...' PORT=8000]"
	@echo "make table                            train and evaluate the label-budget table (hours) [BUNDLE=bundles/...]"
	@echo "make bundles                          bring the copies of shared configs in bundles/ up to date"
	@echo "make test                             run the tests"
	@echo "make test-label                       run the tests of the MONAI Label server"
	@echo "make test-wheel                       build the wheel and work with it outside the clone"
	@echo "make lint                             ruff and mypy"
	@echo "make docs                             pages and API reference, to build/docs"
	@echo "make gpu-check                        compare a CUDA GPU's results with the CPU's, 8 minutes"
	@echo "make clean                            remove .venv, .venv-label, caches and the demo's output"

setup: $(RUNTIME)

demo: $(RUNTIME)
	@$(VENV) -m monai_semgan demo

# the checks come before the installation, so that a wrong path is told at once
segment: check-paths $(RUNTIME)
	@$(PATHS); $(VENV) -m monai_semgan segment --bundle="$$BUNDLE" $(if $(MODALITY),--modality "$(MODALITY)") \
		$(if $(FORMAT),--format "$(FORMAT)") -- "$$input" "$$output"

.PHONY: check-paths
check-paths:
	@usage='make segment INPUT=dir OUTPUT=dir [BUNDLE=bundles/...]'; \
	if [ -z "$$INPUT" ] || [ -z "$$OUTPUT" ]; then echo "INPUT and OUTPUT are both needed: $$usage" >&2; exit 2; fi; \
	$(PATHS); \
	if [ ! -e "$$input" ]; then echo "INPUT does not exist: $$input" >&2; exit 2; fi; \
	if [ ! -d "$$input" ]; then echo "INPUT is a file, name the folder that holds it: $$input" >&2; exit 2; fi; \
	if [ ! -f "$$BUNDLE/configs/inference.yaml" ]; then \
		echo "BUNDLE holds no configs/inference.yaml: $$BUNDLE (relative to $$PWD)" >&2; exit 2; fi

table: $(RUNTIME)
	$(VENV) -m monai_semgan table "$$BUNDLE" $(if $(TABLE_CONFIG),--config "$(TABLE_CONFIG)")

bundles: $(RUNTIME)
	@$(VENV) -m monai_semgan.recipes bundles/*

# the check comes before the installation, so that a wrong path is told at once
label: check-studies $(LABEL)
	@case "$$STUDIES" in /*|http://*|https://*) studies=$$STUDIES ;; *) studies=$$CALLER/$$STUDIES ;; esac; \
	exec $(LABEL_VENV) -m monai_semgan label --host "$(HOST)" --port "$(PORT)" --bundles $(MODELS) -- "$$studies"

.PHONY: check-studies
check-studies:
	@if [ -z "$$STUDIES" ]; then \
		echo "STUDIES is needed: make label STUDIES=dir [MODELS='bundles/...'] [PORT=8000]" >&2; exit 2; fi; \
	case "$$STUDIES" in http://*|https://*) exit 0 ;; /*) studies=$$STUDIES ;; *) studies=$$CALLER/$$STUDIES ;; esac; \
	if [ ! -d "$$studies" ]; then echo "STUDIES is no folder: $$studies" >&2; exit 2; fi

test: $(DEV)
	$(VENV) -m pytest -p no:cacheprovider $(PYTEST_ARGS)

# one after the other: they share a server
test-label: $(LABEL_DEV)
	$(LABEL_VENV) -m pytest -p no:cacheprovider tests/label

test-wheel: $(DEV)
	@$(VENV) -m tests.wheel_check

lint: $(DEV)
	$(VENV) -m ruff check --no-cache monai_semgan tests docs configs
	$(VENV) -m ruff format --no-cache --check monai_semgan tests docs configs
	$(VENV) -m mypy

# warnings are errors
docs: $(DEV)
	@rm -rf docs/api/generated build/docs
	$(VENV) -m sphinx -W --keep-going -q -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

gpu-check: $(RUNTIME)
	@$(VENV) -m tests.gpu_check

.venv/bin/python .venv-label/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
		echo "$(PYTHON) is not Python 3.10, 3.11 or 3.12. Name one: make PYTHON=python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(PYTHON) -m venv $(@:/bin/python=) || { rm -rf $(@:/bin/python=); \
		echo "$(PYTHON) cannot make a virtual environment (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }

$(RUNTIME): setup.cfg pyproject.toml | $(VENV)
	@echo "Installing into .venv (once, several minutes)"
	$(VENV) -m pip install --quiet -e ".[dicom,seg]"
	@touch $@

# the runtime is part of it, so that the next make demo installs nothing
$(DEV): setup.cfg pyproject.toml | $(VENV)
	@echo "Installing into .venv (once, several minutes)"
	$(VENV) -m pip install --quiet -e ".[dicom,seg,onnx,dev]"
	@touch $(RUNTIME) $@

$(LABEL): setup.cfg pyproject.toml label-constraints.txt | $(LABEL_VENV)
	@echo "Installing MONAI Label into .venv-label (once, several minutes, 8 GB)"
	$(LABEL_VENV) -m pip install --quiet -c label-constraints.txt -e ".[dicom,label]"
	@touch $@

$(LABEL_DEV): setup.cfg pyproject.toml label-constraints.txt | $(LABEL_VENV)
	@echo "Installing MONAI Label into .venv-label (once, several minutes, 8 GB)"
	$(LABEL_VENV) -m pip install --quiet -c label-constraints.txt -e ".[dicom,label,label-test]"
	@touch $(LABEL) $@

clean:
	rm -rf .venv .venv-label build dist demo_output .mypy_cache .ruff_cache .pytest_cache \
		.hypothesis docs/api/generated *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
