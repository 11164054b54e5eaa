"""What a client and this server can do, by the names that packs know."""

from collections.abc import Mapping
from typing import Any


def get_connection_feature(sockets_metadata: Mapping[str, Mapping[str, Any]], sid: str, feature_name: str,
                           default: Any = False) -> Any:
    """What a client said of a feature when it connected."""
    flags = sockets_metadata.get(sid, {}).get("feature_flags", {})
    return flags.get(feature_name, default)


def supports_feature(sockets_metadata: Mapping[str, Mapping[str, Any]], sid: str, feature_name: str) -> bool:
    """Whether a client said that it has a feature."""
    return get_connection_feature(sockets_metadata, sid, feature_name, False) is True


def get_server_features() -> dict[str, Any]:
    """What clients are told of the server."""
    from server import PromptServer
    from web.app_keys import SETTINGS
    from web.system_routes import server_features

    app = PromptServer.instance.app
    return {} if app is None else server_features(app[SETTINGS])
