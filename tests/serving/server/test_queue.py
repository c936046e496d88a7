"""Requests that wait are run, whenever they come."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from keras_resnet.serving.server import queue


@pytest.mark.parametrize("threads", [1, 2])
def test_who_comes_when_a_batch_has_just_ended_is_answered(threads):
    """The answer of one request lets the next ones be sent before anything else runs."""
    rows = np.arange(2.0)[:, None]

    async def client(requests, answers):
        for _ in range(100):
            answers.append(await requests.run({"x": rows}))

    async def all_of_them(pool):
        requests = queue.Queue(
            lambda inputs: {"y": 2 * inputs["x"]}, queue.Limits(2, 8, threads), pool
        )
        answers = []
        clients = [client(requests, answers) for _ in range(threads)]
        await asyncio.wait_for(asyncio.gather(*clients), timeout=60)
        return answers

    with ThreadPoolExecutor(threads) as pool:
        answers = asyncio.run(all_of_them(pool))
    assert len(answers) == 100 * threads
    assert all((answer["y"] == 2 * rows).all() for answer in answers)
