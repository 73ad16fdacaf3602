"""The service's figures as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_PATHS = frozenset({"/v1/predict", "/v1/model", "/healthz", "/metrics", "/", "/openapi.json"})
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Figures:
    """Counters, gauges and histograms of one service."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "mghft_requests", "Requests by path and status.", ["path", "status"], registry=registry
        )
        self._seconds = Histogram(
            "mghft_request_seconds", "Seconds of a request.", ["path"], registry=registry, buckets=_SECONDS
        )
        self.stickers = Counter("mghft_stickers", "Stickers by outcome.", ["outcome"], registry=registry)
        self.batch = Histogram(
            "mghft_batch_stickers",
            "Stickers of a batch.",
            registry=registry,
            buckets=(1, 2, 4, 8, 16, 32, 64),
        )
        self.queue = Gauge("mghft_queue_stickers", "Stickers that wait or are in work.", registry=registry)
        self.worker_starts = Counter("mghft_worker_starts", "Starts of the model.", registry=registry)

    def observe(self, path: str, status: int, seconds: float) -> None:
        """Count a request; paths that are none of ours are one."""
        name = path if path in _PATHS else "other"
        self._requests.labels(name, str(status)).inc()
        self._seconds.labels(name).observe(seconds)

    def text(self) -> bytes:
        """Return all figures in the text format."""
        return generate_latest(self._registry)
