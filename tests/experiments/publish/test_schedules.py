"""The table of torch's pipeline schedules, from the committed result."""

from experiments.publish.schedules import verdicts
from experiments.records.paths import COMMITTED, ResultPaths
from experiments.records.results import ResultStore


def test_schedules_that_hang_alike_share_a_line() -> None:
    lines = {row[:2]: row for row in verdicts(ResultStore(ResultPaths(root=COMMITTED))).rows}
    assert lines["gpipe", "as torch posts it"][3] == "none"
    assert lines["zbv", "as torch posts it"][3] == "deferred"
    assert str(lines["1f1b", "blocking calls"][2]).endswith("(8 sizes)")
    assert str(lines["1f1b", "blocking calls"][3]).startswith("all but eager")
