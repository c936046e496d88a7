"""The campaign's requests to a server, in short; in full: benchmarks/campaign/server.py."""

import pytest


@pytest.mark.slow
def test_every_kind_of_request_is_answered_or_refused():
    pytest.importorskip("tensorflow_serving", reason="not installed; the extra `serving` brings it")
    import server
    import server_requests
    import slow_requests

    found = server.run(requests=200, stops=2, seed=1)
    assert found["failed"] == 0, found["failures"]
    assert found["kinds"].keys() >= {*server_requests.KINDS, *slow_requests.KINDS, "bounded memory"}
    assert found["tried"] > 200 and found["stops"]["answered"] > 50
