"""What the watchdog makes of log lines, heartbeats and the processes it sees."""

from pathlib import Path

import pytest

from recipes.watch.heartbeat import Heartbeat, LogFollower
from recipes.watch.signs import Limits, Signs


def test_a_log_is_read_once_and_in_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("before\n")
    log = LogFollower(path)
    assert log.new_lines() == []
    with path.open("a") as file:
        for text in ("one\ntw", "o\n", "three"):
            file.write(text)
            file.flush()
            if text == "o\n":
                assert log.new_lines() == ["two"]
                log.mark()
            elif text == "one\ntw":
                assert log.new_lines() == ["one"]
    assert log.new_lines() == []
    assert (log.since_mark, log.tail) == ("three", "one\ntwo\nthree")


def test_a_helper_s_death_gets_as_long_as_a_phase_has_taken() -> None:
    signs = Signs(Limits(), stall_s=7200, changed=0.0)
    for step, now in enumerate([100.0, 400.0, 405.0]):
        signs.see_heartbeat(Heartbeat(step, 9, "rollout", now), now)
    for now in (404.0, 406.0):
        signs.see_processes({1: "ray::AgentLoopWorker.run", 2: "ray::IDLE", 3: "ray::WorkerDict"}, now)
    signs.see_processes({3: "ray::WorkerDict"}, 410.0)
    assert signs.reason_to_stop(410.0 + 440) is None
    verdict = signs.reason_to_stop(410.0 + 460)
    assert verdict
    assert (verdict.reason, verdict.dead) == ("lost_worker", ("ray::AgentLoopWorker",))


@pytest.mark.parametrize(
    ("seconds", "stall_s", "limit"),
    [(3.0, 1800.0, 120.0), (60.0, 1800.0, 360.0), (3.0, 7200.0, 480.0), (3.0, 60.0, 60.0)],
)
def test_a_phase_hangs_by_its_own_pace(seconds: float, stall_s: float, limit: float) -> None:
    signs, now = Signs(Limits(), stall_s=stall_s, changed=0.0), 0.0
    for step in range(3):
        signs.see_heartbeat(Heartbeat(step, 9, "rollout", now), now)
        now += seconds
    signs.see_heartbeat(Heartbeat(3, 9, "rollout", now), now)
    assert signs.reason_to_stop(now + limit - 1) is None
    verdict = signs.reason_to_stop(now + limit + 1)
    assert verdict
    assert (verdict.reason, verdict.exit_code) == ("stalled", 124)


def test_a_phase_that_is_new_or_one_long_evaluation_has_no_pace() -> None:
    signs, now = Signs(Limits(), stall_s=1800.0, changed=0.0), 0.0
    for problems in range(50):  # answers of an evaluation come in: the last may take far longer than the others
        now = float(problems)
        signs.see_heartbeat(Heartbeat(0, 1, "validating", now, {"problems": float(problems)}), now)
    assert signs.reason_to_stop(now + 1700) is None
    signs.see_heartbeat(Heartbeat(1, 9, "update", now), now)
    signs.see_heartbeat(Heartbeat(1, 9, "saving", now + 1), now + 1)
    assert signs.reason_to_stop(now + 1700) is None


def test_a_phase_that_was_always_over_before_anybody_looked_hangs_by_the_others_pace() -> None:
    signs, now = Signs(Limits(), stall_s=1800.0, changed=0.0), 0.0
    for step in range(5):
        signs.see_heartbeat(Heartbeat(step, 9, "rollout", now), now)
        now += 30.0
    signs.see_heartbeat(Heartbeat(4, 9, "update", now), now)
    assert signs.reason_to_stop(now + 179) is None
    verdict = signs.reason_to_stop(now + 181)
    assert verdict
    assert verdict.reason == "stalled"
    signs.see_heartbeat(Heartbeat(4, 9, "saving", now + 1), now + 1)
    assert signs.reason_to_stop(now + 1700) is None, "a checkpoint may be the first, and take as long as it takes"


def test_a_vital_worker_s_death_does_not() -> None:
    signs = Signs(Limits(), stall_s=7200, changed=0.0)
    for step, now in enumerate([100.0, 400.0]):
        signs.see_heartbeat(Heartbeat(step, 9, "rollout", now), now)
    for now in (404.0, 406.0):
        signs.see_processes({3: "ray::WorkerDict.update"}, now)
    signs.see_processes({}, 410.0)
    assert signs.reason_to_stop(429.0) is None
    assert signs.reason_to_stop(431.0)


def test_a_vital_worker_s_death_outlives_the_next_phase_but_not_two_steps() -> None:
    """An engine that dies at the end of a rollout lets the trainer reach its update, where it hangs."""
    signs = Signs(Limits(), stall_s=7200, changed=0.0)
    signs.see_heartbeat(Heartbeat(1, 9, "rollout", 100.0), 100.0)
    for now in (104.0, 106.0):
        signs.see_processes({3: "VLLM::EngineCore"}, now)
    signs.see_processes({}, 108.0)
    signs.see_heartbeat(Heartbeat(1, 9, "update", 110.0), 110.0)
    assert signs.reason_to_stop(129.0) is None
    verdict = signs.reason_to_stop(131.0)
    assert verdict
    assert (verdict.reason, verdict.dead) == ("lost_worker", ("VLLM::EngineCore",))
    signs.see_heartbeat(Heartbeat(2, 9, "rollout", 132.0), 132.0)
    assert signs.reason_to_stop(153.0)
    signs.see_heartbeat(Heartbeat(3, 9, "rollout", 154.0), 154.0)
    assert signs.reason_to_stop(300.0) is None, "whatever died, the run does without it"


def test_the_start_has_its_own_limit() -> None:
    signs = Signs(Limits(), stall_s=60, changed=0.0)
    assert signs.reason_to_stop(599.0) is None
    assert signs.reason_to_stop(601.0)
    signs.see_heartbeat(Heartbeat(0, 9, "starting", 0.0), 601.0)
    assert signs.reason_to_stop(1200.0) is None
    signs.see_heartbeat(Heartbeat(0, 9, "rollout", 0.0), 1200.0)
    assert signs.reason_to_stop(1262.0)


def test_a_forked_child_that_bears_an_actors_title_for_a_moment_is_no_death() -> None:
    """Between fork and exec a child of an actor shows the actor's title; a scan may fall into that moment."""
    signs = Signs(limits=Limits(), stall_s=600, changed=0.0)
    actor, child = "actor", "child"
    signs.see_processes({actor: "ray::TaskRunner.run"}, 1.0)
    signs.see_processes({actor: "ray::TaskRunner.run", child: "ray::TaskRunner.run"}, 3.0)
    signs.see_processes({actor: "ray::TaskRunner.run"}, 5.0)
    assert signs.reason_to_stop(500.0) is None
    signs.see_processes({}, 501.0)
    verdict = signs.reason_to_stop(600.0)
    assert verdict is not None
    assert verdict.dead == ("ray::TaskRunner",)


def test_an_engine_that_dies_before_the_second_look_is_missed() -> None:
    signs = Signs(limits=Limits(), stall_s=600, changed=0.0)
    signs.see_processes({"loop": "ray::TaskRunner.run", "engine": "VLLM::EngineCore"}, 1.0)
    signs.see_processes({"loop": "ray::TaskRunner.run"}, 1.5)
    verdict = signs.reason_to_stop(22.0)
    assert verdict is not None
    assert verdict.dead == ("VLLM::EngineCore",)
