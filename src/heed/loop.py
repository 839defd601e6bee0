"""The loop: sample, judge, learn the reward, improve, prove it; again and again."""

from __future__ import annotations

from heed.project import Project
from heed.rounds import Rounds
from heed.runs import RunRecord
from heed.train.progress import Watcher


def run_loop(project: Project, rounds: int = 1, watcher: Watcher | None = None, fresh: bool = False) -> list[RunRecord]:
    """Run ``rounds`` turns of the loop on a project and return the evaluations, one a round.

    A stage that was done before with the same inputs is not done again, so a loop that was stopped, killed or is
    waiting for people goes on where it was when it is called again. It ends before the last round where asking.label_cost and
    asking.accuracy_value say what labels cost and bring, and further ones are surely worth less.

    Raises:
        WaitingForPeopleError: the raters are people and have not judged all items yet.
        HeedError: of the stage that could not be done. Stopped: on Ctrl-C, after the stage has saved its state.
    """
    stages = Rounds(project, watcher or Watcher(), fresh)
    stages.check()
    stages.train_sft()
    evaluations = []
    for round_ in range(1, rounds + 1):
        stages.sample(round_)
        stages.collect(round_)
        stages.train_reward(round_)
        labels = stages.worth_of_labels(round_)
        stages.train_policy(round_)
        evaluations.append(stages.evaluate(round_))
        if labels is not None and labels.metrics.get("stop") and round_ < rounds:
            stages.watcher.say(f"the loop ends after round {round_} of {rounds}. {labels.metrics['verdict']}")
            break
    return evaluations
