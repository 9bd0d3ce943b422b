"""What a run costs on any machine: the examples at which it differentiates the network."""

from experiments.runs.config import Config
from lamaml_jax import training
from lamaml_jax.streams import Benchmark


def gradients_per_run(config: Config, benchmark: Benchmark) -> int | None:
    """Return how many example-gradients training takes over all tasks, None for a learner that is not known here."""
    plan = training.plan(**config.training(benchmark), settings=config.keywords)
    total = 0
    for stage in range(len(plan.rows)):
        per_batch = gradients_per_batch(config, stage)
        if per_batch is None:
            return None
        total += plan.num_batches(stage) * per_batch
    return total


def gradients_per_batch(config: Config, task: int) -> int | None:
    """Return how many examples a learner differentiates the network at for one incoming batch of the `task`-th task.

    None for a learner that is not known here, which may use keywords of these names in other ways.
    """
    k, batch, setting = config.keywords, config.batch_size(), config.setting()
    glances, replayed = k.get("glances", 1), k.get("replay_batch", 0)
    match config.learner:
        case "la_maml" | "sync_la_maml" | "c_maml" | "la_der":
            # Reduced in variance, a gradient is taken at the old weights as well.
            gradients = 1 if k.get("variance_reduction") is None else 2
            return gradients * glances * (batch + k["inner_steps"] * (batch + replayed))
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
            per_task = k["memory"] // setting.num_tasks
            return glances * batch + config.updates_per_batch() * task * per_task
        case "agem":
            return glances * batch + config.updates_per_batch() * replayed
        case "icarl":
            per_task = setting.num_classes // setting.num_tasks
            return glances * (batch + task * per_task)
        case "bgd" | "ucb":
            return glances * batch * k["mc_samples"]
        case "online" | "iid" | "ewc" | "hat":
            return glances * batch
        case _:
            return None
