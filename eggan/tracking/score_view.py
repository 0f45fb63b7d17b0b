"""The table of runs in MLflow's UI with the columns that matter first: a view that the experiment shares.

MLflow keeps shared views as tags of the experiment, and opens one whose key is in the address.
"""

import json

KEY = "scores"
TAG = f"mlflow.sharedViewState.{KEY}"
SPLITS = ("test", "wide")  # every suite scores the first, most score both
OF_SPLIT = ("au/mse", "au/pcc", "au/skill", "identity/accuracy", "pixels/psnr", "drift/off_target")
FIRST_METRICS = tuple(f"{split}/{metric}" for split in SPLITS for metric in OF_SPLIT)
TAGS = ("suite", "learns_from", "commit")
# Without the workflow the UI opens on an empty page for language models.
WORKFLOW = "workflowType=machine_learning"


def view_state() -> str:
    """Return the view as MLflow keeps it: columns, and runs sorted by their AU error."""
    columns = [f"metrics.`{name}`" for name in FIRST_METRICS] + [f"tags.`{name}`" for name in TAGS]
    state = {
        "orderByKey": f"metrics.`{FIRST_METRICS[0]}`",
        "orderByAsc": True,
        "selectedColumns": ["attributes.`Created`", *columns],
        "runsExpanded": {},
        "runsHidden": [],
        "runsPinned": [],
        "hideEmptyCharts": True,
        "viewMaximized": False,
        "runListHidden": False,
    }
    return json.dumps(state)


def page(experiment_id: str) -> str:
    """Return the end of the UI's address of an experiment's runs in this view; of all experiments without."""
    if not experiment_id:
        return f"#/experiments?{WORKFLOW}"
    return f"#/experiments/{experiment_id}/runs?{WORKFLOW}&viewStateShareKey={KEY}"
