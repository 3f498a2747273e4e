"""The parts of the kill test (receivers that misbehave, processes that are killed, charges, the judgement) and of the
crash points: a worker that stops dead at one step, and a lane in which another one goes on."""

import pytest

pytest.register_assert_rewrite("tests.chaos.judge", "tests.chaos.lanes")
