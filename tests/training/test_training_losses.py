"""A loss of one's own: who learns under it, and who says that it does not fit."""

import jax
import pytest
from blobs import lines, squares

from lamaml_jax import LEARNERS, hyper, networks, online, train

pytestmark = pytest.mark.usefixtures("quick_compile")


CLASSIFIERS = {"icarl", "ucb", "ewc"}


ALONE = {"hat"}  # needs heads of its own


GENTLE = {
    **dict.fromkeys(("lr", "lr_init", "inner_lr", "outer_lr", "std_init"), 0.02),
    **{"lr_lr": 0.01, "mean_eta": 0.1, "within_batch_lr": 0.1},
    **{"glances": 1, "inner_steps": 1, "mc_samples": 2, "batches_per_example": 1},
}


def picky(outputs: jax.Array, y: jax.Array) -> jax.Array:
    """Return `squares`, but NaN for targets of zero, of which there are none but in padding and empty memories."""
    return squares(outputs * (y / y)[:, None], y)


@pytest.mark.parametrize("name", [n for n in LEARNERS if n not in CLASSIFIERS | ALONE])
def test_learners_regress(name: str) -> None:
    keywords = {n: v for n, v in GENTLE.items() if n in hyper.names(LEARNERS[name])}
    # By whose rates a plane alone is fitted too fast, or too slowly.
    hidden = (16,) if name.endswith("bgd") else ()
    result = train(LEARNERS[name], networks.mlp(1, hidden), lines(), loss=picky, **keywords)
    losses = result.eval_loss[0]
    assert losses.shape == (4, 3) and not result.diverged.any()
    assert losses[-1].mean() < 0.9 * losses[0].mean()
    x = lines().images[:7]
    assert result.predict(x).shape == (1, 7, 1)
    with pytest.raises(ValueError, match="see `eval_loss`"):
        _ = result.accuracy


@pytest.mark.parametrize("name", sorted(CLASSIFIERS))
def test_others_say_that_they_classify(name: str) -> None:
    with pytest.raises(ValueError, match=f"loss is given; it must be None for {name}"):
        train(LEARNERS[name], networks.mlp(1, (4,)), lines(), loss=squares)


def test_a_loss_that_raises_is_named() -> None:
    def of_classes(outputs: jax.Array, y: jax.Array) -> jax.Array:
        return outputs[:, y]

    with pytest.raises(ValueError, match=r"loss raises \w+ \(.*\) for outputs \(10, 1\) and y"):
        train(online, networks.mlp(1, ()), lines(), loss=of_classes)
