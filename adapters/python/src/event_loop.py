"""asyncio on the ABI's `io.poll`.

A loop of asyncio needs a selector that can wait and be woken. There are no sockets to select
on here: a loop waits for time, and for message channels. So the selector keeps no files; it
waits on `io.poll` with the loop's deadline and the channels somebody awaits.
"""

import asyncio
import collections
import selectors

import calls
from wit_world.imports import io


class PollSelector(selectors.BaseSelector):
    """Waits for a deadline and for channels. Files cannot be registered."""

    def __init__(self):
        self.waiters = collections.OrderedDict()

    def register(self, fileobj, events, data=None):
        raise NotImplementedError("there are no sockets or pipes in this guest")

    def unregister(self, fileobj):
        raise KeyError(fileobj)

    def get_map(self):
        return {}

    def select(self, timeout=None):
        interests = [io.Interest_Channel(channel) for channel in self.waiters]
        if timeout is not None:
            deadline = io.now() + max(0, int(timeout * 1e9))
            interests.append(io.Interest_Deadline(deadline))
        if not interests:
            raise RuntimeError("every task waits for something that cannot happen")
        ready = calls.raising(lambda: io.poll(interests))
        channels = list(self.waiters)
        for index in ready:
            if index < len(channels):
                future = self.waiters.pop(channels[index])
                if not future.done():
                    future.set_result(None)
        return []


class PollLoop(asyncio.BaseEventLoop):
    """An event loop for time and channels."""

    def __init__(self):
        super().__init__()
        self._selector = PollSelector()

    def time(self):
        return io.now() / 1e9

    def _process_events(self, event_list):
        pass

    def _write_to_self(self):
        # There is one thread: a loop that runs is not asleep.
        pass

    def run_in_executor(self, executor, func, *args):
        raise RuntimeError("there are no threads in this guest")

    def close(self):
        self._selector.waiters.clear()
        super().close()

    async def channel_ready(self, channel):
        """Returns once a receive on the channel would give something."""
        waiters = self._selector.waiters
        if channel in waiters:
            raise RuntimeError("another task waits for this channel")
        future = self.create_future()
        waiters[channel] = future
        try:
            await future
        finally:
            waiters.pop(channel, None)


class PollPolicy(asyncio.events._BaseDefaultEventLoopPolicy):
    """Makes `asyncio.run` and friends use the loop above."""

    _loop_factory = PollLoop


def install():
    """Makes it the loop of every program."""
    asyncio.events._event_loop_policy = PollPolicy()
    asyncio.EventLoop = PollLoop
    asyncio.runners.events.new_event_loop = asyncio.events.new_event_loop
