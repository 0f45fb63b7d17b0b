"""What the readers of a suite's scores must know about the data and instruments beneath them."""

from collections.abc import Iterator, Sequence

from benchmarks.protocol.edit_requests import SplitData, has_neutral
from benchmarks.scoring.scores import single_image_people
from eggan.evaluation.reading import Instruments, described

SHIPPED_NAMES = ("au_a", "au_b", "au_landmarks", "verifier")  # of the instruments that learnt from renderings


def notes_on(splits: Sequence[SplitData], instruments: Instruments) -> list[str]:
    """Return one sentence per thing that is other than on SynFACS with the shipped instruments."""
    return list(dict.fromkeys(note for data in splits for note in _notes(data, instruments)))


def _notes(data: SplitData, instruments: Instruments) -> Iterator[str]:
    dataset = data.sources
    if not dataset.is_synfacs:
        yield (
            f"{dataset.name} has no ground truth: right pixels are not measured and the reference oracle is "
            "left out"
        )
        read_by = {described(scorer)["name"] for scorer in (instruments.a, instruments.verifier)}
        learnt = sorted(read_by.intersection(SHIPPED_NAMES))
        if learnt:
            yield (
                f"{dataset.name} has photographs, but {' and '.join(learnt)} learnt from renderings: these "
                "scores are a makeshift"
            )
    unreadable = described(instruments.a).get("unreadable", [])
    if unreadable:
        yield (
            f"the AU instrument sees landmarks alone and does not read {_listed(unreadable)}: every mean "
            "over AUs is without them"
        )
    alone = single_image_people(data)
    if alone:
        yield (
            f"{len(alone)} of {data.pairs['source_identity'].nunique()} people of {dataset.name}'s split "
            f"{data.split} have a single image: they are left out of the real pairs"
        )
    if not has_neutral(dataset, data.split):
        yield (
            f"no image of {dataset.name}'s split {data.split} is labelled neutral: the source of each person "
            "is the image with the smallest sum of AUs"
        )
    if described(instruments.verifier).get("framing") == "the dataset's":
        yield (
            f"the faces of {dataset.name} are not known to be aligned by the eyes: LightCNN sees another "
            "framing than its own"
        )


def _listed(columns: Sequence[str]) -> str:
    """Return `AU6, AU9 and AU14`."""
    names = [f"AU{int(column.removeprefix('au'))}" for column in columns]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
