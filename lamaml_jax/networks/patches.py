"""A convolution as a product of patches with a matrix.

Dimensions: B batch, H height and W width of an image, h and w of what a convolution makes of it.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


class PatchConv(nn.Module):
    """A 3x3 convolution with stride 2 and padding 1 as one product of all patches `[B * h * w, 9 * channels]`.

    The same as `nn.Conv`, with parameters of the same names and shapes. On CPU many times faster; and over weights of
    their own, mapped with vmap, it stays a batched product, where `nn.Conv` becomes a grouped convolution.
    """

    filters: int
    kernel_init: Callable[..., jax.Array]
    dot_general: Callable[..., jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """Return `[B, h, w, filters]` of `x [B, H, W, channels]`."""
        shape = (3, 3, x.shape[-1], self.filters)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (self.filters,), jnp.float32)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias)
        patches = patches_of(x)
        out = self.dot_general(
            patches.reshape(-1, patches.shape[-1]),
            kernel.reshape(-1, self.filters),
            (((1,), (0,)), ((), ())),
        )
        return out.reshape(*patches.shape[:3], self.filters) + bias


def patches_of(x: jax.Array) -> jax.Array:
    """Return the 3x3 patches, at every second place, of images padded by one: `[B, h, w, 9 * channels]`."""
    padded = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    rows, columns = (2 * ((size + 1) // 2) - 1 for size in x.shape[1:3])
    taps = [padded[:, i : i + rows : 2, j : j + columns : 2] for i in range(3) for j in range(3)]
    return jnp.concatenate(taps, axis=-1)
