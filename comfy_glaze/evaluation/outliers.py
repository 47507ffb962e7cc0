"""Outlier detection: can a mimic who owns some originals pick out the cloaked ones? (Glaze, §7)

A one-class SVM is trained on features of a few originals and asked about the rest.  The paper uses
a network trained with a contrastive loss on ImageNet; any extractor can be named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..judges.intervals import Interval, mean_interval
from ..optional import PackageError, import_optional

KNOWN = 20
"""Originals that the mimic is sure of, as in the paper."""


@dataclass(frozen=True)
class Detection:
    """How well cloaked works are told from originals.

    Attributes:
        precision: of what is called an outlier, the share that is cloaked; None when nothing is.
        recall: of the cloaked works, the share that is called one.
        false_alarms: of the other originals, the share that is called one.
    """

    precision: Interval | None
    recall: Interval
    false_alarms: Interval

    def as_json(self) -> dict[str, Any]:
        return {
            "precision": self.precision.as_json() if self.precision else None,
            "recall": self.recall.as_json(),
            "false_alarms": self.false_alarms.as_json(),
        }


def is_outlier(known: Tensor, others: Tensor, nu: float = 0.1) -> list[bool]:
    """What a one-class SVM trained on ``known`` says about ``others``, features (N, D).

    Features are standardised by the known ones, and reduced to as many principal directions as
    there are known works; the kernel is scikit-learn's usual one.

    Args:
        nu: about the share of known works that may lie outside.

    Raises:
        ValueError: scikit-learn is not installed, or broken.
    """
    try:
        decomposition, pipeline, preprocessing, svm = (
            import_optional(f"sklearn.{part}", "scikit-learn", '"comfy-glaze[lab]"')
            for part in ("decomposition", "pipeline", "preprocessing", "svm")
        )
    except PackageError as error:
        raise ValueError(f"Outlier detection needs {error}.") from error
    judge = pipeline.make_pipeline(
        preprocessing.StandardScaler(),
        decomposition.PCA(min(known.shape) - 1),
        svm.OneClassSVM(nu=nu),
    )
    judge.fit(known.numpy())
    return [bool(verdict < 0) for verdict in judge.predict(others.numpy())]


def detect(
    originals: Sequence[Tensor], cloaked: Sequence[Tensor], draws: int = 20, seed: int = 0
) -> Detection:
    """Precision and recall over artists and random choices of the known works.

    The intervals are over artists; with one artist, over the choices of known works alone.

    Args:
        originals: features (N, D) of each artist's works, N of 21 or more.
        cloaked: features of the same works cloaked, in the same order.
        draws: how often the known works are drawn anew for each artist.

    Raises:
        ValueError: an artist has too few works, or not a cloak for each.
    """
    random = np.random.default_rng(seed)
    precision, recall, alarms = [], [], []
    groups: list[int] = []
    called: list[int] = []
    for artist, (own, others) in enumerate(zip(originals, cloaked, strict=True)):
        if own.shape != others.shape or len(own) <= KNOWN:
            raise ValueError(
                f"Expected more than {KNOWN} works and a cloaked one for each, but got features "
                f"{tuple(own.shape)} and {tuple(others.shape)}."
            )
        for _ in range(draws):
            order = random.permutation(len(own))
            known, rest = order[:KNOWN], order[KNOWN:]
            verdicts = np.array(is_outlier(own[known], torch.cat([own[rest], others[rest]])))
            false, true = verdicts[: len(rest)].sum(), verdicts[len(rest) :].sum()
            recall.append(true / len(rest))
            alarms.append(false / len(rest))
            groups.append(artist)
            if false + true:
                precision.append(true / (false + true))
                called.append(artist)
    return Detection(
        mean_interval(precision, called if len(originals) > 1 else None) if precision else None,
        mean_interval(recall, groups if len(originals) > 1 else None),
        mean_interval(alarms, groups if len(originals) > 1 else None),
    )
