"""Run folders of descriptions: shards, journal, manifest, lock; how they are read and checked."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "corrections": ["Corrections", "open_corrections", "read_corrections", "write_corrections"],
        "journal": ["journal_paths"],
        "lock": ["lock_run"],
        "manifest": ["Manifest", "fingerprint", "open_run", "read_manifest"],
        "pictures": ["check_pictures", "compare_pictures", "described_hashes", "other_pictures"],
        "readme": ["front_matter", "run_card"],
        "rows": ["Row", "start_row"],
        "shards": [
            "IMAGE_FIELD",
            "SCHEMA",
            "iterate_shards",
            "next_shard_path",
            "read_descriptions",
            "read_shard",
            "shard_paths",
            "write_shard",
        ],
        "split_difference": ["split_difference"],
        "status": ["RunStats", "RunStatus", "failed_rows", "run_status", "verify_run"],
        "store": ["RunStore"],
        "worker": ["Worker"],
    },
)
