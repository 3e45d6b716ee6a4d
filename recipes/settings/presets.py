"""Names known to --pipeline and --reproduce. Imports none of our code, to keep --help fast."""

from pathlib import Path
from typing import Any

import yaml

TABLES_FILE = Path(__file__).with_name("reproduce.yaml")

PIPELINES = {file.stem: file for file in sorted((Path(__file__).parent / "pipelines").glob("*.yaml"))}
"""Pipeline files by name."""

TABLES: dict[str, dict[str, Any]] = yaml.safe_load(TABLES_FILE.read_text(encoding="utf-8"))
"""Published tables, by name."""
