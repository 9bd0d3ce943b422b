"""Whether the arrays of a run fit each other."""

from collections.abc import Mapping

import numpy as np


def is_whole(results: Mapping[str, np.ndarray]) -> bool:
    """Return whether accuracies, and what else there is, are there for all seeds and tasks."""
    if not {"seeds", "accuracy", "diverged"} <= set(results):
        return False
    accuracy = results["accuracy"]
    if accuracy.ndim != 3 or accuracy.shape[1] != accuracy.shape[2] + 1 or not accuracy.shape[2]:
        return False
    num_seeds, num_rows, _ = accuracy.shape
    if results["seeds"].shape != (num_seeds,) or results["diverged"].shape != (num_seeds,):
        return False
    if results["diverged"].dtype != bool:
        return False
    if "inside_accuracy" in results:
        batches, num_tasks = results.get("inside_batches", np.zeros(0)), num_rows - 1
        wanted = (num_seeds, num_tasks, len(batches), num_tasks)
        shares = results.get("inside_progress", np.zeros(wanted[1:3]))
        if results["inside_accuracy"].shape != wanted or shares.shape != wanted[1:3]:
            return False
    if "rate_mean" not in results:
        return True
    if not {"rate_share_nonpositive", "layer_names"} <= set(results):
        return False
    shape = (num_seeds, num_rows, len(results["layer_names"]))
    return results["rate_mean"].shape == results["rate_share_nonpositive"].shape == shape
