"""Run folders of descriptions: shards, journal, manifest, lock; how they are read and checked."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "lock": ["lock_run"],
        "manifest": ["Manifest", "read_manifest"],
        "rows": ["Row"],
        "shards": ["SCHEMA", "read_descriptions"],
        "status": ["RunStats", "RunStatus", "failed_rows", "run_status", "verify_run"],
        "store": ["RunStore"],
        "worker": ["Worker"],
    },
)
