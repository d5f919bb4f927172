# Every target makes .venv if it is missing or older than what it is made from. Try: make

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
STAMP := .venv.stamp
EXTRAS ?= dev,docs
EXP ?=
DATA ?=
SET ?=
SWEEP ?=
WORKERS ?= 2
TRIALS ?=
STUDY ?=
WORLD ?=
ONLY ?=
RUN ?= $(if $(EXP),runs/$(EXP))

# A file's tests stay together: what a file makes for all of its tests is made once.
PYTEST := $(PY) -m pytest -q -n auto --maxprocesses 4 --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup check list test test-all browser experiment sweep study collect report compare drift summary bench gpu-proof
.PHONY: kill-matrix nano docs tour wheel lint clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## make the environment in .venv

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is $$($(PYTHON) -V 2>&1), and Python 3.11 or newer is needed. Try: make PYTHON=python3.11" >&2; exit 1; }
	@echo "setting up $(VENV) (a few minutes the first time)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install -qq -c constraints.txt -e '.[$(EXTRAS)]'
	@touch $@
	@echo "ready: make help, or source $(VENV)/bin/activate and apo --help"

check: $(STAMP) ## load and build every experiment file, without training
	@$(PY) -m apo_lightning check

list: $(STAMP) ## print what an experiment can name: data sets, teachers, losses, callbacks, prompts
	@$(PY) -m apo_lightning list

test: lint ## lint, then every test that is not slow and needs no GPU and no published weights
	@$(PYTEST)

test-all: lint ## the slow tests too
	@$(PYTEST) -m "not gpu and not hf"

# The tests of reports in a browser are skipped where there is none; root of a machine with apt gets one.
browser: $(STAMP) ## see that a Chromium is there for the tests of reports, and install one where we may
	@for name in chromium chromium-browser google-chrome chrome; do command -v $$name >/dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		{ apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium >/dev/null; } || \
			echo "no Chromium could be installed: the browser tests will be skipped" >&2; \
	else echo "no Chromium here: the browser tests will be skipped; install one with your package manager" >&2; fi

experiment: $(STAMP) ## run one: EXP=name [SET="a.b=c d.e=f"]; without EXP, print their names
ifeq ($(EXP),)
	@echo 'usage: make experiment EXP=name [SET="key=value ..."]'
	@for file in experiments/*.yaml experiments/*_vl_*/*.yaml experiments/worlds/*.yaml; do name=$${file#experiments/}; \
		printf '  %-26s %s\n' "$${name%.yaml}" "$$(sed -n '1s/^# *//p' $$file)"; done
else
	@$(PY) -m apo_lightning run '$(EXP)' --set "$$SET"
endif

sweep: $(STAMP) ## run a sweep file here: SWEEP=name [WORKERS=2 TRIALS=n SET="..."]; without SWEEP, print their names
ifeq ($(SWEEP),)
	@echo 'usage: make sweep SWEEP=name [WORKERS=2 TRIALS=n SET="key=value ..."]'
	@for file in experiments/sweeps/*.yaml; do \
		printf '  %-24s %s\n' "$$(basename $$file .yaml)" "$$(sed -n '1s/^# *//p' $$file)"; done
else
	@$(PY) -m apo_lightning sweep '$(SWEEP)' --workers '$(WORKERS)' $(if $(TRIALS),--trials '$(TRIALS)') --set "$$SET"
endif

study: $(STAMP) ## an equal budget for every arm: STUDY=name [WORLD="a b" ONLY=search SET="..."]; without STUDY, print their names
ifeq ($(STUDY),)
	@echo 'usage: make study STUDY=name [WORLD="name ..."] [ONLY=search|final|table] [SET="key=value ..."]'
	@for file in experiments/study/*.yaml; do \
		printf '  %-24s %s\n' "$$(basename $$file .yaml)" "$$(sed -n '1s/^# *//p' $$file)"; done
else
	@$(PY) -m apo_lightning study '$(STUDY)' $(foreach world,$(WORLD),--world '$(world)') $(if $(ONLY),--only '$(ONLY)') --set "$$SET"
endif

collect: $(STAMP) ## ask the teachers of an experiment for their texts: EXP=name [SET="--dry-run --budget money=5 a.b=c"]
	@$(PY) -m apo_lightning collect '$(EXP)' --set "$$SET"

report: $(STAMP) ## write a report again: EXP=name or RUN=folder, of the newest run without; RUN="a b": side by side
	@$(PY) -m apo_lightning report $(RUN)

drift: $(STAMP) ## how teachers disagree: EXP=name, RUN=folder or file [SET="--student --encoder FOLDER"]
	@$(PY) -m apo_lightning drift $(RUN) --set "$$SET"

summary: $(STAMP) ## look at a data set: DATA=name SET="root=FOLDER ..."; without DATA, print their names
	@$(PY) -m apo_lightning data summary $(if $(DATA),'$(DATA)') --set "$$SET"

compare: $(STAMP) ## what differs between runs, in settings, measures and answers: RUN="a b" [SET="--arm NAME"]
	@$(PY) -m apo_lightning compare $(RUN) --set "$$SET"

bench: $(STAMP) ## run the benchmarks beside TRL and torchxrayvision, but for those that ask for files of yours
	@$(PY) -m pip install -qq -c constraints.txt -e '.[dev,bench]'
	@$(PY) -m pip install -qq --no-deps torchxrayvision==1.5.7  # it asks for torchvision, which the benchmark does without
	@set -e; for file in benchmarks/*.py; do \
		grep -q __main__ "$$file" || continue; \
		case "$$file" in *gpu_proof.py|*critique_*.py|*drift_example.py|*kill_matrix.py|*open_teachers.py|*reader*.py) continue;; esac; \
		echo "== $$file"; $(PY) "$$file"; done

gpu-proof: $(STAMP) ## what a step costs at 7B, on one GPU of 80 GB in 8 minutes: [SET="--minutes 5 --out FILE"]
	@$(PY) benchmarks/gpu_proof.py $(SET)

kill-matrix: $(STAMP) ## 40 kills at random moments, in one process and in two, and is all as if nobody had? [SET="--kills 4 --only ddp"]
	@$(PY) benchmarks/kill_matrix.py $(SET)

nano: $(STAMP) ## train the embedded student again from its recipe, into build/nano (an hour, on cores that nobody else uses)
	@OMP_WAIT_POLICY=$${OMP_WAIT_POLICY:-active} $(PY) -m apo_lightning.nano  # measured so: .53 s a step

docs: $(STAMP) ## build the docs site in build/site, without a network; a warning is an error
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict  # --quiet would drop the warnings uncounted
	@echo "docs: build/site/index.html (with its search: $(PY) -m http.server -b 127.0.0.1 -d build/site)"

tour: $(STAMP) ## run docs/tour.ipynb and keep what it shows
	@$(PY) -m pip install -qq -c constraints.txt -e '.[notebook]'
	@$(PY) docs/hooks/notebook.py docs/tour.ipynb

# What an earlier build left in build/ would be taken along. The sdist is built first, and the wheel of it.
wheel: $(STAMP) ## build the wheel and the sdist into dist/
	@rm -rf build dist
	@$(PY) -m build --no-isolation >build.log 2>&1 || { cat build.log >&2; exit 1; }
	@rm -f build.log; ls dist/*

lint: $(STAMP) ## ruff: mistakes and layout
	@$(PY) -m ruff check --quiet .
	@$(PY) -m ruff format --check --quiet .

clean: ## remove the environment and caches, never the runs
	@rm -rf $(VENV) $(STAMP) build build.log dist *.egg-info .ruff_cache .pytest_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
