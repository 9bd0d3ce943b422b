"""Settings from text, and the one sentence that a bad one gets."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pytest
from helpers import MODEL, SETTING

from lamaml_jax import c_maml, er, hyper, la_maml, online
from lamaml_jax.types import NonNegative, Positive


def method(
    model: object,
    *,
    sizes: Sequence[int] = (100, 100),
    rate: NonNegative = 0.1,
    width: Positive | None = None,
    count: int = 3,
    limit: int | None = None,
    flag: bool = True,
    mode: Literal["one", "two"] = "one",
    times: Literal[1, 2] | None = None,
    either: None | bool = None,
    words: None | Literal["a", "b"] = None,
    layers: None | Sequence[int] = None,
    draw: object = None,
) -> None:
    """Have one keyword of each kind, and one without a text form."""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("rate=0.25", 0.25),
        ("rate=1e-3", 1e-3),
        ("rate=0", 0.0),
        ("width=2", 2.0),
        ("width=none", None),
        ("count=7", 7),
        ("limit=7", 7),
        ("limit=None", None),
        ("flag=false", False),
        ("flag=True", True),
        ("mode=two", "two"),
        ("times=2", 2),
        ("times=none", None),
        ("sizes=200,100", (200, 100)),
        ("sizes=200x100", (200, 100)),
        ("sizes=64", (64,)),
        ("either=false", False),
        ("words=b", "b"),
        ("layers=8x8", (8, 8)),
        ("layers=none", None),
    ],
)
def test_values_are_read_in_their_keywords_type(text: str, value: Any) -> None:
    values = hyper.parse(method, [text])
    assert values == {text.partition("=")[0]: value}
    assert [type(v) for v in values.values()] == [type(value)]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("rate", r"'rate' is not of the form name=value\."),
        ("rate=fast", r"rate is 'fast'; it must be a finite number >= 0\."),
        ("rate=none", r"rate is 'none'; it must be a finite number >= 0\."),
        ("rate=", r"rate is ''; it must be a finite number >= 0\."),
        ("width=wide", r"width is 'wide'; it must be a finite number > 0, or none\."),
        ("count=2.5", r"count is '2\.5'; it must be an integer\."),
        ("count=none", r"count is 'none'; it must be an integer\."),
        ("limit=x", r"limit is 'x'; it must be an integer, or none\."),
        ("flag=1", r"flag is '1'; it must be true or false\."),
        ("mode=three", r"mode is 'three'; it must be one, two\."),
        (
            "sizes=wide",
            r"sizes is 'wide'; it must be integers, as in sizes=200,200 or sizes=200x200\.",
        ),
        ("sizes=", r"sizes is ''; it must be integers, .*"),
        ("times=3", r"times is '3'; it must be 1, 2, or none\."),
        ("cuont=3", r"'cuont' is not a setting of method; did you mean count\?"),
        ("zzz=3", r"'zzz' is not a setting of method; there are sizes, rate, width, .*, layers\."),
        ("draw=3", r"'draw' is not a setting of method; .*"),
        ("model=3", r"'model' is not a setting of method; .*"),
    ],
)
def test_a_bad_text_gets_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=f"^{sentence}$"):
        hyper.parse(method, [text])


def test_all_texts_are_read() -> None:
    values = hyper.parse(la_maml, ["lr_init=0.3", "order=second", "clip_norm=none"])
    assert values == {"lr_init": 0.3, "order": "second", "clip_norm": None}


def test_the_nearest_names_of_a_real_factory() -> None:
    with pytest.raises(ValueError, match="'lr_int' is not a setting of la_maml; .*lr_init"):
        hyper.parse(la_maml, ["lr_int=0.1"])


def test_floats_are_parted_from_the_rest_and_defaults_filled_in() -> None:
    floats, static = hyper.part_floats(method, {"width": 2, "flag": False})
    assert floats == {"rate": 0.1, "width": 2}
    others = {"sizes": (100, 100), "count": 3, "limit": None, "mode": "one", "times": None}
    none = dict.fromkeys(("either", "words", "layers"))
    assert static == {"flag": False, **others, **none}


def test_an_absent_float_is_static() -> None:
    floats, static = hyper.part_floats(method, {})
    assert floats == {"rate": 0.1}
    assert static["width"] is None


def test_the_floats_of_the_learners() -> None:
    assert set(hyper.part_floats(online, {})[0]) == {"lr"}
    assert set(hyper.part_floats(er, {"clip_norm": 1.0})[0]) == {"lr", "clip_norm"}
    assert set(hyper.part_floats(la_maml, {})[0]) == {"lr_init", "lr_lr", "clip_norm"}
    assert set(hyper.part_floats(c_maml, {"inner_clip": 2.0, "clip_norm": None})[0]) == {
        "inner_lr",
        "outer_lr",
        "inner_clip",
    }


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("rate", -0.1, "a finite number >= 0"),
        ("rate", float("nan"), "a finite number >= 0"),
        ("rate", float("inf"), "a finite number >= 0"),
        ("rate", True, "a finite number >= 0"),
        ("rate", "0.1", "a finite number >= 0"),
        ("width", 0, "a finite number > 0"),
        ("width", -1.0, "a finite number > 0"),
    ],
)
def test_a_float_out_of_range_gets_one_sentence(name: str, value: Any, allowed: str) -> None:
    with pytest.raises(ValueError, match=f"^{name} is {value!r}; it must be {allowed}.$"):
        hyper.part_floats(method, {name: value})


def test_an_unknown_keyword_gets_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="'raet' is not a setting of method; did you mean rate?"):
        hyper.part_floats(method, {"raet": 0.1})
    with pytest.raises(ValueError, match="'draw' is not a setting of method"):
        hyper.part_floats(method, {"draw": None})


@pytest.mark.parametrize("value", ["false", 0, None, 1.0])
def test_what_is_no_bool_gets_one_sentence(value: Any) -> None:
    """Such as a setting from a file, where "false" would mean True."""
    with pytest.raises(
        ValueError, match=f"^replacement is {value!r}; it must be True or False\\.$"
    ):
        er(MODEL, SETTING, replacement=value)


def test_bools_of_numpy_are_bools() -> None:
    er(MODEL, SETTING, replacement=np.bool_(False))  # type: ignore[arg-type]


def test_only_the_annotations_of_keywords_need_be_known() -> None:
    def mine(model: "Nowhere", *, rate: "NonNegative" = 0.1) -> "Nowhere":  # type: ignore[name-defined]  # noqa: F821
        return model

    assert hyper.parse(mine, ["rate=0.5"]) == {"rate": 0.5}

    def other(model: object, *, rate: "Nowhere" = 0.1) -> None:  # type: ignore[name-defined]  # noqa: F821
        return None

    sentence = "^rate of other is annotated 'Nowhere', which raises NameError .*; it must be a type"
    with pytest.raises(ValueError, match=sentence):
        hyper.names(other)


def test_an_object_that_is_called_is_a_factory() -> None:
    class Mine:
        def __call__(self, model: object, *, rate: "NonNegative" = 0.1) -> None:
            return None

    assert hyper.parse(Mine(), ["rate=0.5"]) == {"rate": 0.5}
    with pytest.raises(ValueError, match=r"^rate is -1; it must be a finite number >= 0\."):
        hyper.check_values(Mine(), {"rate": -1})
