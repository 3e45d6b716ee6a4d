"""A stage that evaluates a model: `python -m recipes.evaluate_stage FOLDER/evaluate.json`, results in FOLDER."""

import json
import sys
from pathlib import Path

from eval.evaluate import evaluate
from recipes.records import Records
from recipes.run_dir import RunDir, append_metrics


def main() -> None:
    """Evaluate and add the result to the metrics of the run the stage belongs to."""
    file = Path(sys.argv[1])
    folder, arguments = file.parent, json.loads(file.read_text())
    step, owner = arguments.pop("step"), RunDir(Path(arguments.pop("run")))
    data = Path(arguments.pop("data"))
    records = Records(folder, total_steps=1)
    records.phase("validating", 0)
    result = evaluate(data=data, out=folder, **arguments)
    found = {"val/acc": result.accuracy, "val/format": result.format_rate, "val/truncated": result.truncation_rate}
    append_metrics(owner.metrics, step, found)
    records.log(step, found)
    records.phase("finished", 1)


if __name__ == "__main__":
    main()
