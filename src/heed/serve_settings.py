"""Settings of the studio and the board, a section of ``heed.yaml``."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from heed.settings import Settings


def _address_of_a_server(url: str) -> str:
    """An https or http URL of nothing but a host and a port, or nothing at all."""
    if not url:
        return url
    parts = urlsplit(url)
    if (
        parts.scheme not in ("http", "https")
        or not parts.hostname
        or parts.path.strip("/")
        or parts.query
        or "@" in url
    ):
        raise ValueError("it is not like https://feedback.example.org, without a path")
    return url.rstrip("/")


class ServeSettings(Settings):
    """The studio and the board, as 'heed serve' runs them."""

    public_url: Annotated[str, AfterValidator(_address_of_a_server)] = Field(
        "", description="address that people open, like https://feedback.example.org; empty is this machine alone"
    )
    hosts: list[str] = Field(default_factory=list, description="further host names that requests may be sent to")
    webhooks: bool = Field(False, description="allow webhooks to public addresses")
    webhook_hosts: list[str] = Field(
        default_factory=list, description="hosts, as name or name:port, of this network that webhooks may also reach"
    )
    media_megabytes: int = Field(32, ge=1, le=1024, description="largest image or video (megabytes)")
    import_megabytes: int = Field(1024, ge=1, description="largest file of an import over HTTP (megabytes)")
    sso_issuer: str = Field("", description="OpenID Connect issuer that people may sign in with; empty is none")
    sso_client_id: str = Field("", description="client id at that issuer; the secret stands in HEED_SSO_SECRET")
    sso_domains: list[str] = Field(
        default_factory=list, description="e-mail domains whose people get a rater's account without an invitation"
    )
