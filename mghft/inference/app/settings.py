"""Settings of the service, each with a bound that keeps one client from taking it all."""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, ConfigDict, Field

from mghft.pipeline.engines.options import EngineOptions

KEY_VARIABLE = "MGHFT_API_KEY"


class ServeConfig(BaseModel):
    """One service.

    Attributes:
        weights: run folder, folder of weights or hub id.
        engine: the model that describes; None: pictures are judged with the views that come with them.
        host, port: where it listens; loopback unless asked.
        key_env: environment variable with the key; without one nobody is asked for a key.
        max_request_bytes: of a whole request body.
        max_stickers: in one request.
        max_pixels: of one picture, in its file.
        max_queue: stickers that wait or are in work; beyond them requests are refused with 429.
        max_batch: stickers that are classified together.
        batch_wait: seconds that the first of a batch waits for company.
        timeout: seconds until a request is given up with 504.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    weights: str
    engine: EngineOptions | None = None
    prompt: str = "multiview"
    text_encoder: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8321, ge=0, le=65535)
    key_env: str = KEY_VARIABLE
    max_request_bytes: int = Field(default=16 * 2**20, ge=1024, le=2**30)
    max_stickers: int = Field(default=32, ge=1, le=1024)
    max_pixels: int = Field(default=20_000_000, ge=1, le=170_000_000)
    max_queue: int = Field(default=256, ge=1, le=100_000)
    max_batch: int = Field(default=32, ge=1, le=1024)
    batch_wait: float = Field(default=0.005, ge=0, le=10)
    timeout: float = Field(default=60.0, gt=0, le=3600)

    @property
    def is_loopback(self) -> bool:
        """Return whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
