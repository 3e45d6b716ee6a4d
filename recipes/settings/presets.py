"""Named presets of --pipeline and --reproduce. Imports no package of ours, as --help reads it and must be fast."""

from pathlib import Path
from typing import Any

import yaml

TABLES_FILE = Path(__file__).with_name("reproduce.yaml")

PIPELINES = {file.stem: file for file in sorted((Path(__file__).parent / "pipelines").glob("*.yaml"))}
"""Pipeline files by name."""

TABLES: dict[str, dict[str, Any]] = yaml.safe_load(TABLES_FILE.read_text(encoding="utf-8"))
"""Published tables, by name."""
