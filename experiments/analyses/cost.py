"""What a run costs on any machine: the examples at which it differentiates the network."""

from experiments.runs.config import Config
from lamaml_jax.types import Setting


def gradients_per_run(config: Config, setting: Setting) -> int:
    """Return how many example-gradients training takes over all tasks of a stream."""
    per_task = (gradients_per_batch(config, task) for task in range(setting.num_tasks))
    return sum(per_task) * setting.batches_per_epoch * setting.epochs


def gradients_per_batch(config: Config, task: int) -> int:
    """Return how many examples a learner differentiates the network at for one incoming batch of the `task`-th task."""
    k, batch = config.keywords, config.stream["batch_size"]
    glances, replayed = k.get("glances", 1), k.get("replay_batch", 0)
    match config.learner:
        case "la_maml" | "sync_la_maml" | "c_maml" | "la_der":
            return glances * (batch + k["inner_steps"] * (batch + replayed))
        case "fs_dgpm":
            plain = (batch + replayed) * (k.get("gradient_at") == "unperturbed")
            return glances * (batch + k["inner_steps"] * (batch + replayed) + plain)
        case "meta_bgd":
            return glances * k["mc_samples"] * (batch + k["inner_steps"] * (batch + replayed))
        case "la_er":
            return glances * (batch + 2 * (batch + replayed))
        case "er":
            return glances * (batch + config.updates_per_batch() // glances * replayed)
        case "mer":
            return batch * k["batches_per_example"] * (1 + replayed)
        case "gem":
            per_task = k["memory"] // config.stream["num_tasks"]
            return glances * batch + config.updates_per_batch() * task * per_task
        case "agem":
            return glances * batch + config.updates_per_batch() * replayed
        case "icarl":
            per_task = config.setting().num_classes // config.stream["num_tasks"]
            return glances * (batch + task * per_task)
        case "bgd" | "ucb":
            return glances * batch * k["mc_samples"]
        case _:
            return glances * batch
