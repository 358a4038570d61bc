"""A lifecycle node that answers its services, and publishes, while a transition waits for a thread.

rclpy calls the callback of a transition inside the service change_state and on the executor's thread: as long as the
callback runs, nothing else of the node does, not even get_state. Here configure and activate are coroutines. The state
machine enters the state (configuring, activating), a thread does the work, and then the callback runs on the executor's
thread as ever. So the node's own code needs no locks, and the answer of change_state still means what it says.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.task import Future

CONFIGURE, ACTIVATE = Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE
_LABELS = {"configure": CONFIGURE, "activate": ACTIVATE}
# By the state from which each may start. What rcl says of another start is an error with a traceback in some versions.
_STARTS = {CONFIGURE: State.PRIMARY_STATE_UNCONFIGURED, ACTIVATE: State.PRIMARY_STATE_INACTIVE}


class ResponsiveLifecycleNode(LifecycleNode):
    """Base class for a node that is spun by one thread. Subclasses override `work_before`.

    trigger_configure and trigger_activate stay synchronous, and do without the thread.
    """

    def __init__(self, node_name: str, **node_options):
        super().__init__(node_name, **node_options)
        self.transition = ""
        self._thread: threading.Thread | None = None
        # a callback group of its own: a coroutine that waits holds its group
        group = ReentrantCallbackGroup()
        service = next(service for service in self.services if service.srv_type is ChangeState)
        self._change_state_at_once = service.callback
        service.callback = self._on_change_state
        service.callback_group = group
        group.add_entity(service)
        # wakes the executor, which then resumes the coroutine
        self._work_done = self.create_guard_condition(lambda: None)

    def work_before(self, transition_id: int) -> Callable[[], None] | None:
        """What a thread does before the callback of a transition (CONFIGURE, ACTIVATE); None for nothing.

        It is called on the executor's thread; what it returns runs on the other one, and must not raise.
        """
        raise NotImplementedError

    def join(self, timeout_s: float) -> None:
        """Wait for the thread of a transition that will not be finished, because the node ends."""
        if self._thread is not None:
            self._thread.join(timeout_s)

    async def change_state(self, transition_id: int) -> TransitionCallbackReturn:
        """Configure or activate. ERROR if the node is not in the state for it, or is in a transition."""
        machine = self._state_machine
        start = LifecycleState(state_id=machine.current_state[0], label=machine.current_state[1])
        if start.state_id != _STARTS[transition_id]:
            name = next(label for label, number in _LABELS.items() if number == transition_id)
            self.get_logger().error(f"cannot {name}: the node is {start.label}")
            return TransitionCallbackReturn.ERROR
        machine.trigger_transition_by_id(transition_id, True)
        self.transition = machine.current_state[1]
        try:
            work = self.work_before(transition_id)
            if work is not None:
                await self._in_thread(work)
            result = self.on_configure(start) if transition_id == CONFIGURE else self.on_activate(start)
        except Exception as error:  # rclpy would hide it
            self.get_logger().error(f"{self.transition} failed: {type(error).__name__}: {error}")
            result = TransitionCallbackReturn.ERROR
        finally:
            self.transition = ""
        machine.trigger_transition_by_label(result.to_label(), True)
        if result == TransitionCallbackReturn.ERROR:
            machine.trigger_transition_by_label(self.on_error(start).to_label(), True)
        return result

    async def _on_change_state(
        self, request: ChangeState.Request, response: ChangeState.Response
    ) -> ChangeState.Response:
        transition_id = _LABELS.get(request.transition.label, request.transition.id)
        if self.transition:
            self.get_logger().warning(
                f"change_state is rejected: the node is {self.transition}; ask again when it is not"
            )
            response.success = False
        elif transition_id in _STARTS:
            response.success = await self.change_state(transition_id) == TransitionCallbackReturn.SUCCESS
        else:
            response = self._change_state_at_once(request, response)
        return response

    async def _in_thread(self, work: Callable[[], None]) -> None:
        done: Future = Future(executor=self.executor)

        def run() -> None:
            work()
            with suppress(Exception):  # the node was destroyed meanwhile
                done.set_result(None)
                self._work_done.trigger()

        # a daemon: it must not keep a process alive whose node has given up waiting for it
        self._thread = threading.Thread(target=run, name="visual_gps_transition", daemon=True)
        self._thread.start()
        await done
