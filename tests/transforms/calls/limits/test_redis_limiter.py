"""The limiter of a fleet, against a real Redis server."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import re
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from bulkinfer.transforms.calls.limits import redis_limiter
from bulkinfer.transforms.calls.limits.choose import limiter_for
from bulkinfer.transforms.calls.limits.local import LocalLimiter
from bulkinfer.transforms.calls.limits.redis_limiter import PASSWORD, FleetLimiter, check_limiter
from bulkinfer.transforms.errors import ConfigError, StoreError
from bulkinfer.transforms.job.config import CallsConfig
from support.limited import take, work
from support.paths import ROOT
from support.redis_server import redis_server


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with redis_server() as running:
        yield running


def _fullest(starts: list[float], seconds: float = 1.0) -> int:
    starts = sorted(starts)
    return max(sum(at <= other < at + seconds for other in starts) for at in starts)


async def _while_taking(
    limiter: FleetLimiter, seconds: float, after: float, happens: Callable[[], object]
) -> list[float]:
    """What is taken in so many seconds, while something happens to Redis."""

    async def happen() -> None:
        await asyncio.sleep(after)
        happens()

    starts, _ = await asyncio.gather(take(limiter, seconds), happen())
    return starts


def _longest_pause(starts: list[float]) -> float:
    return max(later - earlier for earlier, later in itertools.pairwise(starts))


def _set_clock(client: Any, key: str, seconds: float) -> None:
    """Redis's clock cannot be set from here, so all that it has noted is moved the other way."""
    moved = {}
    for member, score in client.zrange(key, 0, -1, withscores=True):
        if score >= 0:
            moved[member] = score - seconds * 1e6
        else:
            last, after, held = map(int, member.split()[:3])
            moved[f"{last - seconds * 1e6:.0f} {after - seconds * 1e6:.0f} {held}"] = -1
    client.delete(key)
    client.zadd(key, moved)


@contextlib.contextmanager
def _cluster(first: int, last: int) -> Iterator[str]:
    """A cluster of one node, which holds these slots."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        bus = str(
            probe.getsockname()[1]
        )  # the default is 10,000 above the server's, where there may be no port
    options = ("--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-require-full-coverage", "no")
    with redis_server("127.0.0.1", "", *options) as address, redis.Redis.from_url(address) as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        while client.cluster("INFO")["cluster_state"] != "ok":
            time.sleep(0.1)
        yield address


def test_four_processes_share_15_calls_a_second_and_use_them(address: str) -> None:
    """Together they take what one may: a process that the machine holds up notes one start late, no more."""
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    workers = [context.Process(target=work, args=(f"{address}?key=four", 5.0, found)) for _ in range(4)]
    for worker in workers:
        worker.start()
    starts = sorted(start for _ in workers for start in found.get(timeout=60))
    for worker in workers:
        worker.join(10)

    assert _fullest(starts) <= 16
    together = [start for start in starts if starts[0] + 1 <= start <= starts[-1] - 1]
    assert len(together) / (together[-1] - together[0]) >= 0.7 * 15


def test_inputs_count_by_their_number(address: str) -> None:
    """Ten inputs a call and 100 a second: ten calls a second."""
    starts = asyncio.run(take(FleetLimiter(f"{address}?key=inputs", None, 100), 3.0, inputs=10))

    assert _fullest(starts) <= 11
    assert len(starts) >= 15


def test_a_call_larger_than_the_limit_is_refused_and_not_granted(address: str) -> None:
    """It would exceed the limit whenever it came."""
    limiter = FleetLimiter(f"{address}?key=large", None, 10)

    async def ask(inputs: int) -> None:
        try:
            await limiter.acquire(inputs)
        finally:
            await limiter.close()

    with pytest.raises(
        ConfigError,
        match=r"a call of 11 inputs is larger than calls\.inputs_per_second, 10, ever allows; send at most 10 a call",
    ):
        asyncio.run(ask(11))
    asyncio.run(asyncio.wait_for(ask(10), 3.0))


def test_large_and_small_calls_both_get_through(address: str) -> None:
    """A call as large as the limit needs an empty window, which small calls alone would never leave it."""

    async def take_both() -> list[list[float]]:
        url = f"{address}?key=sizes"
        return await asyncio.gather(
            take(FleetLimiter(url, 100, 20), 10.0, inputs=20), take(FleetLimiter(url, None, 20), 10.0)
        )

    large, small = asyncio.run(take_both())

    assert _longest_pause([min(large + small), *large]) <= 4.0
    assert _longest_pause([min(large + small), *small]) <= 4.0
    assert all(sum(at <= other < at + 1 for other in small) <= 20 for at in small)
    assert not any(abs(at - other) < 1 for at in large for other in small)


def test_calls_that_need_both_limits_do_not_wait_for_each_other(address: str) -> None:
    """One that lacks calls and one that lacks inputs: the older goes first in both."""

    async def take_all() -> list[list[float]]:
        url = f"{address}?key=both"
        limits = ((2, None), (2, 10), (2, 10), (None, 10))
        limiters = [FleetLimiter(url, *limit) for limit in limits]
        return await asyncio.gather(
            *(take(each, 8.0, inputs) for each, inputs in zip(limiters, (1, 10, 1, 3), strict=True))
        )

    starts = asyncio.run(take_all())

    first = min(itertools.chain(*starts))
    assert all(_longest_pause([first, *taken]) <= 6.0 for taken in starts)


def test_a_call_that_died_waiting_blocks_the_others_for_a_bounded_time(address: str) -> None:
    """They wait until it could have started, and two seconds more."""
    url = f"{address}?key=died"

    async def die_waiting() -> list[float]:
        large, small = FleetLimiter(url, None, 20), FleetLimiter(url, None, 20)
        await large.acquire(1)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(large.acquire(20), 0.3)
        await large.close()
        return [time.monotonic(), *await take(small, 4.0)]

    starts = asyncio.run(die_waiting())

    assert 2.0 <= starts[1] - starts[0] <= 4.5
    assert len(starts) > 5


def test_one_input_may_start_under_a_limit_below_one_a_second(address: str) -> None:
    """An input is the least there is, so it starts, once in so many seconds."""
    starts = asyncio.run(take(FleetLimiter(f"{address}?key=slow-inputs", None, 0.5), 2.5))

    assert starts[1] - starts[0] >= 2.0


def test_a_rate_below_one_a_second_is_kept(address: str) -> None:
    """Half a call a second: one in two seconds."""
    starts = asyncio.run(take(FleetLimiter(f"{address}?key=slow", 0.5, None), 2.5))

    assert len(starts) == 2 + (starts[-1] - starts[0] > 4)
    assert starts[1] - starts[0] >= 2.0


def test_a_job_that_names_a_limiter_gets_it(address: str) -> None:
    """And a divided limit without one, or without a limit."""
    named = CallsConfig(calls_per_second=15, limiter=address)
    assert isinstance(limiter_for(named, workers=4), FleetLimiter)
    assert isinstance(limiter_for(CallsConfig(calls_per_second=15), workers=4), LocalLimiter)
    assert isinstance(limiter_for(CallsConfig(limiter=address), workers=4), LocalLimiter)


def test_a_limit_that_redis_does_not_know_starts_with_a_full_window(address: str) -> None:
    """New or lost: nobody can tell what has started within the last second."""
    limiter = FleetLimiter(f"{address}?key=new", 15, None)
    before = time.monotonic()
    first = asyncio.run(take(limiter, 0.1))[0]
    assert 1.0 <= first - before <= 3.0

    before = time.monotonic()
    again = asyncio.run(take(limiter, 0.1))[0]
    assert again - before <= 0.5


@pytest.mark.parametrize("lost", ["all", "one"])
def test_a_redis_that_loses_its_keys_lets_no_window_exceed_the_limit(address: str, lost: str) -> None:
    """It was flushed, or it evicted what it holds for one of two limits."""
    limiter = FleetLimiter(f"{address}?key=lost-{lost}", 15, 100)
    with redis.Redis.from_url(address) as client:

        def lose() -> None:
            if lost == "all":
                client.flushall()
            else:
                assert client.delete(f"{{lost-{lost}}}:calls")

        starts = asyncio.run(_while_taking(limiter, 4.0, 2.5, lose))

    assert _fullest(starts) <= 16
    assert 1.0 <= _longest_pause(starts) <= 3.0


def test_a_replica_that_missed_the_last_starts_lets_no_window_exceed_the_limit(address: str) -> None:
    """What it does not know is over after a window, and every worker lost its connection when the replica took over."""
    limiter = FleetLimiter(f"{address}?key=stale", 15, None)
    with redis.Redis.from_url(address) as client:
        key = "{stale}:calls"
        asyncio.run(take(limiter, 0.1))
        time.sleep(1.2)
        old = client.dump(key)

        def take_over() -> None:
            client.restore(key, 0, old, replace=True)
            client.client_kill_filter(_type="normal", skipme=True)

        starts = asyncio.run(_while_taking(limiter, 4.0, 1.5, take_over))

    assert _fullest(starts) <= 16
    assert 1.0 <= _longest_pause(starts) <= 3.0


def test_a_call_cancelled_while_redis_answers_costs_a_window(address: str) -> None:
    """Its connection is lost, and the next one may lead to a replica that missed the last starts."""

    async def cancel_one() -> float:
        limiter = FleetLimiter(f"{address}?key=cancelled", 15, None)
        await limiter.acquire(1)
        with redis.Redis.from_url(address) as client:
            client.client_pause(20_000, all=False)  # all=False: else it would not take the end of the pause
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(limiter.acquire(1), 0.5)
            client.client_unpause()
        before = time.monotonic()
        permit = await limiter.acquire(1)
        await limiter.close()
        return permit.time - before

    assert 1.0 <= asyncio.run(cancel_one()) <= 3.0


@pytest.mark.parametrize("seconds", [-3600.0, -0.5])
def test_a_clock_that_goes_back_costs_at_most_a_window(address: str, seconds: float) -> None:
    """Not as long as the step: an hour without a call would look like a job that hangs."""
    limiter = FleetLimiter(f"{address}?key=clock{seconds}", 15, None)
    with redis.Redis.from_url(address, decode_responses=True) as client:
        starts = asyncio.run(
            _while_taking(limiter, 4.0, 2.5, lambda: _set_clock(client, f"{{clock{seconds}}}:calls", seconds))
        )

    assert _fullest(starts) <= 16
    assert min(1.0, -seconds) - 0.1 <= _longest_pause(starts) <= 3.0


def test_two_limits_live_in_one_slot_of_a_cluster() -> None:
    """Else its one script could not touch both."""
    with _cluster(0, 16383) as address:
        limiter = FleetLimiter(address, 15, 100)

        assert asyncio.run(asyncio.wait_for(take(limiter, 0.1), 20.0))


def test_calls_wait_while_redis_is_away() -> None:
    """A worker never sends unasked: it starts when the server is back."""

    async def wait_for_it() -> float:
        with redis_server() as lost:
            pass
        limiter = FleetLimiter(lost, 15, None)
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(limiter.acquire(1), 1.5)
        await limiter.close()
        return 0.0

    asyncio.run(wait_for_it())


def test_a_password_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """And one in the address is refused, unread."""
    with redis_server(password="geheim") as address:
        with pytest.raises(
            StoreError, match=r"the Redis at .* refuses .*give its password in REDIS_PASSWORD"
        ):
            check_limiter(address)
        monkeypatch.setenv(PASSWORD, "geheim")
        check_limiter(address)
    with pytest.raises(ConfigError, match="holds a password; remove it and set REDIS_PASSWORD") as caught:
        check_limiter("redis://:geheim@localhost:6379/0")
    assert "geheim" not in str(caught.value)


def test_an_address_where_no_redis_answers_is_refused() -> None:
    """Before anything is sent."""
    with redis_server() as lost:
        pass
    with pytest.raises(
        StoreError,
        match=r"no Redis answers at redis://\S+ \(ConnectionError\); start it, or correct the address",
    ):
        check_limiter(lost)


def test_remote_workers_may_reach_a_redis_that_the_launcher_does_not() -> None:
    """The check says so and does not refuse it."""
    doubt = check_limiter("redis://limits.invalid:6379/0", remote=True)

    assert doubt is not None
    assert re.search(
        r"no Redis answers at \S+ \(ConnectionError\) from here; calls wait until one answers", doubt
    )


def test_a_redis_that_refuses_is_refused_for_remote_workers_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would refuse them."""
    # A test's Redis is on this machine.
    monkeypatch.setattr(redis_limiter, "_is_loopback", lambda host: False)
    with redis_server() as address:
        assert check_limiter(address, remote=True) is None
        _read_only(address)
        with pytest.raises(StoreError, match="refuses to keep the limit"):
            check_limiter(address, remote=True)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "[::1]", "0.0.0.0"])
def test_a_loopback_address_is_refused_for_remote_workers(host: str) -> None:
    """Whether a Redis answers here or not."""
    with pytest.raises(
        ConfigError,
        match=r"loopback address, and each worker's host would have its own limit; name a Redis that all",
    ):
        check_limiter(f"redis://{host}:6379/0", remote=True)


RIGHTS = (
    "~{mine}:*",
    "+eval",
    "+time",
    "+zrange",
    "+zrangebyscore",
    "+zremrangebyscore",
    "+zadd",
    "+pexpire",
)


def _user(address: str, *rules: str) -> str:
    """A user with these rights only; the address for it."""
    with redis.Redis.from_url(address) as client:
        client.execute_command("ACL", "SETUSER", "limited", "reset", "on", "nopass", *rules)
    return address.replace("redis://", "redis://limited@") + "?key=mine"


def test_the_rights_that_the_documentation_lists_are_enough(address: str) -> None:
    """For the check and for the limits."""
    guide = (ROOT / "docs" / "flink.md").read_text()
    assert " ".join(RIGHTS).replace("{mine}", "{NAME}") in guide
    limited = _user(address, *RIGHTS)

    check_limiter(limited)
    assert asyncio.run(asyncio.wait_for(take(FleetLimiter(limited, 15, 100), 0.1), 10.0))


@pytest.mark.parametrize("right", RIGHTS[1:])
def test_a_user_who_lacks_a_right_is_refused_at_the_check(address: str, right: str) -> None:
    """Its calls would wait for ever."""
    limited = _user(address, "+ping", *RIGHTS, right.replace("+", "-"))

    with pytest.raises(
        StoreError, match=r"refuses to keep the limit \(.*run th.* command.*\); name one that takes writes"
    ):
        check_limiter(limited)


def _read_only(address: str, *, replica: bool = True) -> None:
    """Make a server read-only, as a failover makes the old primary, or end that."""
    with redis.Redis.from_url(address) as client:
        client.replicaof("127.0.0.1", "1") if replica else client.replicaof("NO", "ONE")


def test_a_replica_is_refused_at_the_check() -> None:
    """It answers, and takes no writes."""
    with redis_server() as address:
        _read_only(address)

        with pytest.raises(StoreError, match=r"refuses to keep the limit \(.*read only replica"):
            check_limiter(address)


def test_a_node_of_a_cluster_that_holds_other_keys_is_refused_at_the_check() -> None:
    """It answers, and would send every call elsewhere."""
    with (
        _cluster(0, 100) as address,
        pytest.raises(StoreError, match=r"refuses to keep the limit \(.*[Ss]lot"),
    ):
        check_limiter(address)


def test_a_refusal_that_passes_is_waited_for() -> None:
    """As while another server takes over."""
    with redis_server() as address:
        limiter = FleetLimiter(address, 15, None)
        asyncio.run(take(limiter, 0.1))
        _read_only(address)
        starts = asyncio.run(_while_taking(limiter, 0.1, 1.0, lambda: _read_only(address, replica=False)))

    assert starts


def test_a_refusal_that_lasts_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing will change it but a person."""
    monkeypatch.setattr(redis_limiter, "_REFUSED_S", 1.0)
    with redis_server() as address:
        limiter = FleetLimiter(address, 15, None)
        asyncio.run(take(limiter, 0.1))
        _read_only(address)

        with pytest.raises(
            StoreError, match=r"refuses to keep the limit \(ReadOnlyError: .*then run the same command again"
        ):
            asyncio.run(asyncio.wait_for(take(limiter, 0.1), 20.0))


@pytest.mark.parametrize("address", ["http://localhost:6379", "localhost:6379", "redis://"])
def test_an_address_of_something_else_is_refused(address: str) -> None:
    """With the form to write."""
    with pytest.raises(
        ConfigError, match=r"calls\.limiter: this is no Redis address; write redis://HOST:PORT/DB"
    ):
        check_limiter(address)
