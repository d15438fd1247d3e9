"""One request finds out whether a server is back; what has to be asked first is asked once."""

from __future__ import annotations

import threading

import pytest

from invariant_dask.errors import StoreUnavailableError
from invariant_dask.store.objects_outage import FirstCheck, Outage, deafness


def test_all_but_one_request_fail_at_once_while_a_server_is_down() -> None:
    outage = Outage("s3://bucket", 1000.0)
    assert not outage.admit()
    trouble = outage.begin("LAYOUT", 3, 15.0, "connection refused")
    assert "no success in 3 attempts" in str(trouble)
    with pytest.raises(StoreUnavailableError, match=r"left alone.*connection refused"):
        outage.admit()
    outage.try_now()
    assert outage.admit(), "this one finds out"
    with pytest.raises(StoreUnavailableError, match="left alone"):
        outage.admit()
    outage.end()
    assert not outage.admit()
    assert not outage.admit()


def test_first_check_is_made_until_it_succeeds_and_then_never() -> None:
    check, answers = FirstCheck(), ["down", "down", "up"]
    asked = []

    def ask() -> None:
        check.make()  # what the check asks itself
        asked.append(answers.pop(0))
        if asked[-1] == "down":
            raise StoreUnavailableError("down")

    check.make()
    check.put_off(ask)
    for _ in range(2):
        with pytest.raises(StoreUnavailableError):
            check.make()
    check.make()
    check.make()
    assert asked == ["down", "down", "up"]


def test_threads_wait_for_the_one_that_makes_the_first_check() -> None:
    check, made, ready = FirstCheck(), [], threading.Event()

    def ask() -> None:
        ready.wait()
        made.append(threading.get_ident())

    done: list[int] = []

    def use() -> None:
        check.make()
        done.append(len(made))

    check.put_off(ask)
    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    assert done == []
    ready.set()
    for thread in threads:
        thread.join()
    assert (len(made), done) == (1, [1] * 8)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (ConnectionRefusedError(111, "no"), "connection refused"),
        (OSError("error sending request ... ConnectionRefused"), "connection refused"),
        (TimeoutError("slow"), ""),
        (OSError("503 SlowDown"), ""),
    ],
)
def test_slow_servers_are_told_from_those_that_are_not_there(error: Exception, words: str) -> None:
    assert deafness(error) == words
