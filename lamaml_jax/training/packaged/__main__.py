"""Make the packaged result anew."""

from lamaml_jax.training.packaged import FOLDER, make

result = make()
result.save(FOLDER)
print(result.table())
