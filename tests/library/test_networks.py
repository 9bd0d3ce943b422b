"""Networks as models: shapes, initial weights, gates and features."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from helpers import assert_close, assert_same_bits, differs
from scipy import stats

from experiments.runs.catalogue import DATASETS
from lamaml_jax import Model, networks

pytestmark = pytest.mark.usefixtures("quick_compile")

KEY = jax.random.key(0)


def images(size: int = 4) -> jax.Array:
    return jax.random.normal(jax.random.key(1), (size, 8, 8, 3))


MODELS = {
    "mlp": networks.mlp(5, hidden=(7, 6)),
    "convnet": networks.convnet(5, filters=(3, 4), hidden=(6,)),
    "convnet_lax": networks.convnet(5, filters=(3, 4), hidden=(6,), convolution="lax"),
}
every_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)


def ones(model: Model) -> list[jax.Array]:
    return [jnp.ones(units) for units in model.gate_sizes]


@every_model
def test_logits_have_one_column_per_class(model: Model) -> None:
    params = model.init(KEY, images())
    assert model.apply(params, images()).shape == (4, 5)


def test_the_default_networks_are_the_papers() -> None:
    mnist = networks.mlp(10).init(KEY, jnp.zeros((1, 28, 28, 1)))
    assert [layer["kernel"].shape for layer in mnist.values()] == [
        (784, 100),
        (100, 100),
        (100, 10),
    ]
    cifar = jax.eval_shape(networks.convnet(100).init, KEY, jnp.zeros((1, 32, 32, 3)))
    assert [layer["kernel"].shape for layer in cifar.values()] == [
        (3, 3, 3, 160),
        (3, 3, 160, 160),
        (3, 3, 160, 160),
        (4 * 4 * 160, 320),
        (320, 320),
        (320, 100),
    ]
    model = DATASETS["tiny_imagenet"].network(200)
    tiny_imagenet = jax.eval_shape(model.init, KEY, jnp.zeros((1, 64, 64, 3)))
    assert [layer["kernel"].shape for layer in tiny_imagenet.values()] == [
        (3, 3, 3, 160),
        *[(3, 3, 160, 160)] * 3,
        (4 * 4 * 160, 640),
        (640, 640),
        (640, 200),
    ]


def test_a_convolution_pads_by_one_and_moves_by_two() -> None:
    model = networks.convnet(2, filters=(1,), hidden=())
    params = model.init(KEY, images(1)[..., :1])
    x = images(1)[..., :1]
    padded = np.pad(np.asarray(x)[0, :, :, 0], 1)
    kernel = np.asarray(params["Conv_0"]["kernel"])[:, :, 0, 0]
    by_hand = [
        max((padded[i : i + 3, j : j + 3] * kernel).sum(), 0)
        for i in range(0, 8, 2)
        for j in range(0, 8, 2)
    ]
    assert model.features is not None
    assert_close(model.features(params, x)[0], np.asarray(by_hand))


@every_model
def test_a_kernels_gradient_is_in_the_space_of_its_layers_inputs(model: Model) -> None:
    """Of one image, whose rows span less than a layer has inputs; of another image it is not."""
    x, other = images(2)[:1], images(2)[1:]
    params = model.init(KEY, x)
    grads = jax.jit(jax.grad(squared_error(model)))(params, x)
    assert model.layer_inputs is not None
    rows = jax.jit(model.layer_inputs)(params, jnp.concatenate([x, other]))
    assert len(rows) == len(model.kernels) == len(params)
    for name, both in zip(model.kernels, rows, strict=True):
        layer, kind = name.split("/")
        own, others = np.split(np.asarray(both, np.float64), 2)
        gradient = np.asarray(grads[layer][kind], np.float64).reshape(both.shape[1], -1)
        outside = [
            np.linalg.norm(gradient - np.linalg.pinv(r, 1e-6) @ (r @ gradient))
            for r in (own, others)
        ]
        assert outside[0] < 1e-5 * np.linalg.norm(gradient) < 1e-1 * outside[1]


def squared_error(model: Model) -> Any:
    return lambda params, x: (model.apply(params, x) ** 2).mean()


SMALL: dict[str, Any] = {
    "mlp": functools.partial(networks.mlp, 5, hidden=(16,)),
    "convnet": functools.partial(networks.convnet, 5, filters=(8, 8), hidden=(16,)),
}


@pytest.mark.usefixtures("freed")
@pytest.mark.parametrize("make", SMALL.values(), ids=SMALL)
def test_a_network_in_bfloat16_is_near_and_keeps_its_dtypes(make: Any) -> None:
    exact, rough = make(), make(precision="bfloat16")
    params = exact.init(KEY, images())
    found, expected = (
        (model.apply(params, images()), jax.grad(squared_error(model))(params, images()))
        for model in (rough, exact)
    )
    for near, leaf in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert near.dtype == jnp.float32
        assert 0 < jnp.linalg.norm(near - leaf) < 0.05 * jnp.linalg.norm(leaf)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"convolution": "fft"}, "convolution is 'fft'; it must be one of 'patches', 'lax'"),
        ({"precision": "float16"}, "precision is 'float16'; it must be one of"),
        ({"initializer": "zeros"}, "initializer is 'zeros'; it must be one of"),
        ({"convolution": "lax", "precision": "bfloat16"}, "must be 'float32' with the convolution"),
        ({"hidden": 320}, "hidden is 320; it must be integers >= 1, one for each layer"),
        ({"hidden": "320"}, "hidden is '320'; it must be integers >= 1"),
        ({"hidden": (320, 0)}, r"hidden\[1\] is 0; it must be an integer >= 1"),
        ({"filters": (8.0,)}, r"filters\[0\] is 8.0; it must be an integer >= 1"),
    ],
)
def test_unknown_options_are_named(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        networks.convnet(5, **options)


def test_a_network_without_its_kind_of_inputs_or_outputs_is_refused() -> None:
    with pytest.raises(ValueError, match="num_classes is '10'; it must be an integer >= 1"):
        networks.mlp("10")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"shape \(4, 784\); a convnet takes images \[B, H, W, "):
        jax.eval_shape(networks.convnet(5).init, KEY, jnp.zeros((4, 784)))


@pytest.mark.parametrize(("initializer", "kurtosis"), [("xavier", 0), ("xavier_uniform", -1.2)])
def test_xavier_takes_the_mean_of_both_fans(
    initializer: networks.Initializer, kurtosis: float
) -> None:
    model = networks.mlp(4, hidden=(500,), initializer=initializer)
    kernel = np.asarray(model.init(KEY, jnp.zeros((1, 200)))["Dense_0"]["kernel"], np.float64)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 700), rel=0.01)
    assert stats.kurtosis(kernel.ravel()) == pytest.approx(kurtosis, abs=0.1)


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_initial_weights_are_kaiming_normal_and_not_truncated(kind: str) -> None:
    if kind == "dense":
        params, fan_in = networks.mlp(4, hidden=(500,)).init(KEY, jnp.zeros((1, 200))), 200
        kernel = params["Dense_0"]["kernel"]
    else:
        model = networks.convnet(4, filters=(40, 300), hidden=())
        params, fan_in = model.init(KEY, jnp.zeros((1, 4, 4, 3))), 9 * 40
        kernel = params["Conv_1"]["kernel"]
    weights = np.asarray(kernel, np.float64).ravel()
    assert abs(weights.mean()) < 5 * np.sqrt(2 / fan_in / weights.size)
    assert weights.std() == pytest.approx(np.sqrt(2 / fan_in), rel=0.01)
    assert abs(stats.kurtosis(weights)) < 0.1  # -0.6 if truncated at two standard deviations
    biases = [layer["bias"] for layer in params.values()]
    assert not any(np.any(bias) for bias in biases)


@every_model
def test_gates_of_one_change_no_bit(model: Model) -> None:
    params = model.init(KEY, images())
    apply = jax.jit(model.apply)
    assert_same_bits(apply(params, images(), gates=ones(model)), apply(params, images()))


@every_model
def test_a_gate_of_zero_removes_its_unit(model: Model) -> None:
    params = model.init(KEY, images())
    for layer, name in enumerate(list(params)[:-1]):
        gates = ones(model)
        gates[layer] = gates[layer].at[1].set(0)
        gated = model.apply(params, images(), gates=gates)
        silent = jax.tree.map(lambda p: p.at[..., 1].set(0), params[name])
        assert differs(gated, model.apply(params, images()))
        assert_same_bits(gated, model.apply(params | {name: silent}, images()))


@every_model
def test_features_are_what_the_last_layer_sees(model: Model) -> None:
    params = model.init(KEY, images())
    assert model.features is not None
    features = model.features(params, images())
    last = list(params.values())[-1]
    assert features.shape == (4, model.gate_sizes[-1])
    assert_close(features @ last["kernel"] + last["bias"], model.apply(params, images()))


def test_gates_of_parameters_by_hand() -> None:
    model = networks.mlp(2, hidden=(2, 3))
    params = model.init(KEY, jnp.zeros((1, 2)))
    assert model.gate_params is not None
    joint: Any = model.gate_params(params, [jnp.array([0.2, 1.0]), jnp.array([0.0, 0.5, 1.0])])
    expected = {
        "Dense_0": {"kernel": [[0.2, 1.0], [0.2, 1.0]], "bias": [0.2, 1.0]},
        "Dense_1": {"kernel": [[0.0, 0.2, 0.2], [0.0, 0.5, 1.0]], "bias": [0.0, 0.5, 1.0]},
        "Dense_2": {"kernel": np.zeros((3, 2)), "bias": [0.0, 0.0]},
    }
    for layer, gates in expected.items():
        for name, values in gates.items():
            np.testing.assert_array_equal(joint[layer][name], np.float32(values))


@pytest.mark.usefixtures("freed")
@every_model
def test_a_gated_network_uses_just_the_parameters_that_belong_to_its_gates(model: Model) -> None:
    """For gates of 0 and 1, and up to the output layer; the flattened image's order of units is part of it."""
    params = model.init(KEY, images())
    gates = [(jnp.arange(units) % 3 != 0).astype(jnp.float32) for units in model.gate_sizes]
    assert model.gate_params is not None
    joint: Any = model.gate_params(params, gates)
    chosen = [jnp.unique(leaf).tolist() for leaf in jax.tree.leaves(joint)]
    assert all(set(values) <= {0, 1} for values in chosen)
    *hidden, output = params
    assert not any(np.any(leaf) for leaf in joint[output].values())

    def perturbed(gate: int) -> Any:
        changed = {
            name: jax.tree.map(
                lambda p, g: jnp.where(g == gate, p + 1, p), params[name], joint[name]
            )
            for name in hidden
        }
        return params | changed

    logits = model.apply(params, images(), gates=gates)
    assert_same_bits(model.apply(perturbed(0), images(), gates=gates), logits)

    def total(params: Any) -> jax.Array:
        return (model.apply(params, 10 + images(64), gates=gates) ** 2).sum()

    # Positive weights keep every unit awake, so that each parameter in use has a gradient.
    gradients = jax.grad(total)(jax.tree.map(jnp.abs, params))
    for name in hidden:
        jax.tree.map(
            lambda g, gate: np.testing.assert_array_equal(g != 0, gate == 1),
            gradients[name],
            joint[name],
        )


def test_double_precision_keeps_the_dtypes_of_parameters(x64: None) -> None:
    for model in MODELS.values():
        params = model.init(KEY, images())
        assert model.gate_params is not None
        joint = model.gate_params(params, ones(model))
        jax.tree.map(lambda p, g: np.testing.assert_equal(g.dtype, p.dtype), params, joint)


def test_any_flax_module_is_a_model_with_what_it_offers() -> None:
    model = networks.from_flax(nn.Dense(3))  # whose `features` is a number
    params = model.init(KEY, jnp.zeros((1, 2)))
    assert model.apply(params, jnp.zeros((4, 2))).shape == (4, 3)
    assert (model.features, model.gate_sizes, model.gate_params) == (None, (), None)
