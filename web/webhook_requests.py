"""What a submission may say of a webhook, and what a job tells of it."""

from collections.abc import Mapping
from typing import Any

from yarl import URL

from execution import DeliveryState, EndNotice, Engine, HistoryEntry, JobState

from .bad_request import BadRequest
from .outside import Outside

EVENTS = (JobState.COMPLETED.value, JobState.FAILED.value, JobState.CANCELLED.value)
LONGEST_URL = 2000
"""Characters."""


def end_notice_of(said: Any) -> EndNotice | None:
    """The field `webhook` of a submission.

    :raises BadRequest: it makes no sense.
    """
    if said is None:
        return None
    if not isinstance(said, dict):
        raise _refusal("webhook must be an object with a url.")
    unknown = sorted(set(said) - {"url", "events"})
    if unknown:
        raise _refusal("webhook has url and events, and nothing else.", f"not known: {', '.join(unknown)[:200]}")
    url = _url_of(said.get("url"))
    return EndNotice(address=str(url), receiver=f"{url.scheme}://{url.host}:{url.port}", states=_events_of(said))


def _events_of(said: Mapping[str, Any]) -> list[str]:
    events = said.get("events")
    if events is None:
        return list(EVENTS)
    if not isinstance(events, list) or not events or any(one not in EVENTS for one in events):
        raise _refusal(f"webhook.events must be a list of some of {', '.join(EVENTS)}.", "webhook.events")
    return [one for one in EVENTS if one in events]


def _url_of(text: Any) -> URL:
    if not isinstance(text, str) or not 0 < len(text) <= LONGEST_URL:
        raise _refusal(f"webhook.url must be a URL of at most {LONGEST_URL} characters.")
    try:
        url = URL(text.strip())
        host, port = url.host, url.port
    except ValueError:
        raise _refusal("webhook.url is not a URL.") from None
    if url.scheme not in ("http", "https"):
        raise _refusal("webhook.url must begin with http:// or https://.")
    if not host or not port:
        raise _refusal("webhook.url names no host.")
    return url.with_fragment(None)


def refuse_unreachable(outside: Outside | None, notice: EndNotice | None) -> None:
    """:raises BadRequest: it can be told now that nothing could be delivered."""
    if notice is None:
        return
    if outside is None:
        raise _refusal("This server delivers no webhooks.", "webhook")
    if outside.refuses(URL(notice.address).host or ""):
        raise _refusal("webhook.url is not a public address; --allow-private-urls permits such addresses.")


def _refusal(message: str, details: str = "webhook.url") -> BadRequest:
    return BadRequest("invalid_webhook", message, details)


async def webhook_record(engine: Engine, entry: HistoryEntry) -> dict[str, Any] | None:
    """What became of the webhook of a job; None if it has none. Its URL, which may hold a token, is not shown."""
    notice = entry.end_notice
    if notice is None:
        return None
    record: dict[str, Any] = {"state": "waiting", "tries": 0, "last_error": None, "next_try_at": None}
    if entry.outcome is None:
        return record
    if entry.state.value not in notice.states:
        return {**record, "state": "not_wanted"}
    delivery = await engine.history.outbox.delivery_of(entry.prompt_id, entry.run)
    if delivery is None:  # the job was deleted a moment ago
        return None
    is_pending = delivery.state is DeliveryState.PENDING
    return {"state": delivery.state.value, "tries": delivery.tries, "last_error": delivery.last_error or None,
            "next_try_at": delivery.next_try_at if is_pending else None}
