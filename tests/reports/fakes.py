"""A small made-up suite: noise with a known structure, no images of people."""

import numpy as np
import pandas as pd

from benchmarks.protocol.protocol_config import Protocol
from eggan.aus import AU_COLUMNS, AU_NUMBERS, EXPRESSIONS
from reports.suite.frame import TABLES, Frame

SUITE = "quick"
DATASET = "synfacs-twin-64"
TARGETS = 40
# method -> (share of the way to the target AUs, noise, similarity)
BEHAVIOUR = {
    "copy-source": (0.0, 0.02, 1.0),
    "target-passthrough": (1.0, 0.05, 0.1),
    "mean-au": (0.0, 0.3, 0.9),
    "eggan": (0.8, 0.2, 0.8),
    "oracle": (1.0, 0.05, 0.95),
}


def pair_table(method: str, seed: int, split: str) -> pd.DataFrame:
    """Pairs of one run; AU45 never varies, so that its PCC is undefined."""
    shared = np.random.default_rng(1 if split == "test" else 2)
    target = shared.uniform(0, 5, (TARGETS, 17)) * (shared.uniform(size=(TARGETS, 17)) < 0.4)
    target[:, -1] = 0.0
    source = np.zeros((TARGETS, 17))
    own = np.random.default_rng([seed, sorted(BEHAVIOUR).index(method), len(split)])
    way, noise, similarity = BEHAVIOUR[method]
    read = np.clip(source + way * (target - source) + noise * own.standard_normal(target.shape), 0, 5)
    read_b = np.clip(read + 0.05 * own.standard_normal(target.shape), 0, 5)
    read[:, -1] = 0.0
    alike = np.clip(similarity + 0.05 * own.standard_normal(TARGETS), -1, 1)
    parts = {"target": target, "a": read, "b": read_b, "source_a": source}
    columns = {
        f"{name}_{au}": values[:, i] for name, values in parts.items() for i, au in enumerate(AU_COLUMNS)
    }
    head = {
        "pair": np.arange(TARGETS),
        "source_identity": [f"p{i % 6}" for i in range(TARGETS)],
        "target_row": np.arange(TARGETS) // 2,
        "target_identity": [f"q{i // 8}" for i in range(TARGETS)],
        "target_expression": [EXPRESSIONS[i % 8] for i in range(TARGETS)],
    }
    pixels = {
        "psnr": 20 + 5 * way + own.standard_normal(TARGETS),
        "msssim": 0.8,
        "lpips": np.nan,
        "background": 0.01,
    }
    return pd.DataFrame({**head, **columns, "similarity": alike, "same": alike > 0.6, **pixels})


def run(method: str, seed: int, state: str = "finished", reason: str = "") -> dict[str, object]:
    """The head of one cell."""
    known = {
        "run_id": f"{method}-s{seed}",
        "suite": SUITE,
        "dataset": DATASET,
        "method": method,
        "title": "",
        "learns_from": "",
        "seed": seed,
        "state": state,
        "reason": reason,
        "cell": f"key-{method}-{seed}",
        "commit": "0123456789abcdef",
        "dirty": "false",
        "machine": "Linux x86_64, 2 cores, cpu",
        "budget": "",
        "ran_as": SUITE,
        "dataset_digest": "synfacs-twin-64 abcdef",
        "started_ms": 1_700_000_000_000,
        "instruments": "a aaaa; b bbbb; verifier cccc",
        "seconds": 61.0,
        "protocol_version": Protocol().version,
    }
    return {name: known[name] for name in TABLES["cells"]}


def metrics_of(split: str) -> dict[str, float]:
    """Metrics that have no pairs."""
    return {
        f"{split}/identity/false_accept_rate": 1.5,
        f"{split}/identity/real_accuracy": 98.75,
        f"{split}/identity/similarity_p05": 0.7,
        f"{split}/drift/off_target": 0.2,
        f"{split}/control/spearman": 0.9,
        f"{split}/control/slope": 0.8,
        f"{split}/control/monotone": 0.95,
        f"{split}/au/mae": 0.2,
        f"{split}/au/icc": 0.7,
        f"{split}/pixels/msssim_w3": 0.8,
        "cost/train_seconds": 60.0,
        "cost/parameters": 1e6,
        "cost/images_per_second": 31.5,
        "cost/edit_ms_b1": 3.2,
        "cost/edit_ms_b64": 80.0,
        "cost/peak_memory_mib": 900.0,
    }


def showcase(method: str) -> dict[str, np.ndarray]:
    """Gradient pictures, 16 px."""
    ramp = np.linspace(0, 255, 16).astype(np.uint8)
    tile = np.stack(
        [np.tile(ramp, (16, 1)), np.tile(ramp[:, None], (1, 16)), np.full((16, 16), 30 * len(method) % 255)],
        -1,
    )
    tile = tile.astype(np.uint8)
    return {
        "source": np.stack([tile] * 2),
        "edits": np.broadcast_to(tile, (2, 8, 16, 16, 3)).copy(),
        "truth": np.broadcast_to(tile[::-1], (2, 8, 16, 16, 3)).copy(),
        "target_aus": np.zeros((2, 8, 17)),
        "interpolation": np.broadcast_to(tile, (2, 7, 16, 16, 3)).copy(),
        "interpolation_truth": np.broadcast_to(tile[::-1], (2, 7, 16, 16, 3)).copy(),
        "alpha": np.linspace(0, 1, 7),
    }


def make_frame(seeds: int = 3, splits: tuple[str, ...] = ("test",), failed: bool = True) -> Frame:
    """References with one seed, EGGAN with `seeds`, and StarGAN as a failed cell."""
    heads = [run(m, s) for m in BEHAVIOUR for s in range(seeds if m == "eggan" else 1)]
    tables = {name: [] for name in TABLES}
    for head in heads:
        names = {name: head[name] for name in ("run_id", "suite", "dataset", "method", "seed")}
        for split in splits:
            tables["pairs"].append(
                pair_table(str(head["method"]), int(head["seed"]), split).assign(**names, split=split)
            )
            values = metrics_of(split)
            tables["metrics"].append(
                pd.DataFrame(
                    {"metric": list(values), "value": list(values.values()), "state": "finished", **names}
                )
            )
            tables["response"].append(_response(split, str(head["run_id"])))
            tables["not_measured"].append(
                pd.DataFrame(
                    {
                        "run_id": [head["run_id"]] * 2,
                        "metric": [f"{split}/pixels/lpips", f"{split}/realism/kid"],
                        "reason": ["weights missing"] * 2,
                    }
                )
            )
        if head["method"] == "eggan":
            own = {"config.latent_dim": "256", "training.images": "32000"}
            tables["settings"].append(
                pd.DataFrame({"run_id": head["run_id"], "setting": list(own), "value": list(own.values())})
            )
            steps = np.arange(0, 500, 50)
            tables["curves"] += [
                pd.DataFrame(
                    {
                        "run_id": head["run_id"],
                        "metric": name,
                        "step": steps,
                        "value": scale * np.exp(-steps / 200),
                    }
                )
                for name, scale in (("train/au", 2.0), ("train/rec", 0.5), ("train/id", 4.0))
            ]
    if failed:
        heads.append(run("stargan", 0, "failed", "loss au became NaN at step 12"))
    tables["cells"] = [pd.DataFrame(heads)]
    built = {}
    for name, pieces in tables.items():
        table = pd.concat(pieces, ignore_index=True) if pieces else pd.DataFrame()
        first = list(TABLES[name])
        built[name] = table.reindex(columns=first + [c for c in table.columns if c not in first])
    shown = {str(h["run_id"]): showcase(str(h["method"])) for h in heads if h["state"] == "finished"}
    return Frame(**built, showcases=shown, instruments={})


def _response(split: str, run_id: str) -> pd.DataFrame:
    rows = [(run_id, split, p, r, 3.5 * (p == r) + 0.1) for p in AU_NUMBERS for r in AU_NUMBERS]
    return pd.DataFrame(rows, columns=["run_id", "split", "probed_au", "read_au", "change"])
