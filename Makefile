# orgkey-escrow: every target works from a fresh clone with Python >= 3.11, make and gpg.
# The system's own first: distributions build it with all optimisations. One without venv is of no use here.
PYTHON ?= $(shell for v in /usr/bin/python3 python3.13 python3.12 python3.11 python3; do $$v -c 'import ensurepip, sys; sys.exit(not (3,11) <= sys.version_info[:2] <= (3,13))' 2>/dev/null && echo $$v && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Three for each core: much of a run is waiting for servers.
WORKERS ?= $(shell expr 3 '*' $$(getconf _NPROCESSORS_ONLN))
# What is compiled stays: else each worker of a test run would compile all tests anew, seven seconds of processor time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
# Every target with a line of help makes no file of its name.
.PHONY: $(shell sed -n 's/^\([a-z-]*\):.*\#\# .*/\1/p' $(MAKEFILE_LIST))

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
# uv takes a third of pip's time. It does not read pip's configuration: who names an index there installs with pip.
UV_INSTALLS = ! $(BIN)/python -m pip config list | grep -q index-url \
	  && awk '/^uv==/,!/\\$$/' requirements.lock >$(VENV)/uv.lock && $(PIP) --require-hashes -r $(VENV)/uv.lock \
	  && $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --no-deps --require-hashes -r requirements.lock

setup: $(READY) ## Make .venv with everything; the command is then .venv/bin/orgkey

$(READY): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python 3.11, 3.12 or 3.13 with venv found; on Debian: apt install python3-venv, or set PYTHON=/path/to/python" >&2; exit 4; }
	@command -v gpg >/dev/null || { echo "gpg is missing; on Debian: apt install gnupg" >&2; exit 4; }
	@echo "setting up $(VENV) with $(PYTHON); this takes a minute or two" >&2
	@$(PYTHON) -m venv $(VENV)
	@$(UV_INSTALLS) || $(PIP) --require-hashes -r requirements.lock
	@$(PIP) --no-build-isolation --editable .
	@$(BIN)/python -m compileall -q pipeline
	@touch $(READY)

servers: setup ## Build what no package brings of the stack's servers; some two minutes, once
	@$(BIN)/orgkey stack build

stack: setup ## Start the local stack: OpenBao, versitygw and a KMS emulation
	@$(BIN)/orgkey stack up

demo: ## The whole job on real servers that it starts itself
	@PYTHON="$(PYTHON)" MAKE="$(MAKE)" sh infra/demo/demo.sh

tools: setup ## Build what only tests run: kustomize; a minute, once
	@$(BIN)/python -m tools.build

# The servers are built first: no test's time-out has to cover that.
test: servers tools ## Run all tests; with T=PATH those of a file or folder
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(T)

check: lint servers ## What a change is checked with while it is made: lint, unit and contract tests
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal tests/unit tests/contract

lint: setup ## Format, style, types, docstrings, import direction
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## Apply the format
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

GENERATED := exit_codes man permissions reference sbom schedule stack_policies terraform verify_page
generate: setup ## Make the generated pages and files anew: docs/reference, exit codes, schedule, policies
	@for name in $(GENERATED); do $(BIN)/python -m tools.make_$$name >/dev/null || exit 1; done

transcript: setup ## Run the demo, and put what it prints into the docs
	@$(BIN)/python -m tools.make_transcript

# Needs Chromium and pdftoppm (poppler-utils).
pictures: servers ## Take the docs' pictures anew: report, sheet, posture, status; a minute, on a stack of its own
	@$(BIN)/python -m tools.make_pictures

site: setup ## Build the documentation as a site: build/documentation/site; READ=1 has axe read each page, minutes
	@$(BIN)/python -m tools.make_site $(if $(READ),read)

# Only what runs in the tests' own process is seen; most of the command line is tested in processes of its own.
coverage: setup ## Which lines the unit and component tests reach; the page is build/coverage/index.html
	@mkdir -p build/coverage
	@$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal --cov --cov-report=term --cov-report=html:build/coverage \
	  tests/unit tests/component

mutants: setup ## Which changes of the deciding modules no test notices; an hour, with SAMPLE=, SEED=, AGAIN=1
	@$(BIN)/python -m tools.mutants --sample $(or $(SAMPLE),400) --seed $(or $(SEED),1) $(if $(AGAIN),--again)

bench: setup ## Measure against peers, side by side in one run
	@$(BIN)/python -m tests.bench

# Each bundle is altered by chance; SEED in the test decides. With COUNT=100 fewer.
auditor: servers ## Hold verify.html against the commands of VERIFY.txt, on 1,000 altered bundles; six minutes
	@ORGKEY_ALTERED_BUNDLES=$(or $(COUNT),1000) $(BIN)/python -m pytest -q -s --timeout 7200 \
	  tests/e2e/test_verify_html.py -k agree

# Needs root or user namespaces; fetches what it runs. With NAMES="MiniStack moto" some of them.
interop: servers ## Run against other servers and programs; half an hour, writes docs/reference/interop.md
	@$(BIN)/python -m tools.interop $(NAMES)

image: servers ## Build the image and run the main job in it; as root, some minutes
	@$(BIN)/python -m tools.image

# Needs root, Rust and some Debian packages, which it names where they are missing.
card: servers ## Play a custodian with smart cards: real gpg, pinentry and pcscd, cards of software; two minutes
	@$(BIN)/python -m tools.card

kubernetes: servers ## Apply the manifests to Kubernetes, run their pods with the image; as root, a quarter of an hour
	@$(BIN)/python -m tools.kubernetes

machine: servers ## Run units, Ansible role and .deb on a Debian that boots systemd; as root, a quarter of an hour
	@$(BIN)/python -m tools.machine $(if $(DEBIAN),--debian $(DEBIAN)) $(PARTS)

# Providers are those of the plugin directories, or below TF_PLUGINS; none is fetched. PROGRAM=terraform builds nothing.
terraform: servers ## Format, lint, check and apply the modules of infra/terraform, with OpenTofu
	@$(BIN)/python -m tools.terraform $(PROGRAM)

packages: setup ## Build the .deb and the .rpm, and try them in a Debian of their own, which needs root and debootstrap
	@$(BIN)/python -m tools.packages $(STEPS)

# Not at the locked versions: what somebody gets who installs today. The constraints are those of pyproject.toml.
newest: ## Prove keys with the newest releases that the constraints allow; fetches them
	@$(PYTHON) -m venv --clear .newest
	@.newest/bin/python -m pip install --quiet --disable-pip-version-check . hypothesis pytest pytest-timeout
	@.newest/bin/python -m pip list --disable-pip-version-check | grep -iE '^(cryptography|pgpy|pysequoia) '
	@.newest/bin/python -m pytest -q -p no:cacheprovider tests/component/proofs/test_forms_of_keys.py tests/component/proofs/test_known_answer.py
	@rm -rf .newest

# The second is what a production host installs, the third what builds the wheel: the first's versions.
LOCK := $(BIN)/uv pip compile -q --no-header --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links
lock: setup ## Renew the three lock files: versions and hashes only
	@$(LOCK) pyproject.toml --extra dev -o requirements.lock
	@$(LOCK) --no-annotate -c requirements.lock pyproject.toml --extra notify --extra pdf -o requirements-production.lock
	@printf 'hatchling\nsetuptools\n' | $(LOCK) --no-annotate -c requirements.lock - -o requirements-build.lock

# Signed with RELEASE_KEY=FINGERPRINT; without it nothing is signed, and it says so.
release: setup ## Build wheel and source from two clones, with SBOM, sums and provenance: dist/orgkey-escrow-VERSION
	@$(BIN)/python -m tools.release

release-check: setup ## Make a release with a throwaway key, and install it on each Python as docs/install.md says
	@$(BIN)/python -m tools.release check

# With DEBIAN=trixie on one of the two.
ten-minutes: setup ## Type README and tutorial on fresh Debians 12 and 13; as root, a quarter of an hour
	@test "$$(id -u)" = 0 || { echo "run it as root: it makes file systems, and mounts" >&2; exit 4; }
	@unshare --mount --pid --fork --kill-child --mount-proc --propagation private \
	  $(BIN)/python -m tools.ten_minutes $(DEBIAN)

wheel: setup ## Build the wheel
	@$(BIN)/python -m build --no-isolation --wheel

clean: ## Remove what the targets made (not the servers' cache, not a running stack)
	rm -rf $(VENV) build dist mutants .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
