"""A run in other formats: tables, annotation files of the released MGHFT code, a page to look at."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "import_mghft_annotations": ["import_annotations"],
        "mghft_annotations": ["export_annotations"],
        "preview": ["PreviewOptions", "write_preview"],
        "tables": ["export_rows", "run_rows"],
    },
)
