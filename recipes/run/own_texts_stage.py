"""A stage that measures forgetting: `python -m recipes.run.own_texts_stage FOLDER/own_texts.json`."""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from eval.evaluate import RESULTS
from eval.own_texts import measure
from recipes.common.records import Records
from recipes.common.run_dir import RunDir, replace_metrics, write_json

METRIC = "val/forgetting"


def main() -> None:
    """Measure, and add the result to the metrics of the run."""
    file = Path(sys.argv[1])
    folder, given = file.parent, json.loads(file.read_text(encoding="utf-8"))
    records = Records(folder, total_steps=1)

    def progress(done: int, total: int) -> None:
        records.headline({"texts": done, "of": total})
        records.phase("validating", 0)

    found = measure(**given["measured"], progress=progress)
    write_json(folder / RESULTS, {**asdict(found), "nats": found.nats})
    records.headline({})
    replace_metrics(RunDir(Path(given["run"])).metrics, given["step"], {METRIC: found.nats})
    records.phase("finished", 1)


if __name__ == "__main__":
    main()
