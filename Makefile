# Two commands: `make demo` (the runtime alone, no PyTorch) and `make test`.
PYTHON ?= python3
DEMO := .venv
TEST := .venv-test

.PHONY: demo test check weights clean

demo: $(DEMO)/.installed
	@mkdir -p out
	@$(DEMO)/bin/roadseg run --source samples/drive.mp4 --output out/demo.mp4 --no-show

test: $(TEST)/.installed
	@$(TEST)/bin/python -m pytest

check: $(TEST)/.installed
	@$(TEST)/bin/ruff format --check .
	@$(TEST)/bin/ruff check .
	@$(TEST)/bin/mypy

$(DEMO)/.installed: pyproject.toml
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --editable .
	@touch $@

$(TEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(TEST)
	$(TEST)/bin/pip install --quiet --editable '.[test]'
	@touch $@

# New weights: quantise, measure and write what a training run reached.
#   make weights RUN=runs/segnet-lite DATA=CamVid
#   make weights RUN=runs/segnet DATA=CamVid ARGS=--no-int8      FP16 weights alone
weights: $(TEST)/.installed
	@$(TEST)/bin/roadseg release-weights --run $(RUN) --data $(DATA) --note "$(NOTE)" $(ARGS)

clean:
	rm -rf $(DEMO) $(TEST) out build *.egg-info
