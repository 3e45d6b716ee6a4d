"""What --pipeline and --reproduce know by name. Read by the help, which is to be quick: imports nothing of ours."""

from pathlib import Path
from typing import Any

import yaml

TABLES_FILE = Path(__file__).with_name("reproduce.yaml")

PIPELINES = {file.stem: file for file in sorted((Path(__file__).parent / "pipelines").glob("*.yaml"))}
"""The files of stages, by name."""

TABLES: dict[str, dict[str, Any]] = yaml.safe_load(TABLES_FILE.read_text(encoding="utf-8"))
"""Published tables, by name."""
