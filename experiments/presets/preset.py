"""What a preset is, the settings of one learner on one benchmark, and the readings that all benchmarks share."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

Semantics: TypeAlias = Literal["released", "paper"]
Protocol: TypeAlias = Literal["single", "multi"]

# How the authors' code and their text draw replayed examples, and what a glance is.
RELEASED_GLANCES = {
    "replacement": True,
    "age_inclusive": True,
    "push_epochs": "first",
    "shuffle_glances": True,
}
TEXT_REPLAY = {"replacement": False, "age_inclusive": False}
TEXT_GLANCES = {**TEXT_REPLAY, "shuffle_glances": False}
TEXT_META = {**TEXT_GLANCES, "meta_loss_at": "last", "push_epochs": "every"}

_NONE: Mapping[str, Any] = {}


class Preset(NamedTuple):
    """The settings of one learner on one benchmark.

    Attributes:
        keywords: Of the learner's factory, under the released code's reading of the method.
        paper: What changes in them under the paper's reading.
        multi: What changes in them in the multi-pass protocol, beside one glance per batch; None where the learner is
            not run in it.
        multi_stream: What changes in the benchmark's factory's keywords in the multi-pass protocol.
        stream: Keywords of the benchmark's factory.
        network: Keywords of the network.
    """

    keywords: Mapping[str, Any]
    paper: Mapping[str, Any] = _NONE
    multi: Mapping[str, Any] | None = _NONE
    multi_stream: Mapping[str, Any] = _NONE
    stream: Mapping[str, Any] = _NONE
    network: Mapping[str, Any] = _NONE
