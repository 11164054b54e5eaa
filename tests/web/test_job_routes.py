"""/api/jobs: lists, one, and cancelling."""

from __future__ import annotations

from typing import Any

import pytest

from tests.web.live_server import Answer, Live, echo, shared_loop

GATE = {"g": {"class_type": "Gate", "inputs": {}}}
WAITS = "00000000-0000-4000-8000-000000000001"


def refused(answer: Answer) -> dict[str, Any]:
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/json; charset=utf-8"
    said: dict[str, Any] = answer.json()
    return said


async def listed(live: Live, query: str = "") -> list[str]:
    answer = await live.get(f"/api/jobs?{query}")
    assert answer.status == 200, answer.body
    return [one["id"] for one in answer.json()["jobs"]]


async def test_no_jobs(live: Live) -> None:
    assert (await live.get("/api/jobs")).json() == {
        "jobs": [], "pagination": {"offset": 0, "limit": 0, "total": 0, "has_more": False}}


async def test_a_list_holds_what_waits_what_runs_and_what_was(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        done = await live.run(1, extra_data={"extra_pnginfo": {"workflow": {"id": "w1"}}})
        failed = (await live.accepted({"1": {"class_type": "KeepsSecrets", "inputs": {"fails": True}}},
                                      extra_data={"api_key_comfy_org": "sk-1"}))["prompt_id"]
        await live.finished(failed)
        await live.blocked(prompt_id="runs", number=7)
        await live.accepted(echo(2), prompt_id="waits", extra_data={"extra_pnginfo": None})
        said = (await live.get("/api/jobs?sort_order=asc&limit=10")).json()
        assert said["pagination"] == {"offset": 0, "limit": 10, "total": 4, "has_more": False}
        by_id = {one["id"]: one for one in said["jobs"]}
        assert list(by_id) == [done, failed, "runs", "waits"]
        assert {one: record["status"] for one, record in by_id.items()} == {
            done: "completed", failed: "failed", "runs": "in_progress", "waits": "pending"}
        assert set(by_id["waits"]) == {"id", "status", "priority", "create_time", "attempt", "outputs_count",
                                       "previewable_outputs_count"} == set(by_id["runs"])
        assert by_id["runs"]["priority"] == 7.0
        assert (by_id[done]["workflow_id"], by_id[done]["outputs_count"]) == ("w1", 0)
        entry = (await live.get(f"/history/{failed}")).json()[failed]
        messages = dict(entry["status"]["messages"])
        assert by_id[failed]["execution_error"] == messages["execution_error"]
        assert by_id[failed]["execution_start_time"] == messages["execution_start"]["timestamp"]
        assert by_id[failed]["execution_end_time"] == messages["execution_error"]["timestamp"]
        assert await listed(live, "status=Pending,%20in_progress,") == ["waits", "runs"]
        assert await listed(live, "status=cancelled") == []
        assert await listed(live, "workflow_id=w1") == [done]
        assert "sk-1" not in str(said)


async def test_pages(live: Live) -> None:
    ids = [await live.run(number) for number in range(5)]
    newest = ids[::-1]
    for query, expected, limit, more in (
            ("", newest, 5, False), ("limit=2", newest[:2], 2, True), ("limit=2&offset=3", newest[3:], 2, False),
            ("limit=2&offset=2", newest[2:4], 2, True), ("offset=-5", newest, 5, False),
            ("offset=99", [], 0, False), ("limit=" + "9" * 50, newest, int("9" * 50), False),
            ("limit=2&sort_order=ASC", ids[:2], 2, True), ("status=", newest, 5, False), ("status=,", [], 0, False),
            ("workflow_id=", newest, 5, False), ("after=x&output_type=image&unknown=1", newest, 5, False),
            ("sort_by=create_time&sort_order=asc", ids, 5, False)):
        said = (await live.get(f"/api/jobs?{query}")).json()
        times = [one["create_time"] for one in said["jobs"]]
        assert sorted(one["id"] for one in said["jobs"]) == sorted(expected) or len(set(times)) < len(times), query
        assert len(said["jobs"]) == len(expected), query
        assert (said["pagination"]["limit"], said["pagination"]["has_more"]) == (limit, more), query
    durations = [one["execution_end_time"] - one["execution_start_time"]
                 for one in (await live.get("/api/jobs?sort_by=Execution_Duration")).json()["jobs"]]
    assert durations == sorted(durations, reverse=True)


@shared_loop
@pytest.mark.parametrize(("query", "text"), [
    ("status=done", "Invalid status value(s): done. "
     "Valid values: pending, in_progress, completed, failed, cancelled"),
    ("status=x,pending,Y", "Invalid status value(s): x, y. "
     "Valid values: pending, in_progress, completed, failed, cancelled"),
    ("sort_by=id", "sort_by must be 'created_at' or 'execution_duration'"),
    ("sort_by=", "sort_by must be 'created_at' or 'execution_duration'"),
    ("sort_order=up", "sort_order must be 'asc' or 'desc'"),
    ("limit=0", "limit must be a positive integer"),
    ("limit=-1", "limit must be a positive integer"),
    ("limit=x", "limit must be an integer"),
    ("limit=", "limit must be an integer"),
    ("limit=1.5", "limit must be an integer"),
    ("limit=nan", "limit must be an integer"),
    ("limit=" + "9" * 5000, "limit must be an integer"),
    ("offset=x", "offset must be an integer"),
    ("status=x&sort_by=x&limit=0", "Invalid status value(s): x. "
     "Valid values: pending, in_progress, completed, failed, cancelled"),
    ("sort_by=x&sort_order=x&limit=0", "sort_by must be 'created_at' or 'execution_duration'"),
])
async def test_queries_that_make_no_sense(shared: Live, query: str, text: str) -> None:
    assert refused(await shared.get(f"/api/jobs?{query}")) == {"error": text}


@shared_loop
async def test_a_long_status_is_not_sent_back(shared: Live) -> None:
    answer = await shared.get("/api/jobs?status=" + "x" * 5000)
    assert refused(answer)
    assert len(answer.body) < 500


async def test_one_job_in_full(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        done = await live.run(3, client_id="me", extra_data={"auth_token_comfy_org": "secret", "foo": [1]})
        job = (await live.get(f"/api/jobs/{done}")).json()
        entry = (await live.get(f"/history/{done}")).json()[done]
        assert job["workflow"] == {"prompt": entry["prompt"][2], "extra_data": entry["prompt"][3]}
        assert set(job["workflow"]["extra_data"]) == {"foo", "client_id", "create_time"}
        assert job["create_time"] == job["workflow"]["extra_data"]["create_time"]
        assert (job["outputs"], job["execution_status"]) == (entry["outputs"], entry["status"])
        await live.blocked(prompt_id="runs")
        await live.accepted(echo("4"), prompt_id="waits", extra_data={"api_key_comfy_org": "secret"})
        for prompt_id, status, graph in (("runs", "in_progress", GATE), ("waits", "pending", echo(4))):
            job = (await live.get(f"/api/jobs/{prompt_id}")).json()
            assert (job["status"], job["workflow"]["prompt"]) == (status, graph)
            assert not {"outputs", "execution_status", "preview_output"} & set(job)
            assert set(job["workflow"]["extra_data"]) == {"create_time"}


async def test_a_job_whose_id_is_in_use_again_is_the_one_that_runs(live: Live) -> None:
    await live.accepted(echo(1), prompt_id="again")
    first = await live.finished("again")
    await live.blocked(prompt_id="again")
    assert (await live.get("/api/jobs/again")).json()["status"] == "in_progress"
    assert await listed(live) == ["again"]
    live.gate.opened.set()
    await live.finished("again", but=first)
    assert (await live.get("/api/jobs/again")).json()["workflow"]["prompt"] == GATE


@shared_loop
@pytest.mark.parametrize("path", ["/api/jobs/unknown", "/api/jobs/cancel", "/api/jobs/%2F", "/api/jobs/%ff%00",
                                  "/api/jobs/" + "a" * 3000])
async def test_a_job_that_nobody_knows(shared: Live, path: str) -> None:
    import yarl

    answer = await shared.get(yarl.URL(shared.running.url + path, encoded=True))
    assert (answer.status, answer.json()) == (404, {"error": "Job not found"})


@shared_loop
async def test_jobs_are_below_api_alone(shared: Live) -> None:
    for path in ("/jobs", "/jobs/x", "/api/jobs/x/assets"):
        assert (await shared.get(path)).status == 404
    assert (await shared.post("/jobs/cancel", {"job_ids": []})).status == 405


# -- cancelling ------------------------------------------------------------------------------------------------


async def test_cancelling_what_runs_what_waits_and_what_is_over(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        await live.accepted(echo(1), prompt_id="waits")
        assert (await live.post("/api/jobs/waits/cancel", b"")).json() == {"cancelled": True}
        gone = (await live.get("/api/jobs/waits")).json()
        assert (gone["status"], gone["outcome"], gone["attempt"]) == ("cancelled", "cancelled", 0)
        assert "execution_start_time" not in gone
        assert (await live.get("/api/jobs/runs")).json()["status"] == "in_progress", "nothing happened to that one"
        assert (await live.get("/history/waits")).json() == {}
        assert (await live.get("/prompt")).json() == {"exec_info": {"queue_remaining": 1}}
        assert (await live.post("/api/jobs/runs/cancel", b"anything")).json() == {"cancelled": True}
        assert (await live.finished("runs"))["status"]["messages"][-1][0] == "execution_interrupted"
        assert (await live.get("/api/jobs/runs")).json()["status"] == "cancelled"
        for prompt_id in ("runs", "waits", "unknown"):
            answer = await live.post(f"/api/jobs/{prompt_id}/cancel", b"")
            assert (answer.status, answer.json()) == (200, {"cancelled": False})


async def test_cancelling_several_at_once(serve: Any) -> None:
    async with serve(max_running_prompts=1) as live:
        await live.blocked(prompt_id="runs")
        for prompt_id in (WAITS, "b", "stays"):
            await live.accepted(echo(1), prompt_id=prompt_id)
        answer = await live.post("/api/jobs/cancel", {"job_ids": ["b", "runs", WAITS, "unknown", "b"]})
        assert (answer.status, answer.json()) == (200, {"cancelled": True})
        assert (await live.finished("stays"))["status"]["completed"], "what was next has run"
        assert {one["id"]: one["status"] for one in (await live.get("/api/jobs")).json()["jobs"]} == {
            "runs": "cancelled", "stays": "completed", "b": "cancelled", WAITS: "cancelled"}
        assert set((await live.get("/history")).json()) == {"runs", "stays"}
        for job_ids in ([], ["b", "runs", "unknown"]):
            answer = await live.post("/api/jobs/cancel", {"job_ids": job_ids})
            assert (answer.status, answer.json()) == (200, {"cancelled": False})


@pytest.mark.parametrize(("body", "said"), [
    (b"", {"error": "Request body must be valid JSON"}),
    (b"{", {"error": "Request body must be valid JSON"}),
    (b'{"job_ids": [NaN]}', {"error": "Request body must be valid JSON"}),
    (b"[" * 5000, {"error": "Request body must be valid JSON"}),
    (b"[]", {"error": "job_ids must be a list"}),
    (b"null", {"error": "job_ids must be a list"}),
    (b"{}", {"error": "job_ids must be a list"}),
    (b'{"job_ids": "runs"}', {"error": "job_ids must be a list"}),
    (b'{"job_ids": null}', {"error": "job_ids must be a list"}),
    (b'{"job_ids": ["runs", 5, null, {"a": true}, ""]}',
     {"error": "job_ids contains invalid id(s)", "invalid_ids": ["5", "None", "{'a': True}", ""]}),
])
async def test_a_body_that_cancels_nothing(live: Live, body: bytes, said: dict[str, Any]) -> None:
    await live.blocked(prompt_id="runs")
    assert refused(await live.post("/api/jobs/cancel", body)) == said
    assert (await live.get("/api/jobs/runs")).json()["status"] == "in_progress"


@shared_loop
async def test_many_wrong_ids_are_cut(shared: Live) -> None:
    answer = await shared.post("/api/jobs/cancel", {"job_ids": ["x" * 1001] * 500 + [5] * 100_000})
    assert len(refused(answer)["invalid_ids"]) == 100
    assert len(answer.body) < 30_000
    assert (await shared.post("/api/jobs/cancel", b" " * (2**20 + 1))).status == 413
