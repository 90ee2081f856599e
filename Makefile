# Two commands: `make demo` (the runtime alone, no PyTorch) and `make test`.
# `make demo PYTHON=python3.12` takes another Python than python3, also where there is an environment.
DEMO := .venv
TEST := .venv-test
ifdef PYTHON
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
else
PYTHON := python3
VERSION := any
endif

.PHONY: demo test check weights weights-arguments ladder temperature clean

demo: $(DEMO)/.installed
	@mkdir -p out
	@$(DEMO)/bin/roadseg run --source samples/drive.mp4 --output out/demo.mp4 --no-show

# Two processes: half of the tests wait for a clip, a camera or a process rather than compute.
#   make test JOBS=6     more of them, about 2 GB of memory each
JOBS := 2
test: $(TEST)/.installed
	@$(TEST)/bin/python -m pytest --numprocesses=$(JOBS) --dist=loadfile

check: $(TEST)/.installed
	@$(TEST)/bin/ruff format --check .
	@$(TEST)/bin/ruff check .
	@$(TEST)/bin/lint-imports
	@$(TEST)/bin/mypy

$(DEMO)/.installed: pyproject.toml $(DEMO)/.python-$(VERSION)
	$(DEMO)/bin/pip install --quiet --editable .
	@touch $@

$(TEST)/.installed: pyproject.toml $(TEST)/.python-$(VERSION)
	$(TEST)/bin/pip install --quiet --editable '.[test]'
	@touch $@

# An environment is made where there is none, or one of another Python than PYTHON= asks for.
%/.python-$(VERSION):
	@$*/bin/python -c 'import sys; sys.exit("$(VERSION)" not in ("any", "%d.%d" % sys.version_info[:2]))' \
		2>/dev/null || $(PYTHON) -m venv --clear $*
	@touch $@

# New weights: quantise, measure and write what a training run reached.
#   make weights RUN=runs/segnet-lite DATA=CamVid
#   make weights RUN=runs/segnet DATA=CamVid ARGS=--no-int8      FP16 weights alone
#   make weights MODEL=segnet-lite DATA=CamVid                   INT8 again, of the weights that ship
weights: weights-arguments $(TEST)/.installed
	@$(TEST)/bin/python -m tools.release_weights $(if $(MODEL),--model $(MODEL),--run $(RUN)) --data $(DATA) \
		--note "$(NOTE)" $(ARGS)

# The accuracy of what ships at every input that `--model auto` chooses from; `make weights` measures
# that of new weights, too.
#   make ladder DATA=CamVid
ladder: $(TEST)/.installed
	@$(TEST)/bin/python -m tools.ladder --data "$(DATA)"

# How sure what ships is of itself, against how often it is right; `make weights` fits that of new
# weights, too.
#   make temperature DATA=CamVid
temperature: $(TEST)/.installed
	@$(TEST)/bin/python -m tools.temperature --data "$(DATA)"

# Before the environment is made, which takes minutes.
weights-arguments:
	@test -n "$(MODEL)" || test -d "$(RUN)" || { echo "no folder of 'roadseg train' at RUN=$(RUN)" >&2; exit 2; }
	@test -d "$(DATA)" || { echo "no folder in the CamVid layout at DATA=$(DATA)" >&2; exit 2; }

clean:
	rm -rf $(DEMO) $(TEST) out build *.egg-info
