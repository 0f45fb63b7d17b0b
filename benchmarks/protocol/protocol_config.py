"""The numbers of the protocol, apart from its code: reports read them without loading torch."""

from dataclasses import dataclass

from eggan.config import setting


@dataclass(frozen=True)
class Protocol:
    """What is asked of a method, and how often. Part of every cell's key."""

    name: str = setting("paper", "ours: names the protocol in keys and tables")
    splits: tuple[str, ...] = setting(("test", "wide"), "ours: nine test identities carry few claims")
    pairs: int = setting(0, "paper, Sec. 4.2: all 1,392 targets (0); fewer is a balanced subset")
    seed: int = setting(0, "ours: of the source assignment")
    probe_sources: int = setting(27, "ours: neutral faces whose AUs are moved one at a time")
    sequences: int = setting(108, "ours: pairs interpolated along Eq. 8")
    alphas: int = setting(7, "ours: frames of a sequence, alpha from 0 to 1")
    showcase: int = setting(6, "ours: faces shown in figures")
    target_splits: tuple[str, ...] = setting(
        ("train", "val"), "paper: its 58 training identities; six are kept here for validation", later=True
    )
    version: int = setting(2, "ours: counts changes of the protocol's code that alter scores")
