"""A client with one job that counts: `python -m tests.cluster.one_job CLUSTER FOLDER`; status 3.

In place it counts in the folder itself, where the client has its results from elsewhere.
"""

import os
import sys
from pathlib import Path

from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import ClusterRun, Job, Outcome
from eggan.files import write_json
from eggan.signals import stop_as_interrupt
from tests.cluster.counting import in_place, job


def main(cluster: str, folder: Path) -> int:
    """Run the job and write how it ended."""
    (folder / "notes").mkdir(exist_ok=True)
    until = int(os.environ.get("COUNT_UNTIL", "10"))
    choice = ClusterChoice(cluster)
    given = job(folder / "cells", folder / "notes", until=until, step_seconds=0.05)
    if choice.is_local:
        given = in_place(given)

    def ended(_job: Job, outcome: Outcome) -> None:
        state = folder / "cells" / "count" / "training_state.pt"
        number = int(state.read_text()) if state.exists() else None
        write_json({"status": outcome.status, "number": number}, folder / "outcome.json")

    try:
        with stop_as_interrupt(), connected(choice) as client:
            ClusterRun(client, iter([given]), ended).run()
    except KeyboardInterrupt:
        return 130
    return 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
