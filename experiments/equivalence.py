"""Show what looking ahead rewards: the meta-gradient against that of a surrogate (Appendix B).

    python -m experiments.equivalence --benchmark=mnist_rotations --data_dir=DATA --workdir=runs/equivalence

C-MAML is trained at its preset on the tasks but the last. At its weights, with a batch of the last task and one from
the memory, prints the distance between the gradient of L(theta_K) and that of L - alpha grad L . sum_k grad l_k, in
double precision, for rates from 2^-2 to 2^-20 and one or more inner steps. It falls as alpha^2, a slope of 2, as far as
no step crosses a kink of ReLU.
"""

import pathlib
import sys
from collections.abc import Sequence

sys.path.insert(
    0, str(pathlib.Path(__file__).parents[1])
)  # for `python experiments/equivalence.py`

if __name__ == "__main__":
    from experiments.process import startup

    startup.begin()

from absl import app, flags

from experiments.analyses import equivalence, folder
from experiments.process import console, options
from experiments.runs import workdirs
from experiments.runs.making import make_config

_STEPS = flags.DEFINE_list("inner_steps", ["1", "5"], "Numbers of inner steps to show")


def script(argv: Sequence[str]) -> None:
    """Set the process up and compute the gaps."""
    options.set_up(lambda: 1)
    main(argv)


def main(argv: Sequence[str]) -> None:
    """Train, compute the gaps, print and draw them."""
    with console.plain_errors():
        options.refuse_arguments(argv)
        learners = options.learners(["c_maml"])
        if learners != ["c_maml"]:
            raise ValueError(
                f"learner is {','.join(learners)!r}; it must be c_maml, whose rate is one number."
            )
        if (number := options.num_seeds(1)) > 1:
            raise ValueError(
                f"num_seeds is {number}; it must be 1 or left out, as the gaps are those at one network's weights."
            )
        config = make_config(
            **options.settings(),
            learner="c_maml",
            assignments=options.SET.value,
            seeds=options.seeds(1, first=0),
            eval="needed",
        )
        steps = equivalence.read_steps(_STEPS.value, config.batch_size())
        root, dataset = options.workdir(), options.dataset(config)
        settings = folder.settings_of([config], dataset, inner_steps=steps)
        about = folder.About(
            "equivalence", config.benchmark, learners, list(config.seeds), [], {}, settings
        )
        folder.begin(root, about)
        found = equivalence.measure(config, dataset, steps)
        workdirs.write_json(root / equivalence.FILE, found)
        folder.show(root, about, equivalence.parts(found))
        folder.finish(root, about)


if __name__ == "__main__":
    app.run(script)
