"""The protocol over the application, in process: answers, errors, bounds, batches, draining."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading

import httpx
import numpy as np
import pytest
from formats import golden
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from lamella.base.errors import LamellaError
from lamella.formats import lamella_file
from lamella.serve import protocol
from lamella.serve.app import Limits, application
from lamella.serve.registry import Interpreted, Registry, RequestError, Served

PATH = "/v2/models/golden/infer"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("serve") / "m.lamella"
    golden.save(path, bound=16)
    return lamella_file.load(path)


@pytest.fixture(scope="module")
def client(model):
    registry = Registry([Served(model, Interpreted(model.program), version=v) for v in "12"])
    with TestClient(application(registry, Limits(body=100_000)),
                    raise_server_exceptions=False) as c:
        yield c


def body(x: np.ndarray, **more) -> dict:
    return {"inputs": [{"name": "x", "shape": list(x.shape), "datatype": "FP32",
                        "data": x.reshape(-1).tolist()}], **more}


def expected(model, x):
    return Interpreted(model.program)([*model.weights.values(), x])[0]


# ---- what is there ------------------------------------------------------------------------------

def test_the_server_and_its_models_tell_about_themselves(client):
    about = client.get("/v2").json()
    assert about["name"] == "lamella" and about["extensions"] == ["binary_tensor_data"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    assert client.get("/v2/models/golden/ready").json() == {"name": "golden", "ready": True}
    assert client.get("/v2/models/golden/versions/1/ready").status_code == 200
    assert client.get("/v2/models/golden").json() == {
        "name": "golden", "versions": ["1", "2"], "platform": "lamella",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 8]}],
        "outputs": [{"name": "kind", "datatype": "FP32", "shape": [-1, 3],
                     "labels": ["round", "flat", "tall"]}]}


def test_json_in_and_out(client, model):
    x = golden.rows(3)
    answer = client.post(PATH, json=body(x, id="seven"))
    assert answer.status_code == 200, answer.text
    got = answer.json()
    assert (got["model_name"], got["model_version"], got["id"]) == ("golden", "2", "seven")
    out = got["outputs"][0]
    assert (out["name"], out["datatype"], out["shape"]) == ("kind", "FP32", [3, 3])
    assert np.array_equal(np.array(out["data"], np.float32).reshape(3, 3), expected(model, x))
    one = client.post("/v2/models/golden/versions/1/infer", json=body(x)).json()
    assert one["model_version"] == "1" and "id" not in one


def test_nested_data_is_flattened(client):
    x = golden.rows(2)
    nested = body(x)
    nested["inputs"][0]["data"] = x.tolist()
    assert client.post(PATH, json=nested).json() == client.post(PATH, json=body(x)).json()


def test_binary_in_and_out(client, model):
    x = golden.rows(3)
    head = json.dumps({"inputs": [{"name": "x", "shape": [3, 8], "datatype": "FP32",
                                   "parameters": {"binary_data_size": x.nbytes}}],
                       "parameters": {"binary_data_output": True}}).encode()
    answer = client.post(PATH, content=head + x.tobytes(),
                         headers={protocol.HEADER: str(len(head))})
    assert answer.status_code == 200, answer.text
    length = int(answer.headers[protocol.HEADER])
    out = json.loads(answer.content[:length])["outputs"][0]
    assert out["parameters"] == {"binary_data_size": 36} and "data" not in out
    raw = np.frombuffer(answer.content[length:], np.float32).reshape(3, 3)
    assert np.array_equal(raw, expected(model, x))


# ---- what is refused ----------------------------------------------------------------------------

def _with(**changes):
    b = body(golden.rows(2))
    b["inputs"][0].update(changes)
    return b


REFUSED = {
    "unknown model": ("/v2/models/none/infer", {}, 404, "no model is called 'none'"),
    "unknown version": ("/v2/models/golden/versions/9/infer", {}, 404, "no version '9'; it has"),
    "no inputs": (PATH, {}, 400, "missing required field `inputs`"),
    "wrong kind": (PATH, {"inputs": 3}, 400, "the request cannot be read"),
    "unknown input": (PATH, _with(name="y"), 400, "the model's inputs are x; the request gives y"),
    "twice": (PATH, {"inputs": body(golden.rows(2))["inputs"] * 2}, 400, "is given twice"),
    "datatype": (PATH, _with(datatype="FP31"), 400, "the datatype 'FP31' is not known"),
    "other dtype": (PATH, _with(datatype="FP64"), 400, "float32[B, 8] is needed, float64[2, 8]"),
    "other shape": (PATH, _with(shape=[4, 4]), 400, "float32[B, 8] is needed, float32[4, 4]"),
    "count": (PATH, _with(shape=[3, 8]), 400, "16 numbers for the shape [3, 8]"),
    "negative": (PATH, _with(shape=[-2, 8]), 400, "bad shape"),
    "rank": (PATH, _with(shape=[1] * 99), 400, "bad shape"),
    "text": (PATH, _with(data=["a"] * 16), 400, "the data cannot be read as FP32"),
    "floats": (PATH, _with(datatype="INT32", data=[0.5] * 16), 400, "Expected `int`, got `float`"),
    "ragged": (PATH, _with(data=[[1, 2], [3]]), 400, "the lists do not nest as [2, 8]"),
    "no data": (PATH, {"inputs": [{"name": "x", "shape": [2, 8], "datatype": "FP32"}]}, 400,
                "the data cannot be read"),
    "binary beyond": (PATH, _with(parameters={"binary_data_size": 64}), 400, "the body ends"),
    "too many rows": (PATH, body(golden.rows(17)), 400, "17 rows; the model takes 1 to 16"),
    "no rows": (PATH, body(golden.rows(0)), 400, "0 rows; the model takes 1 to 16"),
    "output": (PATH, body(golden.rows(2), outputs=[{"name": "z"}]), 400, "no output 'z'; it has"),
    "timeout": (PATH, body(golden.rows(2), parameters={"timeout": -1}), 400, "positive number"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_request_is_told_why(name, client):
    path, content, status, told = REFUSED[name]
    answer = client.post(path, json=content)
    assert answer.status_code == status and told in answer.json()["error"], answer.text


def test_other_paths_verbs_and_bodies(client):
    assert client.get("/v3").status_code == 404 and "error" in client.get("/v3").json()
    assert client.get(PATH).status_code == 405 and "error" in client.get(PATH).json()
    for content in (b"", b"{", b"\xff", b"[" * 50_000, b'{"inputs":' + b"[" * 50_000):
        answer = client.post(PATH, content=content)
        assert answer.status_code == 400 and "error" in answer.json()
    for header in ("-1", "x", "1e3", "9" * 30, "99999"):
        answer = client.post(PATH, content=b"{}", headers={protocol.HEADER: header})
        assert answer.status_code == 400 and protocol.HEADER in answer.json()["error"]


def test_a_large_body_is_refused_stated_or_streamed(client):
    assert client.post(PATH, content=b" " * 100_001).status_code == 413
    answer = client.post(PATH, content=(b" " * 1000 for _ in range(200)))
    assert answer.status_code == 413 and "larger than 100000 bytes" in answer.json()["error"]


def test_a_coded_body_is_refused(client):
    answer = client.post(PATH, content=b"{}", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415 and "'gzip'; send it as it is" in answer.json()["error"]


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) |
                    st.text(max_size=5), lambda inner: st.lists(inner, max_size=4) |
                    st.dictionaries(st.sampled_from(["inputs", "name", "shape", "datatype", "data",
                                                     "parameters", "x"]), inner), max_leaves=20))
def test_any_json_is_answered_or_refused(data):
    for text in (data, {"inputs": data}, {"inputs": [data]}, _with(data=data), _with(shape=data)):
        with contextlib.suppress(RequestError):
            protocol.read_request(json.dumps(text).encode(), None, STATIC)


@given(st.binary(max_size=200), st.none() | st.integers(0, 300).map(str))
def test_any_bytes_are_answered_or_refused(data, length):
    with contextlib.suppress(RequestError):
        protocol.read_request(data, length, STATIC)


def _static():
    import tempfile
    with tempfile.TemporaryDirectory() as folder:
        golden.save(f"{folder}/m.lamella", bound=16)
        model = lamella_file.load(f"{folder}/m.lamella")
    return Served(model, Interpreted(model.program))


STATIC = _static()


def test_names_that_could_be_paths_are_refused(model):
    for name in ("../x", "", "a/b", "x" * 65):
        with pytest.raises(LamellaError, match="cannot name a model"):
            Served(model, Interpreted(model.program), name=name or "-")


# ---- load, batches, time ------------------------------------------------------------------------

class Slow:
    """A model that runs when it is told to, and remembers the rows of each run."""

    def __init__(self, model):
        self.inner, self.go, self.rows = Interpreted(model.program), threading.Event(), []

    def __call__(self, arrays):
        self.rows.append(len(arrays[-1]))
        assert self.go.wait(10)
        return self.inner(arrays)


@contextlib.asynccontextmanager
async def serving(run, model, **limits):
    app = application(Registry([Served(model, run)]), Limits(**limits))
    async with app.state.api.lifespan(app):
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as c:
            yield c, app.state.api


def test_requests_are_joined_and_each_gets_its_own_rows(model):
    async def scenario():
        slow = Slow(model)
        async with serving(slow, model, window=0.002) as (c, _):
            xs = [golden.rows(n) + k for k, n in enumerate((1, 3, 2, 4, 1))]
            calls = [asyncio.create_task(c.post(PATH, json=body(x.astype(np.float32)))) for x in xs]
            await asyncio.sleep(0.1)
            slow.go.set()
            for x, answer in zip(xs, await asyncio.gather(*calls), strict=True):
                out = answer.json()["outputs"][0]
                got = np.array(out["data"], np.float32).reshape(out["shape"])
                np.testing.assert_allclose(got, expected(model, x.astype(np.float32)), rtol=1e-6)
        assert sum(slow.rows) == 11 and len(slow.rows) < 5

    asyncio.run(scenario())


def test_a_full_queue_is_503_and_a_late_answer_504(model):
    async def scenario():
        slow = Slow(model)
        async with serving(slow, model, waiting=16, timeout=0.3) as (c, _):
            first = asyncio.create_task(c.post(PATH, json=body(golden.rows(16))))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(c.post(PATH, json=body(golden.rows(16))))
            await asyncio.sleep(0.05)
            third = await c.post(PATH, json=body(golden.rows(1)))
            assert third.status_code == 503 and "16 rows wait" in third.json()["error"]
            assert third.headers["retry-after"] == "1"
            for call in (await first, await second):
                assert call.status_code == 504 and "no answer within 0.3" in call.json()["error"]
            quick = await c.post(PATH, json=body(golden.rows(1), parameters={"timeout": 10_000}))
            assert quick.status_code == 504 and "0.01 seconds" in quick.json()["error"]
            slow.go.set()
            assert (await c.post(PATH, json=body(golden.rows(1)))).status_code == 200
        assert slow.rows == [16, 1]  # those that gave up while they waited never ran

    asyncio.run(scenario())


def test_a_fault_fails_its_request_only(model):
    async def scenario():
        def run(arrays):
            if arrays[-1][0, 0] == 7:
                raise ZeroDivisionError("secret")
            return Interpreted(model.program)(arrays)
        async with serving(run, model) as (c, _):
            bad = await c.post(PATH, json=body(np.full((1, 8), 7, np.float32)))
            assert bad.status_code == 500 and "secret" not in bad.text
            assert (await c.post(PATH, json=body(golden.rows(1)))).status_code == 200

    asyncio.run(scenario())


def test_bodies_of_all_requests_together_are_bounded(model):
    async def run():
        text, whole = json.dumps(body(golden.rows(2))).encode(), asyncio.Event()

        async def slowly():
            yield text[:100]
            await whole.wait()
            yield text[100:]

        async with serving(Interpreted(model.program), model, bodies=450) as (c, api):
            first = asyncio.create_task(c.post(PATH, content=slowly()))
            while api.bodies.held < 100:
                await asyncio.sleep(0.001)
            refused = await c.post(PATH, content=b" " * 400)
            assert refused.status_code == 503 and refused.headers["retry-after"] == "1"
            assert "requests of 100 bytes are in progress" in refused.json()["error"]
            whole.set()
            assert (await first).status_code == 200 and api.bodies.held == 0
            late = asyncio.Event()
            api.limits = Limits(timeout=0.05)
            whole = late
            answer = await c.post(PATH, content=slowly())
            assert answer.status_code == 408 and "did not come within 0.05 s" in answer.text
            assert api.bodies.held == 0
    asyncio.run(run())


def test_draining_answers_those_that_wait(model):
    async def scenario():
        slow = Slow(model)
        async with serving(slow, model) as (c, api):
            call = asyncio.create_task(c.post(PATH, json=body(golden.rows(1))))
            await asyncio.sleep(0.05)
            api.leaving = True
            assert (await c.get("/v2/health/ready")).status_code == 503
            assert (await c.get("/v2/health/live")).status_code == 200
            closing = asyncio.create_task(next(iter(api.lanes.values())).close())
            await asyncio.sleep(0.05)
            late = await c.post(PATH, json=body(golden.rows(1)))
            assert late.status_code == 503 and "shutting down" in late.json()["error"]
            slow.go.set()
            await closing
            assert (await call).status_code == 200

    asyncio.run(scenario())


def test_only_named_hosts_are_answered(model):
    app = application(Registry([STATIC]), hosts=["127.0.0.1"])
    with TestClient(app, base_url="http://127.0.0.1:8000") as c:
        assert c.get("/v2").status_code == 200
        assert c.get("/v2", headers={"host": "evil.example"}).status_code == 400
