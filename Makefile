# Short names for what README and CONTRIBUTING say.
.PHONY: install test quick lint dry

install:   ## environment and stack of this machine, with the development tools
	./install.sh --dev

test:      ## all tests, under 30 minutes on two cores
	python3 -m tests

quick:     ## without training runs
	python3 -m tests quick

lint:
	.venv/bin/python -m ruff check . && .venv/bin/python -m ruff format --check . && .venv/bin/python -m mypy

dry:       ## what the main job would do
	python3 run.py --algo uft --data countdown --dry_run
