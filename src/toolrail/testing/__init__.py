"""For your tests, as for ours: a scripted model, simulated time, faults on demand, assertions. No network or sleeps."""

from toolrail.testing.asserts import Recorder, assert_history_valid, assert_one_result_each
from toolrail.testing.contexts import handler_context
from toolrail.testing.faults import fault_tool, fault_tools
from toolrail.testing.scripted import Calls, Say, ScriptedModel
from toolrail.testing.virtual import FixedClock, VirtualTimeLoop, run_virtual

__all__ = [
    "Calls",
    "FixedClock",
    "Recorder",
    "Say",
    "ScriptedModel",
    "VirtualTimeLoop",
    "assert_history_valid",
    "assert_one_result_each",
    "fault_tool",
    "fault_tools",
    "handler_context",
    "run_virtual",
]
